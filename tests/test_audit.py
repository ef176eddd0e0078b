"""`make audit` passes only if the advisory service answered for each package."""

import json
import subprocess
from pathlib import Path

import pytest

from tools import audit

CLEAN = {"name": "numpy", "version": "2.0", "vulns": []}
KNOWN = {"name": "jinja2", "version": "2.10", "vulns": [{"id": "P-1", "fix_versions": ["2.10.1"]}]}
NO_FIX = {"name": "jinja2", "version": "2.10", "vulns": [{"id": "P-2", "fix_versions": []}]}
UNKNOWN = {"name": "torch", "skip_reason": "not found"}
ANSWERS = {
    "no vulnerability": ([CLEAN], 0, "1 packages audited"),
    "a vulnerability": ([CLEAN, KNOWN], 1, "jinja2 2.10: P-1, fixed in 2.10.1"),
    "a vulnerability without a fix": ([NO_FIX], 1, "jinja2 2.10: P-2, fixed in no version"),
    "a package that the service does not know": ([CLEAN, UNKNOWN], 3, "torch: not audited"),
    "both": ([KNOWN, UNKNOWN], 1, "torch: not audited"),
}


@pytest.fixture
def answer(monkeypatch):
    """Set the output of pip-audit; return the command and the requirements that it gets."""
    asked = []

    def set_output(stdout, stderr=""):
        def run(command, **_):
            asked.extend([command[2], *Path(command[-1]).read_text("utf-8").splitlines()])
            return subprocess.CompletedProcess(command, 1, stdout, stderr)

        monkeypatch.setattr(audit.subprocess, "run", run)
        return asked

    return set_output


@pytest.mark.parametrize(("packages", "code", "line"), ANSWERS.values(), ids=ANSWERS)
def test_the_exit_code_depends_on_the_answers(answer, capsys, packages, code, line):
    answer(json.dumps({"dependencies": packages}))
    assert audit.main() == code
    assert line in capsys.readouterr().out


def test_no_answer_is_an_error_in_one_line(answer, capsys):
    answer("", "Traceback (most recent call last):\n  …\nrequests.exceptions.ConnectionError: no\n")
    assert audit.main() == 3
    assert capsys.readouterr().err == (
        "error: pip-audit gave no answer, so nothing was audited: "
        "requests.exceptions.ConnectionError: no\n"
    )


def test_the_installed_packages_are_audited_without_local_versions(answer):
    asked = answer(json.dumps({"dependencies": []}))
    audit.main()
    assert asked[0] == "pip_audit"
    assert "pytest==" + pytest.__version__ in asked
    assert not [line for line in asked if "+" in line or line.startswith("sway-gate")]
