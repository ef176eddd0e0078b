"""Fuzz the readers of untrusted files: python -m tools.fuzz [--seconds N] [TARGET …]

Hypothesis makes and shrinks the examples. The exit code is 1 if a target violates a rule: only
errors of sway-gate are raised, each line of their messages is printable, and no example takes more
than LIMIT_S of CPU time.
"""

import argparse
import os
import signal
import sys
import tempfile
import time
import traceback
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, Phase, given, seed, settings

from sway_gate.errors import SwayError
from sway_gate.text import clean
from tools.fuzz.targets import TARGETS, Files, Target

LIMIT_S = 5
BATCH = 200
MAX_MESSAGE = 2000


class Hang(BaseException):
    """An example took too long. No handler for Exception catches it."""


def apply(target: Target, files: Files) -> None:
    """Use the files in a new folder. Raises AssertionError if a rule is violated."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for file, content in files.items():
            (folder / file).parent.mkdir(exist_ok=True)
            (folder / file).write_bytes(content)
        signal.setitimer(signal.ITIMER_PROF, LIMIT_S)
        try:
            target.use(folder, files)
        except SwayError as error:
            for line in str(error).split("\n"):
                assert clean(line) == line, f"not printable: {line!a}"
                assert len(line) <= MAX_MESSAGE, f"a message of {len(line)} characters"
        except Hang:
            raise AssertionError(f"more than {LIMIT_S} s of CPU time") from None
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)


def fuzz(name: str, seconds: float, start: int) -> tuple[int, bool]:
    """Fuzz one target. Return the number of examples, and whether no rule was violated."""
    target, end, count = TARGETS[name], time.monotonic() + seconds, 0
    phases = (Phase.generate, Phase.shrink)
    while time.monotonic() < end:

        @seed(start + count)
        @settings(
            max_examples=BATCH,
            deadline=None,
            database=None,
            phases=phases,
            suppress_health_check=list(HealthCheck),
        )
        @given(target.files)
        def batch(files: Files) -> None:
            nonlocal count
            count += 1
            apply(target, files)

        try:
            batch()
        except Exception:
            traceback.print_exc()
            return count, False
    return count, True


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tools.fuzz")
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=", ".join(TARGETS))
    parser.add_argument("--seconds", type=float, default=60, help="for all targets together")
    parser.add_argument("--seed", type=int, default=time.time_ns() % 2**32)
    args = parser.parse_args(argv)
    if unknown := set(args.targets) - TARGETS.keys():
        parser.error(f"unknown target: {', '.join(sorted(unknown))}")

    def stop(*_: Any) -> None:
        raise Hang

    signal.signal(signal.SIGPROF, stop)
    with tempfile.TemporaryDirectory() as folder:
        os.environ |= {"SWAY_CACHE_DIR": folder, "HF_HUB_CACHE": folder}
        names = args.targets or list(TARGETS)
        holds = True
        for name in names:
            count, is_held = fuzz(name, args.seconds / len(names), args.seed)
            holds &= is_held
            print(f"{name}: {count:,} examples, {'no fault' if is_held else 'FAULT'}", flush=True)
    print(f"seed {args.seed}")
    return 0 if holds else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
