"""Cost of `sway rank` against single gates, their numbers, and the coverage of the best set.

    python -m benchmarks.rank toy [--every N]
    python -m benchmarks.rank run SPEC PATTERN [--every N]
    python -m benchmarks.rank reports SPEC ADAPTER… [--keep FOLDER]
    python -m benchmarks.rank coverage

toy: 30 adapters, the demo's healthy one at 30 strengths. run: the checkpoints of a run. Each
command is its own process without a cache; the cost is the CPU time of the process, because other
programs use the same cores. Every N-th adapter also has a single gate, and the mean of their
costs stands for all.

reports: compares all numbers of two reports on each adapter: the one that a ranking leaves in its
cache, and the one of a single gate with an empty cache. Half of the single gates run before the
ranking and half after it, so that a load of the machine that changes slowly is in both costs. The
caches stay in FOLDER: with SWAY_CACHE_DIR=FOLDER/rank, `sway rank` draws the same ranking at once.
"""

import argparse
import glob
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from sway_gate import demo
from sway_gate.compare.best import LEVEL, p_values
from sway_gate.text import by_number

TOY = 30
Floats = np.ndarray[Any, np.dtype[np.float64]]


class Ran(NamedTuple):
    """A finished command."""

    code: int
    cpu_seconds: float
    report: Any


def ran(*arguments: str, cache: Path | None = None) -> Ran:
    """Run `sway` with this cache, or without one, and read its JSON report."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        command = [sys.executable, "-m", "sway_gate", *arguments, "--quiet", "--yes"]
        command += ["--json", str(report), *([] if cache else ["--no-cache"])]
        place = {"SWAY_CACHE_DIR": str(cache)} if cache else {}
        pid = os.posix_spawn(sys.executable, command, {**os.environ, **place})
        _, status, usage = os.wait4(pid, 0)
        found = json.loads(report.read_text(encoding="utf-8"))
    return Ran(os.waitstatus_to_exitcode(status), usage.ru_utime + usage.ru_stime, found)


def toys(folder: Path) -> tuple[str, list[str]]:
    """The demo's spec, and its healthy adapter at strengths up to 1.5."""
    from safetensors.numpy import load_file, save_file

    adapters = []
    for i in range(1, TOY + 1):
        made = Path(shutil.copytree(demo.HEALTHY, folder / f"checkpoint-{10 * i}"))
        weights = load_file(made / "adapter_model.safetensors")
        scale = np.float32(1.5 * i / TOY)
        scaled = {k: w * scale if "lora_B" in k else w for k, w in weights.items()}
        save_file(scaled, made / "adapter_model.safetensors", {"format": "pt"})
        adapters.append(str(made))
    return str(demo.FOLDER / "healthy.sway.yaml"), adapters


def compare(spec: str, adapters: list[str], every: int) -> None:
    """Print the costs, and the largest difference of the measure and the composite."""
    whole, race = ran("rank", spec, *adapters), ran("rank", spec, *adapters, "--race")
    gates = {one: ran("gate", spec, "--adapter", one) for one in adapters[::every]}
    alone = float(np.mean([gate.cpu_seconds for gate in gates.values()])) * len(adapters)
    print("| command | CPU time | share | judged in full | chosen | tie with it |")
    print("| --- | --- | --- | --- | --- | --- |")
    print(f"| {len(adapters)} gates | {alone:.0f} s | 1 | {len(adapters)} | | |")
    for name, found in {"`sway rank`": whole, "`sway rank --race`": race}.items():
        entries = found.report["entries"]
        full = sum(entry["standing"] != "dropped" for entry in entries)
        ties = [e["label"] for e in entries if e["standing"] in ("best", "tied")]
        others = ", ".join(label for label in ties if label != found.report["chosen"])
        share = found.cpu_seconds / alone
        print(
            f"| {name} | {found.cpu_seconds:.0f} s | {share:.2f} | {full} "
            f"| {found.report['chosen']} | {others} |"
        )
    print(f"\n{len(gates)} single gates: {largest_difference(whole.report, gates)}")


def largest_difference(report: Any, gates: dict[str, Ran]) -> str:
    """The largest differences between a ranking and single gates, as text."""
    entries = {os.path.realpath(entry["adapter"]): entry for entry in report["entries"]}
    name = report["measure"]["name"]
    values, scores, verdicts = [0.0], [0.0], 0
    for adapter, gate in gates.items():
        entry = entries[os.path.realpath(adapter)]
        [probe] = [p for p in gate.report["probes"] if p["name"] == name]
        values.append(abs(probe["raw"] - entry["value"]))
        scores.append(abs(gate.report["score"] - entry["score"]))
        passes = entry["standing"] in ("best", "tied", "worse")
        verdicts += (gate.report["verdict"] == "pass") == passes
    return (
        f"{verdicts} of {len(gates)} verdicts equal, values differ by at most {max(values):.1g}, "
        f"composites by at most {max(scores):.1g}"
    )


# Reports


