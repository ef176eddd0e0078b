"""Gates one checkpoint in a separate process.

The gate reads the saved files, which are the ones that are deployed. It shares no memory, modules
or random numbers with the training, and therefore cannot change it. It ends if the training ends.
"""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from sway_gate.errors import CannotDecide
from sway_gate.reports import json_v1
from sway_gate.results import GateResult
from sway_gate.text import cut, one_line
from sway_gate.watch import PARENT

_OF_LAUNCHERS: Final = (
    *("RANK", "WORLD_SIZE", "LOCAL_", "GROUP_", "ROLE_", "MASTER_"),
    *("TORCHELASTIC_", "ACCELERATE_", "FSDP_"),
)
"""Prefixes of the variables that make libraries wait for the other processes of a training."""


def judge(command: Sequence[str], report: Path) -> GateResult:
    """The result of a `sway` command, whose JSON report is kept as `report`.

    Raises SwayError if it measures nothing.
    """
    report.parent.mkdir(parents=True, exist_ok=True)
    report.unlink(missing_ok=True)
    env = {k: v for k, v in os.environ.items() if not k.startswith(_OF_LAUNCHERS)}
    done = subprocess.run(
        [sys.executable, "-P", "-m", "sway_gate", *command, "--quiet", "--json", str(report)],
        env={**env, PARENT: str(os.getpid())},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        errors="replace",
    )
    if not report.exists():
        raise CannotDecide(
            _error(done.stderr) or f"the gate ended with exit code {done.returncode}"
        )
    return json_v1.load(str(report))


def _error(output: str) -> str:
    """The first error that a command printed."""
    lines = (line.removeprefix("error: ") for line in output.splitlines() if "error: " in line)
    return cut(one_line(next(lines, output)), 500)
