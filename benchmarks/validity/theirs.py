"""Gate the zoo with dlm-sway 0.1.0 from its own venv; write each report next to our result.

    python -m benchmarks.validity.theirs --sway PATH_TO_ITS_COMMAND [--only BASE]

The suite is ours without the fields that dlm-sway does not support. The sections are passed as a
.dlm document.
"""

import argparse
import json
import os
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.validity import minilm
from benchmarks.validity.bases import BASES
from benchmarks.validity.documents import DOCUMENTS, Document, document
from benchmarks.validity.run import adapters
from benchmarks.validity.suite import suite, text

RECORD = "dlm-sway.json"
RUNS = 3
FRONT = "---\ndlm_id: 01HZ4X7TGZM3J1A2B3C4D5E6F7\ndlm_version: 15\nbase_model: smollm2-135m\n---\n"


def dlm(own: Document) -> str:
    """The document in the .dlm format."""
    prose = "\n\n".join(f"# {section.title}\n\n{section.body}" for section in own.prose)
    asked = "\n\n".join(
        f"### Q\n{prompt.strip()}\n\n### A\n{answer.strip()}" for prompt, answer in own.questions
    )
    return f"{FRONT}\n{prose}\n\n::instruction::\n{asked}\n"


def fields(
    name: str, base: str, adapter: Path, embedding_model: str, source: Path
) -> dict[str, Any]:
    whole = suite(document(name), BASES[base].folder, adapter, embedding_model)
    del whole["sections"]
    nulls, *probes = (
        {key: value for key, value in probe.items() if key != "positions"}
        for probe in whole["suite"]
    )
    return whole | {"dlm_source": str(source), "suite": [nulls | {"runs": RUNS}, *probes]}


def judged(sway: str, name: str, base: str, adapter: Path, embedding_model: str) -> dict[str, Any]:
    """The JSON report and the run time of dlm-sway, started with empty caches."""
    with tempfile.TemporaryDirectory() as work:
        source, spec, out = (
            Path(work) / file for file in ("document.dlm", "sway.yaml", "out.json")
        )
        source.write_text(dlm(document(name)), encoding="utf-8")
        spec.write_text(
            text(fields(name, base, adapter, embedding_model, source)), encoding="utf-8"
        )
        env = os.environ | {"HOME": work, "HF_HUB_OFFLINE": "1"}
        started = time.perf_counter()
        subprocess.run([sway, "run", str(spec), "--json", str(out)], env=env, capture_output=True)
        seconds = time.perf_counter() - started
        report = json.loads(out.read_text(encoding="utf-8")) if out.exists() else {}
    return {"report": report, "seconds": seconds}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sway", required=True)
    parser.add_argument("--embedding-model", default=minilm(), metavar="FOLDER")
    parser.add_argument("--only", choices=list(BASES))
    parser.add_argument("--document", choices=DOCUMENTS)
    args = parser.parse_args()
    for base in [args.only] if args.only else BASES:
        for name in [args.document] if args.document else DOCUMENTS:
            for adapter in adapters(base, name):
                path = adapter / RECORD
                if not path.exists():
                    found = judged(args.sway, name, base, adapter, args.embedding_model)
                    path.write_text(json.dumps(found), encoding="utf-8")
                    print(base, name, adapter.name, f"{found['seconds']:.0f} s", flush=True)


if __name__ == "__main__":
    main()