def compare_reports(spec: str, adapters: list[str], folder: Path) -> None:
    """Print the cost, the verdicts, and the numbers that differ most, for each adapter."""
    shared, half = folder / "rank", len(adapters) // 2

    def gated(adapter: str, cache: Path) -> Ran:
        return ran("gate", spec, "--adapter", adapter, cache=cache)

    def alone(some: list[str]) -> dict[str, Ran]:
        return {one: gated(one, folder / Path(one).name) for one in some}

    gates = alone(adapters[:half])
    whole = ran("rank", spec, *adapters, cache=shared)
    gates |= alone(adapters[half:])
    print("| adapter | gate | CPU time | of the ranking | numbers | equal | largest difference |")
    print("| --- | --- | ---: | --- | ---: | ---: | --- |")
    for adapter, gate in gates.items():
        ranked = gated(adapter, shared).report
        pairs = zip(numbers(gate.report), numbers(ranked), strict=True)
        differences = [(abs(a - b), f"{path} {a:.6g}") for (path, a), (_, b) in pairs]
        size, path = max(differences)
        equal = sum(not found for found, _ in differences)
        print(
            f"| {Path(adapter).name} | {words(gate.report)} | {gate.cpu_seconds:.0f} s "
            f"| {words(ranked)} | {len(differences)} | {equal} | {size:.1g} ({path}) |"
        )
    total = sum(gate.cpu_seconds for gate in gates.values())
    share = whole.cpu_seconds / total
    print(
        f"\n{len(adapters)} gates {total:.0f} s, `sway rank` {whole.cpu_seconds:.0f} s: {share:.2f}"
    )
    print(f"chosen: {whole.report['chosen']}")


def words(report: Any) -> str:
    """The verdict, and the probes that do not pass."""
    others = [f"{p['name']} {p['verdict']}" for p in report["probes"] if p["verdict"] != "pass"]
    return ": ".join(filter(None, [report["verdict"], ", ".join(others)]))


def numbers(report: Any) -> list[tuple[str, float]]:
    """The composite, and all numbers of the probes with their paths."""
    return [("composite", report["score"]), *_numbers(report["probes"], "")]


def _numbers(found: Any, path: str) -> Iterator[tuple[str, float]]:
    if isinstance(found, int | float):
        yield path, float(found)
    elif isinstance(found, dict | list):
        items = found.items() if isinstance(found, dict) else enumerate(found)
        for key, value in items:
            yield from _numbers(value, f"{path}.{key}".lstrip("."))


# Coverage

RNG = np.random.default_rng(0)


def equal(k: int, n: int) -> Floats:
    return np.asarray(RNG.normal(size=n) + RNG.normal(size=(k, n)), dtype=np.float64)


def peak(k: int, n: int) -> Floats:
    """Rises to the middle and falls; neighbours are correlated, as checkpoints are."""
    true = -0.1 * np.abs(np.arange(k) - k // 2)
    walk = np.cumsum(RNG.normal(size=(k, n)), axis=0) * 0.3
    return np.asarray(true[:, None] + walk - walk[k // 2], dtype=np.float64)


def shares(k: int, n: int) -> Floats:
    """Items that are right or wrong."""
    return (0.7 * RNG.uniform(size=n) + 0.3 * RNG.uniform(size=(k, n)) < 0.6).astype(np.float64)


def skewed(k: int, n: int) -> Floats:
    return np.asarray(RNG.lognormal(0, 1, size=(k, n)))


def coverage(runs: int = 200) -> None:
    """Print how often the best set contains the truly best candidate, and its mean size.

    Except for `peak`, all candidates are equally good; the first one stands for the best one.
    """
    draws: dict[Callable[[int, int], Floats], Callable[[int], int]] = {
        equal: lambda k: 0,
        shares: lambda k: 0,
        skewed: lambda k: 0,
        peak: lambda k: k // 2,
    }
    print("| items | candidates | rows | contains the best | mean size |")
    print("| --- | --- | --- | --- | --- |")
    for draw, best in draws.items():
        for k, n in ((3, 8), (12, 12), (12, 24), (30, 40)):
            found = [np.array(p_values(draw(k, n), 1e-3)) > LEVEL for _ in range(runs)]
            covered = np.mean([one[best(k)] for one in found])
            size = np.mean([one.sum() for one in found])
            print(f"| {draw.__name__} | {k} | {n} | {covered:.1%} | {size:.1f} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=["toy", "run", "reports", "coverage"])
    parser.add_argument("inputs", nargs="*", metavar="SPEC ADAPTER")
    parser.add_argument("--every", type=int, default=5)
    parser.add_argument("--keep", type=Path, metavar="FOLDER")
    args = parser.parse_args()
    if args.what == "coverage":
        coverage()
    elif args.what == "run":
        spec, pattern = args.inputs
        compare(spec, sorted(glob.glob(pattern), key=by_number), args.every)
    elif args.what == "reports":
        spec, *adapters = args.inputs
        with tempfile.TemporaryDirectory() as folder:
            compare_reports(spec, adapters, args.keep or Path(folder))
    else:
        with tempfile.TemporaryDirectory() as folder:
            compare(*toys(Path(folder)), args.every)


if __name__ == "__main__":
    main()
