"""Gate every case of the manifest as a user would: the suite of `sway init`, and `sway check`.

    python -m benchmarks.real.gate [NAME …] [--check] [--again] [--sealed] [--to FOLDER]

The base is loaded once. Each case is written to results/NAME.json. Measurements are kept in
~/.cache/sway-gate-real, so `--again` judges with changed statistics and measures only what is new.
The sealed data sets are left out unless `--sealed` is given: their adapters are gated once, after
the statistics are frozen.
"""

import argparse
import os
import time
from pathlib import Path
from typing import Any

import msgspec

from benchmarks.real import data
from benchmarks.real.paths import BASE, CACHE, HOME, MANIFEST, note, now, write_json
from sway_gate.errors import SwayError
from sway_gate.gate.evaluate import evaluate
from sway_gate.gate.open import OpenBase
from sway_gate.gate.resolve import Options, prepare
from sway_gate.output import silent
from sway_gate.results import GateResult, Tier
from sway_gate.spec.load import parse_spec
from sway_gate.spec.schema import Spec
from sway_gate.suites.check import CheckInputs, check_suite
from sway_gate.suites.generate import for_data

replace = msgspec.structs.replace


def init_suite(case: dict[str, Any]) -> Spec:
    """The suite that `sway init` writes for the case."""
    held_out = [str(HOME / case["held_out"])] if case.get("held_out") else []
    adapter, files = str(HOME / case["adapter"]), [str(HOME / case["data"])]
    draft = for_data(adapter, files, str(BASE), str(HOME), held_out=held_out)
    spec = parse_spec(draft.text, case["name"], str(HOME))
    if case["form"] != "alpaca" and Path(case["data"]).stem not in data.IN_ALPACA:
        return spec
    served = "alpaca" if case["form"] == "alpaca" else "template"
    return replace(spec, defaults=replace(spec.defaults, prompt_format=served))


def on(spec: Spec, dtype: str = "bf16", seed: int = 0) -> Spec:
    """`spec` with the base in `dtype`, and with `seed`."""
    models = replace(spec.models, base=replace(spec.models.base, dtype=dtype))
    return replace(spec, models=models, defaults=replace(spec.defaults, seed=seed))


def checked(case: dict[str, Any], base: OpenBase) -> dict[str, Any]:
    """The records of `sway check`, without data and with it."""
    plain = CheckInputs(str(HOME / case["adapter"]), str(BASE))
    files = {key: [str(HOME / case[key])] for key in ("data", "held_out")}
    inputs = {"check": plain, "check_data": plain._replace(**files)}
    return {name: gated(on(check_suite(given)), base, "quick") for name, given in inputs.items()}


def gated(spec: Spec, base: OpenBase, tier: Tier = "full") -> dict[str, Any]:
    """The record of one run, also if it stops with an error."""
    started = time.perf_counter()
    try:
        # Not `run_gate`, which would return a cached verdict of earlier statistics.
        found = record(evaluate(prepare(spec, Options(tier=tier)), silent, base))
    except SwayError as error:
        found = {"verdict": "fail" if error.exit_code == 2 else "error", "message": str(error)}
    return found | {"seconds": time.perf_counter() - started}


def record(result: GateResult) -> dict[str, Any]:
    """The fields that the report needs."""
    measured = ("kind", "verdict", "score", "z", "raw", "bound", "margin")
    keep = (*measured, "message", "symptoms", "advice")
    return {
        "verdict": result.verdict,
        "score": result.score,
        "diagnosis": result.diagnosis.name if result.diagnosis else "",
        "suspected": result.diagnosis.suspected if result.diagnosis else "",
        "advice": result.diagnosis.advice if result.diagnosis else "",
        "categories": {name: found.score for name, found in result.categories.items()},
        "probes": {p.name: {key: getattr(p, key) for key in keep} for p in result.probes},
        "notes": list(result.notes),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--check", action="store_true", help="also run `sway check`")
    parser.add_argument("--again", action="store_true")
    parser.add_argument("--sealed", action="store_true")
    parser.add_argument("--to", default="results", metavar="FOLDER")
    args = parser.parse_args()
    os.environ["SWAY_CACHE_DIR"] = str(CACHE)
    base, folder = OpenBase(), HOME / args.to
    for case in msgspec.json.decode(MANIFEST.read_bytes()):
        path = folder / f"{case['name']}.json"
        is_wanted = case["name"] in args.names or not args.names
        if not is_wanted or case["sealed"] != args.sealed:
            continue
        if path.exists() and not args.again:
            continue
        found: dict[str, Any] = {"started": now()}
        found["gate"] = gated(on(init_suite(case)), base)
        if args.check:
            found |= checked(case, base)
        write_json(path, found)
        gate = found["gate"]
        outcome = f"{gate['verdict']} {gate.get('score')} {gate.get('diagnosis')}"
        state = "ok " if gate["verdict"] == case["expected"] else "BAD"
        note(
            f"gate: {state} {case['name']} ({case['expected']}): {outcome}, {gate['seconds']:.0f} s"
        )


if __name__ == "__main__":
    main()
