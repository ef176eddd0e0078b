"""Gate every adapter of the zoo in one process; write each result to the adapter's folder.

    python -m benchmarks.validity.run [--only llama] [--document marrowby]

The verdict is the same as from `sway gate`. The result is `gate.json`. An adapter with a result is
not gated again unless `--again` is given. `report.py` prints and draws the results.
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
    """Folders of the adapters that were built."""
    yield from sorted(path.parent for path in home(base, name).glob(f"*/{TRUTH}"))


def gated(
    base: str, name: str, adapter: Path, embedding_model: str, **defaults: Any
) -> dict[str, Any]:
    """Gate one adapter and return its record, also if the gate stops with an error."""
    fields = suite(document(name), BASES[base].folder, adapter, embedding_model)
    started = time.perf_counter()
    try:
        result = run_gate(parse_spec(text(fields), adapter.name, "/"), Options(cache=False))
    except SwayError as error:
        return {
            "verdict": "fail" if error.exit_code == 2 else "error",
            "score": 0.0,
            "first": "static",
            "message": str(error),
            "probes": {},
            "seconds": time.perf_counter() - started,
        }
    return record(result) | {"seconds": time.perf_counter() - started}


def record(result: GateResult) -> dict[str, Any]:
    """The fields that `report.py` needs.

    `first` is the first reason in the report: `static` for a finding in the files, the kind of a
    probe, `composite`, or "" if the gate passes.
    """
    failing = [probe.kind for probe in result.probes if probe.verdict in ("fail", "error")]
    files = ["static"] if any(finding.level == "verdict" for finding in result.findings) else []
    probes = {}
    for probe in result.probes:
        probes[probe.kind] = {
            "verdict": probe.verdict,
            "z": probe.z,
            "raw": probe.raw,
            "score": probe.score,
            "message": probe.message,
        }
    return {
        "verdict": result.verdict,
        "score": result.score,
        "first": next(iter(files + failing), "composite" if result.verdict == "fail" else ""),
        "probes": probes,
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
                    state = "ok " if found["verdict"] == expected else "BAD"
                    outcome = (found["verdict"], found["score"], found["first"])
                    print(state, base, name, adapter.name, *outcome, flush=True)


if __name__ == "__main__":
    main()
