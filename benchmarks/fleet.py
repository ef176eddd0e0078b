"""`sway fleet` on this machine against one `sway gate` after another, with a worker killed.

    python -m benchmarks.fleet
    python -m benchmarks.fleet SPEC ADAPTER… [--singles N]

Prints a part of benchmarks/results/fleet.md: for 24 adapters of the demo's base, which differ by
small random changes, or for the given adapters. A fleet of two workers gates them by one spec, and
one of the workers is killed after a third of the gates. Some of them are then gated one by one, and
the numbers of both are compared. Needs the extras `hf` and `ray`, and takes some minutes.
"""

import argparse
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from safetensors.numpy import load_file, save_file

from sway_gate import demo

GATES, NULLS = 24, 4
WEIGHTS = "adapter_model.safetensors"
POLL_S = 0.1


class Case(NamedTuple):
    """A spec and adapters. The first `singles` adapters are also gated one by one."""

    text: str
    spec: str
    adapters: list[str]
    singles: int

    @property
    def kill_after(self) -> int:
        return len(self.adapters) // 3


class Run(NamedTuple):
    """A finished command: its wall seconds and its lines on stderr."""

    seconds: float
    lines: list[str]


def demo_case(folder: Path) -> Case:
    shutil.copytree(demo.MODEL, folder / "model")
    shutil.copy(demo.FOLDER / "document.md", folder)
    spec = (demo.FOLDER / "healthy.sway.yaml").read_text(encoding="utf-8")
    nulls = "kind: null_adapter"
    spec = spec.replace(nulls, f"{nulls}\n    runs: {NULLS}")
    (folder / "sway.yaml").write_text(spec, encoding="utf-8")
    shutil.copytree(demo.HEALTHY, folder / "healthy")
    adapters = []
    for i in range(GATES):
        adapter = Path(shutil.copytree(demo.HEALTHY, folder / "runs" / f"{i:02d}"))
        rng, tensors = np.random.default_rng(i), load_file(adapter / WEIGHTS)
        changed = {
            name: (x + 0.02 * x.std() * rng.standard_normal(x.shape)).astype(x.dtype)
            for name, x in sorted(tensors.items())
        }
        save_file(changed, adapter / WEIGHTS)
        adapters.append(str(adapter))
    return Case(f"{GATES} adapters of the demo's base", str(folder / "sway.yaml"), adapters, 6)


def sway(folder: Path, cache: str, *words: str) -> Run:
    env = {**os.environ, "SWAY_CACHE_DIR": str(folder / cache), "OMP_NUM_THREADS": "1"}
    command, started = [sys.executable, "-m", "sway_gate", *words], time.monotonic()
    run = subprocess.run(command, cwd=folder, env=env, check=False, text=True, capture_output=True)
    assert run.returncode in (0, 1), run.stderr
    return Run(time.monotonic() - started, run.stderr.splitlines())


def fleet(case: Case, folder: Path) -> Run:
    options = ("--results", "fleet", "-o", "fleet.json")
    return sway(folder, "cache", "fleet", case.spec, "--adapters", *case.adapters, *options)


def one_by_one(case: Case, folder: Path) -> float:
    """Wall seconds."""
    (folder / "single").mkdir()
    seconds = 0.0
    for i, adapter in enumerate(case.adapters[: case.singles]):
        options = ("--adapter", adapter, "-o", f"single/{i:02d}.json", "--quiet")
        seconds += sway(folder, "single-cache", "gate", case.spec, *options).seconds
    return seconds


class Watch(threading.Thread):
    """Kills one worker that measures, and reads the peak memory of all of them."""

    def __init__(self, results: Path, kill_after: int) -> None:
        super().__init__(daemon=True)
        self._results, self._kill_after = results, kill_after
        self.killed = 0
        self.peaks: dict[int, int] = {}
        """Resident bytes of each worker, by process."""

    def run(self) -> None:
        while True:
            for pid, title in workers():
                self.peaks[pid] = max(self.peaks.get(pid, 0), peak_bytes(pid))
                is_due = len(list(self._results.glob("*.json"))) >= self._kill_after
                if not self.killed and is_due and title.startswith("ray::_Actor.judge"):
                    os.kill(pid, signal.SIGKILL)
                    self.killed = pid
            time.sleep(POLL_S)


