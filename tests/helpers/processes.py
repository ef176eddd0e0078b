"""Code in a new process."""

import os
import subprocess
import sys
from pathlib import Path

from tests.helpers import ROOT


def python(code: str, *argv: str, cwd: Path = ROOT) -> str:
    """The standard output of the code, which must end without an error."""
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", code, *argv]
    run = subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    return run.stdout


def modules_after(code: str, *argv: str, cwd: Path = ROOT) -> set[str]:
    """The modules that the code has loaded."""
    code += "\nimport sys; print('\\nMODULES', *sys.modules)"
    return set(python(code, *argv, cwd=cwd).rpartition("\nMODULES ")[2].split())
