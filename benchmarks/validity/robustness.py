"""Do verdicts stay as they are when nothing that matters changes? Seeds, precision, batch budget, order of prompts.

    python -m benchmarks.validity.robustness > benchmarks/results/robustness.md

Each adapter is gated once as the zoo is, then under each condition; a flip is a gate or a probe whose verdict differs
from that of the first run. `seed N` changes the seed of the run and draws other null adapters.
"""

import argparse
import os
import random
from collections.abc import Callable, Iterator
from typing import Any

from benchmarks.validity import minilm
from benchmarks.validity.bases import BASES
from benchmarks.validity.documents import document
from benchmarks.validity.suite import suite, text
from benchmarks.validity.zoo import home
from sway_gate.gate.resolve import Options
from sway_gate.gate.run import run_gate
from sway_gate.results import GateResult
from sway_gate.spec.load import parse_spec

Fields = dict[str, Any]
ADAPTERS = ("healthy_r4", "shuffled", "undertrained")
BASE, DOCUMENT = "llama", "marrowby"
SEEDS = range(1, 11)


def seeded(seed: int) -> Callable[[Fields], None]:
    def change(fields: Fields) -> None:
        fields["defaults"] = {"seed": seed}
        next(p for p in fields["suite"] if p["kind"] == "null_adapter")["seed_base"] = (
            1000 + 500 * seed
        )

    return change


def half(fields: Fields) -> None:
    for model in fields["models"].values():
        model["dtype"] = "bf16"


def permuted(fields: Fields) -> None:
    for probe in fields["suite"]:
        for listed in (probe.get("prompts"), probe.get("cases"), probe.get("triples")):
            random.Random(0).shuffle(listed or [])
    random.Random(0).shuffle(fields["sections"])


def conditions() -> Iterator[tuple[str, Callable[[Fields], None], str]]:
    """Name, change of the spec, and the memory budget in GB ("" for the default)."""
    yield from ((f"seed {seed}", seeded(seed), "") for seed in SEEDS)
    yield "bf16", half, ""
    yield "budget 0.02 GB", lambda fields: None, "0.02"
    yield "prompts and sections permuted", permuted, ""


def gated(adapter: str, change: Callable[[Fields], None], budget: str) -> GateResult:
    fields = suite(document(DOCUMENT), BASES[BASE].folder, home(BASE, DOCUMENT) / adapter, minilm())
    change(fields)
    os.environ.pop("SWAY_MEMORY_GB", None)
    if budget:
        os.environ["SWAY_MEMORY_GB"] = budget
    return run_gate(parse_spec(text(fields), adapter, "/"), Options(cache=False))


def row(name: str, first: GateResult, again: GateResult) -> str:
    flips = [
        f"{old.kind} {old.verdict}→{new.verdict}"
        for old, new in zip(first.probes, again.probes, strict=True)
        if old.verdict != new.verdict
    ]
    verdict = again.verdict if again.verdict == first.verdict else f"**{again.verdict}**"
    return f"| {name} | {verdict} | {again.score or 0:.3f} | {', '.join(flips) or '–'} |"


def main() -> None:
    argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    ).parse_args()
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    print(
        "# Robustness\n\nFrom `benchmarks/validity/robustness.py`. A gate's verdict that flips is in bold."
    )
    for adapter in ADAPTERS:
        first = gated(adapter, lambda fields: None, "")
        print(f"\n## {adapter}: {first.verdict}, composite {first.score or 0:.3f}\n")
        print("| condition | gate | composite | probes that flip |\n| --- | --- | ---: | --- |")
        for name, change, budget in conditions():
            print(row(name, first, gated(adapter, change, budget)), flush=True)


if __name__ == "__main__":
    main()
