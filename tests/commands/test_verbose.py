"""`-v` adds times, paths and versions on standard error, and nothing on standard output."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from sway_gate import cli
from sway_gate.commands import _verbose
from sway_gate.gate.resolve import Inputs
from sway_gate.results import Finding
from tests.compare.test_results import write_spec
from tests.helpers.results import result


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: Any) -> Path:
    """A current folder with a spec, whose gate measures nothing."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SWAY_DEBUG", "0")
    write_spec(tmp_path / "sway.yaml")
    finding = Finding(id="odd", level="note", message="a\n::error::b", path="x")
    answer = msgspec.structs.replace(result(), findings=(finding,))

    def run(spec: Any, options: Any, progress: Any) -> Any:
        progress("measuring", 0, 4)
        return answer

    monkeypatch.setattr("sway_gate.gate.run.run_gate", run)
    monkeypatch.setattr("sway_gate.gate.resolve.inputs", lambda *_: Inputs([], []))
    return tmp_path


def test_verbose_adds_lines_on_standard_error(folder: Path, capsys: Any) -> None:
    cli.main(["gate"])
    plain = capsys.readouterr()
    cli.main(["gate", "-v"])
    out, err = capsys.readouterr()
    assert (out, plain.err) == (plain.out, "")
    names = [line.partition(":")[0] for line in err.splitlines()]
    assert names == ["time", "base", "adapter", "cache", "versions", "interpreter", "finding"]
    assert "measuring 0.0" in err
    assert err.endswith("finding: note odd: a ::error::b\n")


def test_verbose_prints_the_traceback_of_a_bug(folder: Path, capsys: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr("sway_gate.gate.run.run_gate", lambda *_: 1 / 0)
    assert cli.main(["gate", "--verbose"]) == 3
    assert "Traceback" in capsys.readouterr().err


def test_the_times_of_phases(monkeypatch: Any) -> None:
    now = iter([0.0, 1.0, 3.0, 3.5, 7.5])
    monkeypatch.setattr(_verbose.time, "monotonic", lambda: next(now))
    clock = _verbose.PhaseClock()
    for phase in ("reading", "measuring", "reading"):
        clock.start(phase)
    assert clock.text() == "time: starting 1.00 s, reading 6.00 s, measuring 0.50 s\n"
