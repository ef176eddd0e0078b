"""Help, usage and wrong command lines: what is near is named, and the examples work."""

import re
import shlex
from typing import Any

import pytest

from sway_gate import cli, commands
from sway_gate.commands._parser import Parser, near

PROGRAM = cli._parser([])
COMMANDS: dict[str, Parser] = PROGRAM.commands.choices
MAX_WIDTH = 80

WRONG = {
    "chek runs": "sway: error: 'chek' is not a command; did you mean check?",
    "list-probes": "sway: error: 'list-probes' is not a command; did you mean probes?",
    "GATE": "sway: error: 'GATE' is not a command; did you mean gate?",
    "frobnicate": "sway: error: 'frobnicate' is not a command; `sway --help` lists the commands",
    "my.sway.yaml": "sway: error: 'my.sway.yaml' is not a command; to judge by a spec: "
    "sway gate my.sway.yaml",
    ".": "sway: error: '.' is not a command; to judge an adapter: sway check .",
    "": "sway: error: no command; `sway --help` lists them",
    "--verson": "sway: error: unknown option --verson; did you mean --version?",
    "-q gate": "sway: error: unknown option -q; give the options of a command after it",
    "gate --threshhold 0.5": "sway gate: error: unknown option --threshhold; "
    "did you mean --threshold?",
    "gate --thresh=0.5": "sway gate: error: unknown option --thresh; did you mean --threshold?",
    "gate -html x": "sway gate: error: unknown option -html; did you mean --html?",
    "gate --frobnicate": "sway gate: error: unknown option --frobnicate; "
    "`sway gate --help` lists the options",
    "gate -x": "sway gate: error: unknown option -x; `sway gate --help` lists the options",
    "gate a.yaml b.yaml": "sway gate: error: unexpected argument 'b.yaml'; to judge several specs: "
    "sway fleet a.yaml b.yaml",
    "init runs --dat x": "sway init: error: unknown option --dat; did you mean --data?",
    "compare": "sway compare: error: the following arguments are required: OLD, NEW; "
    "for example: sway compare old.json new.json",
    "mine --mode outlier": "sway mine: error: argument --mode: must be paraphrase or outliers, "
    "got 'outlier'; did you mean outliers?",
    "cache drop": "sway cache: error: argument clear: must be clear, got 'drop'; "
    "for example: sway cache",
}


@pytest.mark.parametrize(("line", "message"), WRONG.items(), ids=WRONG)
def test_a_wrong_command_line_is_two_lines(capsys: Any, line: str, message: str) -> None:
    assert cli.main(line.split()) == 2
    usage, error = capsys.readouterr().err.splitlines()
    assert error == message
    assert usage.startswith(f"usage: {message.partition(':')[0]} ")


@pytest.mark.parametrize("value", ["--threshold=-0.1", "--weights=--x", "--threshold -1"])
def test_a_value_is_not_an_option(capsys: Any, value: str) -> None:
    assert cli.main(["gate", *value.split()]) == 2
    assert "unknown option" not in capsys.readouterr().err


def test_near_names() -> None:
    assert near("tresold", ["--threshold", "threshold"]) == "threshold"
    assert near("--html", ["--help"]) == ""


@pytest.mark.parametrize("line", ["help", "--help", "-h"])
def test_help_lists_every_command_in_its_group(capsys: Any, line: str) -> None:
    assert cli.main([line]) == 0
    shown = capsys.readouterr().out
    positions = [shown.index(f"\n{title}:\n") for title in commands.GROUPS]
    assert positions == sorted(positions)
    assert re.findall(r"^  (\w+) ", shown, re.MULTILINE) == list(commands.MODULES)


@pytest.mark.parametrize("line", ["help gate", "gate --help", "gate -h"])
def test_help_on_a_command(capsys: Any, line: str) -> None:
    assert cli.main(line.split()) == 0
    assert capsys.readouterr().out.startswith("usage: sway gate [OPTION]... [SPEC]\n")


@pytest.mark.parametrize("line", ["-V", "--version", "gate -V"])
def test_version(capsys: Any, line: str) -> None:
    assert cli.main(line.split()) == 0
    assert capsys.readouterr().out == "sway-gate 0.1.0\n"


VERDICTS = {"gate", "run", "check", "hook", "demo", "compare", "diff", "static"}
VERDICTS |= {"parity", "rank", "fleet"}


@pytest.mark.parametrize("name", COMMANDS)
def test_exit_codes_are_shown_where_they_mean_something(monkeypatch: Any, name: str) -> None:
    monkeypatch.setenv("COLUMNS", str(MAX_WIDTH))
    shown = COMMANDS[name].format_help()
    assert ("exit codes:" in shown) == (name in VERDICTS)
    assert max(map(len, shown.splitlines())) <= MAX_WIDTH


EXAMPLES = {line: parser for parser in COMMANDS.values() for line in parser.examples}


def test_every_command_has_an_example_of_its_own() -> None:
    assert [name for name, parser in COMMANDS.items() if not parser.examples] == []
    for line, parser in EXAMPLES.items():
        assert line.startswith(parser.prog)
        assert f"\n  $ {line}\n" in parser.format_help() + "\n"


@pytest.mark.parametrize("line", [*EXAMPLES, *PROGRAM.examples])
def test_the_example_is_a_command_line(line: str) -> None:
    words = shlex.split(line.partition(" > ")[0])[1:]
    assert cli._parser(words).parse_args(words).prog == words[0]
