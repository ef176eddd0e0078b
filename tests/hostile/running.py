"""Run commands in a process that has loaded the libraries once."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from tests.helpers import ROOT
from tests.hostile.case import SECRET

KILLED = -9
"""The exit code of a command that took too long, or that was killed as requested."""


class Outcome(NamedTuple):
    """The exit code of a command, its output, and what it did that no command may do."""

    code: int
    out: str
    err: str
    events: str

    @property
    def text(self) -> str:
        return f"{self.out}\n--- stderr\n{self.err}"


class Runner:
    """The process; see `tests.hostile.runner`. argv: "heavy" if the commands use torch."""

    def __init__(self, *argv: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.hostile.runner", *argv],
            cwd=ROOT,
            env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._answer() == "ready"

    def run(
        self,
        root: Path,
        argv: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        stdin: bytes = b"",
        **options: Any,
    ) -> Outcome:
        """Run a command in the folder `root`/case. options: fields of `tests.hostile.runner.Job`.

        Of several commands the outcome has the first exit code that is not 0.
        """
        streams = {name: str(root / name) for name in ("stdin", "stdout", "stderr", "events")}
        for name, path in streams.items():
            Path(path).write_bytes(stdin if name == "stdin" else b"")
            os.chmod(path, 0o666)
        own = {"SWAY_CACHE_DIR": str(root / "cache"), "HF_HUB_CACHE": str(root / "hub")}
        own |= {"COLUMNS": "200", "HF_TOKEN": SECRET, **(env or {})}
        job = {"argv": argv, "folder": str(root / "case"), "env": own, **streams, **options}
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(job) + "\n")
        self._process.stdin.flush()
        codes = [int(word) for word in self._answer().split()]
        out, err, events = (
            Path(streams[name]).read_bytes().decode() for name in ("stdout", "stderr", "events")
        )
        return Outcome(next(filter(None, codes), 0), out, err, events)

    def _answer(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()

    def close(self) -> None:
        self._process.communicate()
