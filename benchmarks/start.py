"""Measure the start of `sway check` until the model is loaded and has run its first short passes.

    python -m benchmarks.start [--repeats N]

Prints Markdown: the shortest of N runs, the shortest imports of single libraries, and the
packages that the run imports, with the time that each takes itself. Requires the zoo of
`benchmarks.real` (SWAY_REAL).
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter, defaultdict
from pathlib import Path

from benchmarks.real.paths import ADAPTERS, BASE, ROOT
from benchmarks.speed_inputs import compile_package

CHECK = (
    *(sys.executable, "-m", "sway_gate", "check", str(ADAPTERS / "facts-middle-r16")),
    *("--base", str(BASE), "--no-cache"),
)
IMPORTS = ("numpy", "torch", "transformers", "transformers.models.llama.modeling_llama")
_LINE = re.compile(r"import time:\s+(\d+) \|\s+\d+ \|\s+(\w+)")
_SHOWN = 12
_STEP_S = 0.005


def loading(environment: dict[str, str] | None = None) -> tuple[float, str]:
    """Seconds until the trace of a check states that the model is loaded, and standard error.

    The run is then ended.
    """
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryFile("w+") as errors:
        trace, started = Path(folder, "trace"), time.perf_counter()
        run = subprocess.Popen(
            (*CHECK, "--trace", str(trace)),
            stdout=subprocess.DEVNULL,
            stderr=errors,
            env={**os.environ, **(environment or {})},
        )
        while run.poll() is None and not (trace.exists() and b'"load"' in trace.read_bytes()):
            time.sleep(_STEP_S)
        seconds, is_loaded = time.perf_counter() - started, run.poll() is None
        run.terminate()
        run.wait()
        errors.seek(0)
        text = errors.read()
    if not is_loaded:
        sys.exit(f"the check ended before it loaded a model: {text.strip()[-500:]}")
    return seconds, text


def importing(module: str) -> float:
    """Seconds of a process that only imports a module."""
    started = time.perf_counter()
    subprocess.run([sys.executable, "-c", f"import {module}"], check=True)
    return time.perf_counter() - started


def packages() -> list[str]:
    """Rows of the packages that take the longest to import: number of modules, and seconds."""
    _, text = loading({"PYTHONPROFILEIMPORTTIME": "1"})
    seconds: dict[str, float] = defaultdict(float)
    modules = Counter[str]()
    for microseconds, package in _LINE.findall(text):
        seconds[package] += int(microseconds) / 1e6
        modules[package] += 1
    longest = sorted(seconds, key=seconds.__getitem__, reverse=True)[:_SHOWN]
    return [f"| {name} | {modules[name]} | {seconds[name]:.2f} s |" for name in longest]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=5)
    repeats = range(parser.parse_args().repeats)
    compile_package(ROOT)
    print("| start | shortest |\n| --- | ---: |")
    print(
        f"| `sway check` until the model is loaded | {min(loading()[0] for _ in repeats):.2f} s |"
    )
    for module in IMPORTS:
        print(f"| `import {module}` | {min(importing(module) for _ in repeats):.2f} s |")
    print("\n| package | modules | import |\n| --- | ---: | ---: |")
    print("\n".join(packages()))


if __name__ == "__main__":
    main()
