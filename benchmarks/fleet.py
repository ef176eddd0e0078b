"""`sway fleet` on this machine against one `sway gate` after another, with a worker killed.

    python -m benchmarks.fleet > benchmarks/results/fleet.md

24 adapters of the demo's base, which differ by small random changes, are gated by one spec: by a
fleet of two workers, one of which is killed after a third of the gates. A quarter of them is then
gated one by one, and the numbers of both are compared. Needs the extras `hf` and `ray`, and takes
some minutes.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file, save_file

from sway_gate import demo

GATES, KILL_AFTER = 24, 8
SINGLES = 6
"""Gates that are also measured one by one."""
NULLS = 4
WEIGHTS = "adapter_model.safetensors"


def make_inputs(folder: Path) -> None:
    shutil.copytree(demo.MODEL, folder / "model")
    shutil.copy(demo.FOLDER / "document.md", folder)
    spec = (demo.FOLDER / "healthy.sway.yaml").read_text(encoding="utf-8")
    nulls = "kind: null_adapter"
    spec = spec.replace(nulls, f"{nulls}\n    runs: {NULLS}")
    (folder / "sway.yaml").write_text(spec, encoding="utf-8")
    shutil.copytree(demo.HEALTHY, folder / "healthy")
    for i in range(GATES):
        adapter = Path(shutil.copytree(demo.HEALTHY, folder / "runs" / f"{i:02d}"))
        rng, tensors = np.random.default_rng(i), load_file(adapter / WEIGHTS)
        changed = {
            name: (x + 0.02 * x.std() * rng.standard_normal(x.shape)).astype(x.dtype)
            for name, x in sorted(tensors.items())
        }
        save_file(changed, adapter / WEIGHTS)


def timed(run: Callable[[], None]) -> float:
    """Wall seconds."""
    started = time.monotonic()
    run()
    return time.monotonic() - started


def sway(folder: Path, cache: str, *words: str) -> None:
    env = {**os.environ, "SWAY_CACHE_DIR": str(folder / cache), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "sway_gate", *words]
    run = subprocess.run(command, cwd=folder, env=env, check=False, stdout=subprocess.DEVNULL)
    assert run.returncode in (0, 1), run.returncode


def fleet(folder: Path) -> None:
    options = ("--adapters", "runs/*", "--results", "fleet", "-o", "fleet.json")
    sway(folder, "fleet-cache", "fleet", "sway.yaml", *options)


def one_by_one(folder: Path) -> None:
    (folder / "single").mkdir()
    for i in range(SINGLES):
        options = ("--adapter", f"runs/{i:02d}", "-o", f"single/{i:02d}.json", "--quiet")
        sway(folder, "single-cache", "gate", "sway.yaml", *options)


def kill_a_worker(folder: Path) -> None:
    """Kill one process of a worker that measures."""
    while len(list((folder / "fleet").glob("*.json"))) < KILL_AFTER:
        time.sleep(0.1)
    for process in Path("/proc").glob("[0-9]*/cmdline"):
        if process.read_bytes().startswith(b"ray::_Actor.judge"):
            os.kill(int(process.parent.name), signal.SIGKILL)
            return


def numbers(report: dict[str, Any]) -> dict[str, Any]:
    kept = ("verdict", "raw", "z", "null_values")
    return {probe["name"]: {key: probe[key] for key in kept} for probe in report["probes"]}


def by_adapter(folder: Path) -> dict[str, Any]:
    reports = [json.loads(path.read_bytes()) for path in folder.glob("*.json")]
    return {Path(report["adapter"]["path"]).name: numbers(report) for report in reports}


def largest_difference(a: Any, b: Any) -> float:
    """The largest relative difference of two equal structures of numbers. Infinite if unequal."""
    if isinstance(a, dict) and isinstance(b, dict) and a.keys() == b.keys():
        return max((largest_difference(a[key], b[key]) for key in a), default=0.0)
    if isinstance(a, list) and isinstance(b, list) and len(a) == len(b):
        return max(map(largest_difference, a, b), default=0.0)
    if isinstance(a, float) and isinstance(b, float):
        return abs(a - b) / max(abs(a), abs(b), 1e-9)
    return 0.0 if a == b else float("inf")


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="sway-benchmark-") as name:
        folder = Path(name)
        make_inputs(folder)
        killer = threading.Thread(target=kill_a_worker, args=(folder,), daemon=True)
        killer.start()
        together = timed(lambda: fleet(folder))
        assert not killer.is_alive()
        again = timed(lambda: fleet(folder))
        single = timed(lambda: one_by_one(folder)) * GATES / SINGLES
        gates = json.loads((folder / "fleet.json").read_bytes())["gates"]
        assert all(gate["stored"] for gate in gates)
        found, expected = by_adapter(folder / "fleet"), by_adapter(folder / "single")
        difference = largest_difference({key: found[key] for key in expected}, expected)
        print(report(together, again, single, len(found), difference))


def report(together: float, again: float, single: float, count: int, difference: float) -> str:
    cores = len(os.sched_getaffinity(0))
    return f"""\
# A fleet

From `python -m benchmarks.fleet`: {GATES} adapters of the demo's base, by one spec, \
on a machine with {cores} cores and one thread per process.

| run | wall | against one by one |
| --- | ---: | ---: |
| one `sway gate` after another, from {SINGLES} of them | {single:.0f} s | 1 |
| `sway fleet` with {cores} workers, one killed after {KILL_AFTER} gates \
| {together:.0f} s | {together / single:.2f} |
| the same command again: all results are stored | {again:.1f} s | {again / single:.2f} |

{count} of {GATES} gates have a result. \
The largest relative difference of a number between both runs is {difference:.1g}."""


if __name__ == "__main__":
    main()
