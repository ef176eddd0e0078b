"""Gate adapters again under conditions that should not change a verdict, and print a table.

    python -m benchmarks.real.repeat NAME … > benchmarks/results/real_repeat.md

Conditions: ten seeds (other null adapters, other blocks of rows), 3 and 32 null adapters, and the
base in fp32. Results are kept in repeat/NAME.json.
"""

import argparse
import os
from collections.abc import Iterator
from typing import Any

import msgspec

from benchmarks.real.gate import gated, init_suite, on
from benchmarks.real.paths import CACHE, HOME, MANIFEST, note, read_json, write_json
from sway_gate.gate.open import OpenBase
from sway_gate.spec.probes import NullAdapter
from sway_gate.spec.schema import Spec

HEAD = """# Adapters of a real base, gated again

From `benchmarks/real/repeat.py`, on adapters of [the zoo](real.md). Each is gated as there, with
ten other seeds (other null adapters, other blocks of rows), with 3 and 32 null adapters, and with
the base in fp32 instead of bf16. A verdict of the gate that flips is in bold."""
SEEDS, NULLS = range(1, 11), (3, 32)
AS_SHIPPED = "as shipped"
replace = msgspec.structs.replace


def with_nulls(spec: Spec, **changes: int) -> Spec:
    """`spec` with changed settings of its null adapters."""
    suite = [
        replace(probe, **changes) if isinstance(probe, NullAdapter) else probe
        for probe in spec.suite
    ]
    return replace(spec, suite=tuple(suite))


def conditions(spec: Spec) -> Iterator[tuple[str, Spec]]:
    """The spec as `sway init` writes it, and under each condition."""
    yield AS_SHIPPED, on(spec)
    for seed in SEEDS:
        yield f"seed {seed}", with_nulls(on(spec, seed=seed), seed_base=1000 + 100 * seed)
    for runs in NULLS:
        yield f"{runs} null adapters", with_nulls(on(spec), runs=runs)
    yield "fp32", on(spec, "fp32")


def flips(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    """The probes whose verdict changed."""
    pairs = [(name, probe["verdict"], after[name]["verdict"]) for name, probe in before.items()]
    return [f"{name} {old}→{new}" for name, old, new in pairs if old != new]


def table(name: str, found: dict[str, Any]) -> Iterator[str]:
    """One adapter's rows; a flipped verdict of the gate is in bold."""
    first = found[AS_SHIPPED]
    yield f"\n## {name}: {first['verdict']}, composite {first['score']:.3f}\n"
    yield "| condition | gate | composite | probes that flip |\n| --- | --- | ---: | --- |"
    for condition, one in found.items():
        if condition == AS_SHIPPED:
            continue
        verdict = one["verdict"] if one["verdict"] == first["verdict"] else f"**{one['verdict']}**"
        changed = ", ".join(flips(first["probes"], one["probes"])) or "–"
        yield f"| {condition} | {verdict} | {one['score']:.3f} | {changed} |"


def total(adapters: list[dict[str, Any]]) -> str:
    """How many verdicts flip, over all adapters and conditions."""
    pairs = [
        (found[AS_SHIPPED], one)
        for found in adapters
        for condition, one in found.items()
        if condition != AS_SHIPPED
    ]
    gates = sum(one["verdict"] != first["verdict"] for first, one in pairs)
    probes = sum(len(flips(first["probes"], one["probes"])) for first, one in pairs)
    judged = sum(len(one["probes"]) for _, one in pairs)
    return (
        f"\n## All\n\n{len(adapters)} adapters, {len(pairs)} repeated gates: {gates} verdicts of"
        f" the gate and {probes} of {judged} verdicts of probes flip."
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="+", metavar="NAME")
    parser.add_argument("--print", action="store_true", help="print what is measured; run nothing")
    args = parser.parse_args()
    os.environ["SWAY_CACHE_DIR"] = str(CACHE)
    base = OpenBase()
    print(HEAD)
    adapters = []
    for case in msgspec.json.decode(MANIFEST.read_bytes()):
        name = case["name"]
        path = HOME / "repeat" / f"{name}.json"
        if name not in args.names:
            continue
        found = read_json(path) if path.exists() else {}
        for condition, spec in conditions(init_suite(case)):
            if condition not in found and not args.print:
                found[condition] = gated(spec, base)
                write_json(path, found)
                one = found[condition]
                note(f"repeat: {name}, {condition}: {one['verdict']} {one.get('score')}")
        print("\n".join(table(name, found)), flush=True)
        adapters.append(found)
    print(total(adapters))


if __name__ == "__main__":
    main()
