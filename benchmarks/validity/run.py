"""Gates every adapter of the zoo with one suite, in one process, and keeps what came out beside each.

    python -m benchmarks.validity.run [--only llama] [--document marrowby]

The verdict is the same as `sway gate` gives. `gate.json` in an adapter's folder is this run's record; what is there
is not gated again unless `--again` is given. `report.py` makes table and picture of the records.
"""

import argparse
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.validity import minilm
from benchmarks.validity.bases import BASES
from benchmarks.validity.documents import DOCUMENTS, document
from benchmarks.validity.suite import suite, text
from benchmarks.validity.zoo import TRUTH, home
from sway_gate.errors import SwayError
from sway_gate.gate.resolve import Options
from sway_gate.gate.run import run_gate
from sway_gate.results import GateResult
from sway_gate.spec.load import parse_spec

RECORD = "gate.json"


def adapters(base: str, name: str) -> Iterator[Path]:
    """The folders of all that were built."""
    yield from sorted(path.parent for path in home(base, name).glob(f"*/{TRUTH}"))


def gated(
    base: str, name: str, adapter: Path, embedding_model: str, **defaults: Any
) -> dict[str, Any]:
    """One adapter's record. An error of the gate is a verdict too: `error`."""
    fields = suite(document(name), BASES[base].folder, adapter, embedding_model)
    started = time.perf_counter()
    try:
        result = run_gate(parse_spec(text(fields), adapter.name, "/"), Options(cache=False))
    except SwayError as error:
        return {"verdict": "fail" if error.exit_code == 2 else "error", "score": 0.0, "first": "static",
                "message": str(error), "probes": {}, "seconds": time.perf_counter() - started}  # fmt: skip
    return record(result) | {"seconds": time.perf_counter() - started}


def record(result: GateResult) -> dict[str, Any]:
    """What the table and the picture show. `first`: what the report names first, the files or a probe."""
    failing = [probe.kind for probe in result.probes if probe.verdict in ("fail", "error")]
    files = ["static"] if any(finding.level == "verdict" for finding in result.findings) else []
    return {
        "verdict": result.verdict,
        "score": result.score,
        "first": next(iter(files + failing), "composite" if result.verdict == "fail" else ""),
        "probes": {
            p.kind: {
                "verdict": p.verdict,
                "z": p.z,
                "raw": p.raw,
                "score": p.score,
                "message": p.message,
            }
            for p in result.probes
        },
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", choices=list(BASES))
    parser.add_argument("--document", choices=DOCUMENTS)
    parser.add_argument("--embedding-model", default=minilm(), metavar="FOLDER")
    parser.add_argument("--again", action="store_true")
    args = parser.parse_args()
    for base in [args.only] if args.only else BASES:
        for name in [args.document] if args.document else DOCUMENTS:
            for adapter in adapters(base, name):
                path = adapter / RECORD
                if args.again or not path.exists():
                    found = gated(base, name, adapter, args.embedding_model)
                    path.write_text(json.dumps(found, indent=1), encoding="utf-8")
                    expected = json.loads((adapter / TRUTH).read_text(encoding="utf-8"))["expected"]
                    sound = "ok " if found["verdict"] == expected else "BAD"
                    print(
                        sound,
                        base,
                        name,
                        adapter.name,
                        found["verdict"],
                        found["score"],
                        found["first"],
                        flush=True,
                    )


if __name__ == "__main__":
    main()
