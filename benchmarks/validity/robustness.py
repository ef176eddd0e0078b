"""Measure whether verdicts change with the seed, the dtype, the memory budget or the prompt order.

    python -m benchmarks.validity.robustness > benchmarks/results/robustness.md

Each adapter is gated once like the zoo, then once under each condition. A flip is a verdict of the
gate or of a probe that differs from the first run. `seed N` changes the seed of the run and the
null adapters.
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
        nulls = next(p for p in fields["suite"] if p["kind"] == "null_adapter")
        nulls["seed_base"] = 1000 + 500 * seed

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
    """(name, change of the spec, memory budget in GB) per condition; "" is the default budget."""
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
    pairs = zip(first.probes, again.probes, strict=True)
    flips = [f"{a.kind} {a.verdict}→{b.verdict}" for a, b in pairs if a.verdict != b.verdict]
    verdict = again.verdict if again.verdict == first.verdict else f"**{again.verdict}**"
    return f"| {name} | {verdict} | {again.score or 0:.3f} | {', '.join(flips) or '–'} |"


def main() -> None:
    argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    ).parse_args()
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    print("# Robustness\n")
    print("From `benchmarks/validity/robustness.py`. A verdict of the gate that flips is in bold.")
    for adapter in ADAPTERS:
        first = gated(adapter, lambda fields: None, "")
        print(f"\n## {adapter}: {first.verdict}, composite {first.score or 0:.3f}\n")
        print("| condition | gate | composite | probes that flip |\n| --- | --- | ---: | --- |")
        for name, change, budget in conditions():
            print(row(name, first, gated(adapter, change, budget)), flush=True)


if __name__ == "__main__":
    main()