def workers() -> Iterator[tuple[int, str]]:
    """The processes of workers, and their titles."""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            title = path.read_bytes().decode(errors="replace")
        except OSError:  # it has ended
            continue
        if title.startswith("ray::_Actor"):
            yield int(path.parent.name), title


def peak_bytes(pid: int) -> int:
    try:
        found = re.search(r"VmHWM:\s*(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    except OSError:  # it has ended
        return 0
    return int(found[1]) * 1024 if found else 0


def reports(folder: Path) -> dict[str, Any]:
    """The JSON reports in a folder, by adapter."""
    found = [json.loads(path.read_bytes()) for path in folder.glob("*.json")]
    return {os.path.realpath(report["adapter"]["path"]): report for report in found}


def differences(a: Any, b: Any) -> tuple[float, float]:
    """The difference of two composites, and the largest one of the probes' numbers."""
    probes = zip(a["probes"], b["probes"], strict=True)
    raw = [abs(x["raw"] - y["raw"]) for x, y in probes if x["raw"] is not None]
    return abs(a["score"] - b["score"]), max(raw)


def verdicts(report: Any) -> list[str]:
    return [report["verdict"], *(probe["verdict"] for probe in report["probes"])]


def measured(case: Case, folder: Path) -> str:
    """Run the fleet, the same fleet again, and the single gates. The part of the page."""
    watch = Watch(folder / "fleet", case.kill_after)
    watch.start()
    together = fleet(case, folder)
    assert watch.killed
    again = fleet(case, folder)
    single = one_by_one(case, folder) * len(case.adapters) / case.singles
    gates = json.loads((folder / "fleet.json").read_bytes())["gates"]
    assert all(gate["stored"] for gate in gates)
    found, expected = reports(folder / "fleet"), reports(folder / "single")
    same = sum(verdicts(found[key]) == verdicts(expected[key]) for key in expected)
    scores, raws = zip(*(differences(found[key], expected[key]) for key in expected), strict=True)
    finished = sum(bool(re.search(r"  \d+ s on ", line)) for line in together.lines)
    peaks = ", ".join(f"{peak / 1e9:.1f}" for peak in watch.peaks.values())
    return f"""\
{case.text}, by one spec, on a machine with {len(os.sched_getaffinity(0))} cores.

| run | wall | against one by one |
| --- | ---: | ---: |
| one `sway gate` after another, from {case.singles} of them | {single:.0f} s | 1 |
| `sway fleet` with 2 workers, one killed after {case.kill_after} gates \
| {together.seconds:.0f} s | {together.seconds / single:.2f} |
| the same command again: all results are stored \
| {again.seconds:.1f} s | {again.seconds / single:.2f} |

{len(found)} of {len(case.adapters)} gates have a result, and {finished} measurements ended. \
Of {case.singles} gates, the verdicts of {same} and of their probes are the same one by one; \
composites differ by at most {max(scores):.1g}, numbers of probes by at most {max(raws):.1g}. \
The workers, with the killed one and the one that replaced it, had peaks of {peaks} GB of memory.
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("spec", nargs="?")
    parser.add_argument("adapters", nargs="*")
    parser.add_argument("--singles", type=int, default=4)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="sway-benchmark-") as name:
        folder = Path(name)
        if args.spec:
            adapters = [os.path.abspath(adapter) for adapter in args.adapters]
            text = f"{len(adapters)} adapters"
            case = Case(text, os.path.abspath(args.spec), adapters, args.singles)
        else:
            case = demo_case(folder)
        print(measured(case, folder))


if __name__ == "__main__":
    main()
