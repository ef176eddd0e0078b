"""`sway completion`: each shell's script names every command; a missing extra is one line."""

import subprocess
import sys
from typing import Any

import pytest

from sway_gate import cli, commands
from sway_gate.commands.completion import _FILES, _FOLDERS, SHELLS


@pytest.mark.parametrize("shell", SHELLS)
def test_a_script_names_every_command(capsys: Any, shell: str) -> None:
    pytest.importorskip("shtab")
    assert cli.main(["completion", shell]) == 0
    script = capsys.readouterr().out
    assert [command for command in commands.MODULES if command not in script] == []
    assert "threshold" in script
    assert r"\x" not in script  # no character is escaped as a workflow command


@pytest.mark.skipif(sys.platform == "win32", reason="needs bash")
def test_bash_completes_commands_and_options(capsys: Any) -> None:
    pytest.importorskip("shtab")
    cli.main(["completion", "bash"])
    ask = """
complete_line() { COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMPREPLY=()
  "$(complete -p sway | sed 's/.*-F \\([^ ]*\\).*/\\1/')" sway "${@: -1}"; echo "${COMPREPLY[@]}"; }
complete_line sway ch
complete_line sway gate --thr
"""
    script = capsys.readouterr().out + ask
    ran = subprocess.run(["bash"], input=script, capture_output=True, text=True)
    assert ran.stdout.split() == ["check", "--threshold"], ran.stderr


def test_a_missing_extra_is_one_line(capsys: Any, monkeypatch: Any) -> None:
    monkeypatch.setitem(sys.modules, "shtab", None)
    assert cli.main(["completion", "bash"]) == 3
    message = "error: completion needs the package shtab: pip install 'sway-gate[completion]'\n"
    assert capsys.readouterr().err == message


def test_each_name_of_files_is_used() -> None:
    parsers = cli._parser([]).commands.choices.values()
    used = {action.metavar for parser in parsers for action in parser._actions}
    assert (_FILES | _FOLDERS) - used == set()
