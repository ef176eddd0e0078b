"""The command line: exit codes, one-line errors, and where the output goes."""

import argparse
import io
import json
import os
import stat
import subprocess
import sys
import types
from pathlib import Path

import msgspec
import pytest
import yaml

from sway_gate import cache, cli, commands, output
from sway_gate.backends import processor
from sway_gate.cache import cache_dir
from sway_gate.commands import doctor
from sway_gate.errors import (
    AdapterError,
    CannotDecide,
    SpecError,
    SwayError,
    Terminated,
    UsageError,
)
from sway_gate.gate.resolve import Inputs
from sway_gate.output import progress_bar, silent
from sway_gate.probes import TABLE
from sway_gate.probes import docs as probe_docs
from sway_gate.spec.probes import KINDS
from sway_gate.spec.schema import SCORE_WEIGHTS, DataMap
from sway_gate.suites.check import Headline
from tests.helpers import ROOT
from tests.helpers.results import result

SPEC = """\
version: 1
models:
  base: {base: org/base}
  ft: {base: org/base, adapter: org/adapter}
suite:
  - {name: moved, kind: delta_kl, prompts: [The key insight is]}
"""
PASS, FAIL = result(), result(verdict="fail", exit_code=1)


def sway(*argv, cwd, stdin=None, **env):
    """Run `sway` as its own process."""
    command = [sys.executable, "-m", "sway_gate", *argv]
    env = {
        key: value
        for key, value in (os.environ | {"PYTHONPATH": str(ROOT)} | env).items()
        if value is not None
    }
    return subprocess.run(
        command, cwd=cwd, env=env, input=stdin, capture_output=True, text=True, encoding="utf-8"
    )


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A current folder with a valid spec."""
    (tmp_path / "sway.yaml").write_text(SPEC, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def gate(folder, monkeypatch):
    """A gate that measures nothing: it returns or raises `answer` and records its `calls`."""
    fake = types.SimpleNamespace(answer=PASS, calls=[])

    def run(spec, options, show):
        fake.calls.append((spec, tuple(options[:4])))
        if isinstance(fake.answer, BaseException):
            raise fake.answer
        return fake.answer

    fake.run = run
    monkeypatch.setattr("sway_gate.gate.run.run_gate", lambda *given: fake.run(*given))
    monkeypatch.setattr(
        "sway_gate.gate.dry_run.dry_run", lambda spec, *_: f"{len(spec.suite)} probe"
    )
    monkeypatch.setattr("sway_gate.gate.prefetch.prefetch", lambda spec: ["org/base: there"])
    monkeypatch.setattr("sway_gate.suites.check.check_suite", lambda given: given)
    monkeypatch.setattr("sway_gate.suites.check.early_notes", lambda _: [])
    monkeypatch.setattr("sway_gate.gate.resolve.inputs", lambda *_: Inputs([], []))
    moved = Headline("MOVED", "pass", "+4.2σ above 8 null adapters")
    monkeypatch.setattr("sway_gate.suites.check.check_headline", lambda found: moved)
    return fake


# --------------------------------------------------------------------------------------- exit codes

ANSWERS = {
    "pass": (PASS, 0),
    "fail": (FAIL, 1),
    "error": (result(verdict="error", exit_code=3), 3),
    "usage": (UsageError("no"), 2),
    "spec": (SpecError(["a", "b"]), 2),
    "adapter": (AdapterError("no"), 2),
    "undecided": (CannotDecide("no"), 3),
    "any of ours": (SwayError("no"), 3),
    "a bug": (ZeroDivisionError("x"), 3),
    "no memory": (MemoryError(), 3),
    "no message": (SwayError(), 3),
    "someone's exit(0)": (SystemExit(0), 3),
    "a panic in an extension": (type("PanicException", (BaseException,), {})("x"), 3),
    "Ctrl-C": (KeyboardInterrupt(), 130),
}


@pytest.mark.parametrize("command", ["gate", "run", "check x"])
@pytest.mark.parametrize(("answer", "code"), ANSWERS.values(), ids=ANSWERS)
def test_exit_code_is_the_answer(gate, command, answer, code):
    gate.answer = answer
    assert cli.main(command.split()) == code


def test_hooks_and_the_action_have_a_time_limit_that_users_can_change():
    hooks = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text(encoding="utf-8"))
    action = yaml.safe_load((ROOT / "action.yml").read_text(encoding="utf-8"))
    assert all(hook["entry"].endswith(" --timeout 1h") for hook in hooks)
    quick = ["hook", "sway.yaml"]
    assert cli._parser(quick).parse_args(quick).tier == "quick"
    assert action["inputs"]["timeout"]["default"] == "1h"
    changed = ["gate", "--timeout", "1h", "--timeout", "3h"]
    assert cli._parser(changed).parse_args(changed).timeout == 3 * 3600


def test_gate_main_is_sway_gate(gate, monkeypatch):
    gate.answer = FAIL
    monkeypatch.setattr(sys, "argv", ["sway-gate", "sway.yaml", "--threshold", "0.9"])
    assert cli.gate_main() == 1
    assert gate.calls[0][1][0] == 0.9


WRONG = {
    "no command": "",
    "unknown command": "judge",
    "unknown option": "gate --frobnicate",
    "abbreviated option": "gate --thresh 0.5",
    "two specs": "gate a.yaml b.yaml",
    "missing spec": "gate none.yaml",
    "folder as spec": "gate .",
    "timeout without a number": "gate --timeout h",
    "timeout of nothing": "gate --timeout 0",
    "timeout of years": "gate --timeout 1000000h",
    "threshold above 1": "gate --threshold 1.1",
    "threshold below 0": "gate --threshold=-0.1",
    "threshold nan": "gate --threshold nan",
    "threshold is a word": "gate --threshold high",
    "unknown category": "gate --weights style=1",
    "no number": "gate --weights adherence=x",
    "no value": "gate --weights adherence",
    "empty weights": "gate --weights=",
    "negative weight": "gate --weights adherence=-1",
    "nan weight": "gate --weights adherence=nan",
    "infinite weight": "gate --weights adherence=inf",
    "category twice": "gate --weights adherence=1,adherence=2",
    "weight of baseline": "gate --weights baseline=1",
    "all weights zero": "gate --weights adherence=0,attribution=0,calibration=0,ablation=0",
    "no weight for what is measured": "gate --weights adherence=0",
    "dry run, no weight": "run --dry-run --weights adherence=0",
    "json into no folder": "gate --json none/r.json",
    "json is a folder": "gate --json .",
    "json is a file's child": "gate --json sway.yaml/r.json",
    "junit takes the spec": "gate --junit sway.yaml",
    "junit takes another spec": "gate --junit other.yml",
    "json over the spec": "gate spec.json --json ./spec.json",
    "both to one file": "gate --json r --junit ./r",
    "both to stdout": "gate --json - --junit -",
    "check, report over the prompts": "check x --prompts p.txt --json p.txt",
    "static without adapter": "static",
    "unknown kind": "explain delta",
    "unknown cache action": "cache drop",
}


@pytest.mark.parametrize("line", WRONG.values(), ids=WRONG)
def test_wrong_usage_is_2_before_anything_is_measured(gate, folder, capsys, line):
    (folder / "spec.json").write_text(SPEC, encoding="utf-8")
    assert cli.main(line.split(" ") if line else []) == 2
    out, err = capsys.readouterr()
    assert (out, gate.calls, "rror: " in err, "Traceback" in err) == ("", [], True, False)
    assert (folder / "spec.json").read_text(encoding="utf-8") == SPEC


@pytest.mark.parametrize("line", ["gate --weights style=1", "gate --weights adherence=x"])
def test_wrong_weights_name_the_categories(gate, capsys, line):
    cli.main(line.split())
    assert ", ".join(SCORE_WEIGHTS) in capsys.readouterr().err


WEIGHTLESS = {
    "option": (
        "gate --weights adherence=0",
        "--weights: the categories of the suite's probes (adherence) have weight 0",
    ),
    "spec": (
        "gate weightless.yaml",
        "weightless.yaml: defaults.score_weights: the categories of the suite's probes",
    ),
}


@pytest.mark.parametrize(("line", "said"), WEIGHTLESS.values(), ids=WEIGHTLESS)
def test_a_suite_without_weight_is_named(gate, folder, capsys, line, said):
    spec = SPEC + "defaults: {score_weights: {adherence: 0}}\n"
    (folder / "weightless.yaml").write_text(spec, encoding="utf-8")
    assert (cli.main(line.split()), gate.calls) == (2, [])
    assert said in capsys.readouterr().err


# ------------------------------------------------------------------------------------------- errors


def test_each_mistake_has_its_line(gate, capsys):
    gate.answer = SpecError(["a.yaml:1:1: x", "a.yaml:2:1: y"])
    cli.main(["gate"])
    assert capsys.readouterr().err == "error: a.yaml:1:1: x\nerror: a.yaml:2:1: y\n"


def test_errors_cannot_move_the_cursor(gate, capsys):
    gate.answer = AdapterError("\x1b[2J bad\rPASS")
    cli.main(["gate"])
    assert capsys.readouterr().err == "error: \\x1b[2J bad\nerror: PASS\n"


def test_a_bug_is_one_line(gate, capsys):
    gate.answer = ValueError("two\nlines")
    cli.main(["gate"])
    err = capsys.readouterr().err
    assert err.startswith("error: ValueError: two lines (")
    assert err.count("\n") == 1
    assert "--verbose" in err


def test_an_error_without_a_message_prints_its_class(gate, capsys):
    gate.answer = SwayError()
    cli.main(["gate"])
    assert capsys.readouterr().err == "error: SwayError\n"


@pytest.mark.parametrize("error", [KeyboardInterrupt, Terminated])
def test_an_interruption_says_what_is_kept(gate, capsys, error):
    gate.answer = error()
    gate.answer.add_note("finished readings are kept")
    cli.main(["gate"])
    assert capsys.readouterr().err.endswith("ed; finished readings are kept\n")


def test_debug_shows_the_traceback(gate, capsys, monkeypatch):
    monkeypatch.setenv("SWAY_DEBUG", "1")
    gate.answer = ValueError("x")
    cli.main(["gate"])
    assert "Traceback" in capsys.readouterr().err


# ---------------------------------------------------------------------------------- options to gate

OPTIONS = {
    "none": ("gate", (None, {}, False, True)),
    "threshold": ("run --threshold 0.75", (0.75, {}, False, True)),
    "weights": (
        "gate --weights attribution=0.5,adherence=0.2",
        (None, {"attribution": 0.5, "adherence": 0.2}, False, True),
    ),
    "weights with spaces": (
        "gate --weights attribution=1,~adherence=2",
        (None, {"attribution": 1, "adherence": 2}, False, True),
    ),
    "no cache": ("gate --no-cache", (None, {}, False, False)),
    "online": ("gate --online", (None, {}, True, True)),
    "check": ("check x", (None, {}, False, True)),
}


@pytest.mark.parametrize(("line", "options"), OPTIONS.values(), ids=OPTIONS)
def test_options_reach_the_gate(gate, line, options):
    cli.main([word.replace("~", " ") for word in line.split()])
    assert gate.calls[0][1] == options


def test_check_passes_its_arguments(gate, capsys):
    cli.main(["check", "a", "--base", "b", "--prompts", "p.txt", "--data", "t.jsonl", "d.md"])
    files = (["t.jsonl", "d.md"], False, [], "auto", None)
    assert gate.calls[0][0] == ("a", "b", "p.txt", *files, None, None, None)
    assert capsys.readouterr().out.startswith("MOVED  +4.2σ above 8 null adapters\n")


EFFORTS = {
    "gate": ("gate", ("full", None)),
    "check": ("check a", ("quick", None)),
    "options": ("check a --tier full --budget 2m", ("full", 120)),
}


@pytest.mark.parametrize(("line", "expected"), EFFORTS.values(), ids=EFFORTS)
def test_check_judges_the_quick_tier_by_default(gate, line, expected):
    found = []
    gate.run = lambda spec, options, show: found.append((options.tier, options.budget)) or PASS
    cli.main(line.split())
    assert found == [expected]


def test_check_passes_what_was_held_out_and_wanted(gate):
    cli.main(["check", "a", "--data", "t.jsonl", "--held-out", "h.jsonl", "--learn", "form"])
    assert gate.calls[0][0][5:] == (["h.jsonl"], "form", *[None] * 4)


def test_check_passes_the_fields_of_the_data(gate):
    cli.main(["check", "a", "--data", "t.jsonl", "--map", "prompt=q, answer=the reply"])
    assert gate.calls[0][0][7] == DataMap(prompt="q", reply="the reply")


def test_check_passes_a_full_model_and_a_quantization(gate):
    cli.main(["check", "--model", "m", "--base", "b", "--quantization", "nf4"])
    assert gate.calls[0][0][:2] == (None, "b")
    assert gate.calls[0][0][8:] == ("nf4", "m", None)


WRONG_MAPS = {
    "prompt": "--map: must be PART=FIELD,… with each part once, got 'prompt'",
    "prompt=a,prompt=b": "--map: must be PART=FIELD,… with each part once, got 'prompt=b'",
    "question=a": "--map: must map parts of a row (prompt, answer, system, history, ",
    "text=a,answer=b": "--map: text must not be given with the parts of another format",
    "prompt=a,answer=a": "--map: answer must be another field than prompt, got 'a'",
    "prompt=a": "--map: prompt must be given with the parts of one format: prompt and answer; ",
}


@pytest.mark.parametrize(("given", "expected"), WRONG_MAPS.items(), ids=WRONG_MAPS)
def test_wrong_maps_are_refused(gate, capsys, given, expected):
    assert cli.main(["check", "a", "--data", "t.jsonl", "--map", given]) == 2
    assert expected in capsys.readouterr().err


def test_spec_from_standard_input(gate, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(SPEC.encode())))
    assert cli.main(["gate", "-"]) == 0
    assert gate.calls[0][0].label == "<stdin>"


def test_dry_run_measures_nothing(gate, capsys):
    assert cli.main(["run", "--dry-run"]) == 0
    assert (capsys.readouterr().out, gate.calls) == ("1 probe\n", [])


NETWORK = {
    "default": ("gate", None, "1"),
    "option": ("gate --online", None, None),
    "variable": ("gate", "TRUE", None),
    "variable says no": ("gate", "0", "1"),
    "variable is not understood": ("gate", "maybe", "1"),
    "prefetch": ("prefetch", None, None),
    "doctor": ("probes", None, "1"),
}


@pytest.mark.parametrize(("line", "variable", "offline"), NETWORK.values(), ids=NETWORK)
def test_offline_unless_asked(gate, monkeypatch, line, variable, offline):
    monkeypatch.delenv("HF_HUB_OFFLINE")
    if variable:
        monkeypatch.setenv("SWAY_ONLINE", variable)
    assert cli.main(line.split()) == 0
    assert os.environ.get("HF_HUB_OFFLINE") == offline


# ------------------------------------------------------------------------------------------- output


def test_reports_are_written_whole(gate, folder):
    assert cli.main(["gate", "--json", "r.json", "--junit", "j.xml", "--quiet"]) == 0
    assert json.loads((folder / "r.json").read_text(encoding="utf-8"))["verdict"] == "pass"
    assert (folder / "j.xml").read_text(encoding="utf-8").startswith("<?xml")
    assert sorted(path.name for path in folder.iterdir()) == ["j.xml", "r.json", "sway.yaml"]


def test_junit_has_a_default_name(gate, folder):
    cli.main(["gate", "sway.yaml", "--junit"])
    assert (folder / "sway-junit.xml").is_file()


def test_json_to_stdout_moves_the_report(gate, capsys):
    cli.main(["gate", "--json", "-"])
    out, err = capsys.readouterr()
    assert json.loads(out)["verdict"] == "pass"
    assert "PASS" in err


def test_a_failing_gate_writes_its_reports(gate, folder):
    gate.answer = FAIL
    assert cli.main(["gate", "--json", "r.json"]) == 1
    assert json.loads((folder / "r.json").read_text(encoding="utf-8"))["exit_code"] == 1


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    target = tmp_path / "r.json"
    target.write_text("old", encoding="utf-8")
    monkeypatch.setattr(
        Path, "replace", lambda self, other: (_ for _ in ()).throw(OSError(28, "No space left"))
    )
    with pytest.raises(SwayError, match="No space left"):
        output.write(str(target), b"new")
    assert [(path.name, path.read_text(encoding="utf-8")) for path in tmp_path.iterdir()] == [
        ("r.json", "old")
    ]


@pytest.mark.skipif(sys.platform == "win32", reason="links and modes of POSIX")
def test_write_follows_links_and_the_umask(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "real")
    output.write(str(tmp_path / "link"), b"x")
    assert (tmp_path / "link").is_symlink()
    umask = os.umask(0)
    os.umask(umask)
    assert stat.S_IMODE((tmp_path / "real").stat().st_mode) == 0o666 & ~umask


@pytest.mark.skipif(sys.platform == "win32", reason="devices of POSIX")
def test_a_device_is_written_not_replaced(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDWR)
    output.write(str(tmp_path / "pipe"), b"x")
    assert os.read(reader, 9) == b"x"
    os.close(reader)
    output.check_targets({"--json": os.devnull, "--junit": os.devnull}, [])


SAID = {
    "a command": ("::error::x", r"\x3a:error::x"),
    "a command below": ("a\n  ::error::x\n", "a\n  \\x3a:error::x\n"),
    "an older command": ("a ##[error]x", r"a \x23#[error]x"),
    "a name": ("std::vector # ## x[0] a: :b", "std::vector # ## x[0] a: :b"),
}


@pytest.mark.parametrize(("text", "shown"), SAID.values(), ids=SAID)
def test_no_text_is_a_workflow_command(capsys, text, shown):
    output.say(text)
    assert capsys.readouterr().out == shown


def test_a_link_to_itself_is_replaced(tmp_path):
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    output.write(str(tmp_path / "loop"), b"x")
    assert (tmp_path / "loop").read_bytes() == b"x"


def test_drafts_of_killed_processes_go(tmp_path):
    old, young = tmp_path / f".sway-{'a' * 12}.tmp", tmp_path / f".sway-{'b' * 12}.tmp"
    foreign = tmp_path / ".sway-mine.tmp"
    for path in (old, young, foreign):
        path.write_bytes(b"part")
    for path in (old, foreign):
        os.utime(path, (1e9, 1e9))
    output.write(str(tmp_path / "report"), b"x")
    assert sorted(tmp_path.iterdir()) == sorted([tmp_path / "report", young, foreign])


def test_a_long_name_has_room_for_its_draft(tmp_path):
    output.write(str(tmp_path / ("é" * 120 + ".json")), b"x")
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"x"]


COLORS = {
    "pipe": ({}, False, False),
    "terminal": ({}, True, True),
    "NO_COLOR": ({"NO_COLOR": "1"}, True, False),
    "empty NO_COLOR": ({"NO_COLOR": ""}, True, True),
    "FORCE_COLOR": ({"FORCE_COLOR": "1"}, False, True),
    "FORCE_COLOR=0": ({"FORCE_COLOR": "0"}, True, False),
    "NO_COLOR wins": ({"NO_COLOR": "1", "FORCE_COLOR": "1"}, True, False),
    "dumb": ({"TERM": "dumb"}, True, False),
}


@pytest.mark.parametrize(("env", "is_terminal", "expected"), COLORS.values(), ids=COLORS)
def test_colors(monkeypatch, env, is_terminal, expected):
    for name, value in ({"NO_COLOR": "", "TERM": "xterm"} | env).items():
        monkeypatch.setenv(name, value)
    stream = io.StringIO()
    stream.isatty = lambda: is_terminal
    assert output.has_color(stream) is expected


@pytest.mark.parametrize(
    ("encoding", "expected"), [("utf-8", False), ("cp1252", True), ("ascii", True)]
)
def test_poor_encodings_get_ascii(encoding, expected):
    assert output.is_ascii(io.TextIOWrapper(io.BytesIO(), encoding=encoding)) is expected


def test_poor_encodings_do_not_end_a_run(folder):
    ran = sway("explain", "delta_kl", cwd=folder, PYTHONIOENCODING="ascii", PYTHONUTF8=None)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert "\\u2265" in ran.stdout


def test_a_report_on_a_stream_of_text(monkeypatch):
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stdout", stream)
    assert cli.main(["schema"]) == 0
    output.write("-", b"::error::x", output.JSON)
    assert stream.getvalue().endswith("\\u003a:error::x")


@pytest.fixture
def clock(monkeypatch):
    """The time that the progress sees, in seconds."""
    now = [0.0]
    monkeypatch.setattr(output.time, "monotonic", lambda: now[0])
    return now


def test_progress_in_a_pipe_is_a_line_every_15_seconds(capsys, clock):
    with progress_bar() as show:
        for clock[0], done in ((0, 0), (10, 1000), (20, 2000), (30, 3000), (40, 4000)):
            show("measuring", done, 4000)
    assert capsys.readouterr() == (
        "",
        "measuring: 50% of 4,000 tokens, about 20 s left\nmeasuring: 100% of 4,000 tokens\n",
    )


def test_a_short_run_in_a_pipe_is_silent(capsys):
    with progress_bar() as show:
        show("measuring", 1, 2)
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("seconds", "done", "left"),
    [(9, 4, ""), (5, 5, "2 min"), (40, 10, "6 min"), (50, 50, "50 s"), (9, 100, "")],
)
def test_the_remaining_time_is_that_of_the_rest(clock, seconds, done, left):
    pace = output._Pace()
    pace.text("measuring", 0, 100)
    clock[0] = seconds
    shown = f"measuring: {done}% of 100 tokens"
    assert pace.text("measuring", done, 100) == shown + (f", about {left} left" if left else "")


def test_the_remaining_time_starts_again_with_each_stage(clock):
    pace = output._Pace()
    pace.text("measuring knowledge", 0, 100)
    clock[0] = 100
    pace.text("measuring", 0, 50)
    clock[0] = 105
    assert pace.text("measuring prose", 5, 50).endswith("about 45 s left")


def test_a_name_in_the_progress_is_one_line_and_no_markup(monkeypatch):
    stream = io.StringIO()
    stream.isatty = lambda: True
    monkeypatch.setattr(sys, "stderr", stream)
    with progress_bar() as show:
        show("measuring [bold]a\x1b[2J\nb[/bold]", 1, 2)
    assert "[bold]a" in stream.getvalue()
    assert "\x1b[2J" not in stream.getvalue()


def test_progress_shows_on_a_terminal(monkeypatch):
    stream = io.StringIO()
    stream.isatty = lambda: True
    monkeypatch.setattr(sys, "stderr", stream)
    with progress_bar() as show:
        show("measuring", 0, 0)
        show("measuring", 1, 2)
    assert "measuring" in stream.getvalue()


def test_quiet_hides_progress(monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    with progress_bar(quiet=True) as show:
        assert show is silent


@pytest.mark.skipif(sys.platform == "win32", reason="pipes of POSIX")
@pytest.mark.parametrize("argv", [["schema"], ["--help"], ["explain", "delta_kl"]], ids=" ".join)
def test_a_reader_that_leaves_is_no_error(folder, argv):
    read, write = os.pipe()
    os.close(read)
    command = [sys.executable, "-m", "sway_gate", *argv]
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    with os.fdopen(write, "wb") as closed:
        ran = subprocess.run(command, stdout=closed, stderr=subprocess.PIPE, env=env, cwd=folder)
    assert (ran.returncode, ran.stderr) == (0, b"")


@pytest.mark.skipif(sys.platform == "win32", reason="a shell of POSIX")
@pytest.mark.parametrize("line", ["--version", "schema", "probes"])
def test_closed_streams_are_no_error(folder, line):
    command = f'"{sys.executable}" -m sway_gate {line} >&- 2>&-'
    assert (
        subprocess.run(["sh", "-c", command], env=os.environ | {"PYTHONPATH": str(ROOT)}).returncode
        == 0
    )


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_full_disk_is_not_green(folder):
    command = [sys.executable, "-m", "sway_gate", "schema"]
    with open("/dev/full", "wb") as full:
        ran = subprocess.run(
            command, stdout=full, stderr=subprocess.PIPE, env=os.environ | {"PYTHONPATH": str(ROOT)}
        )
    assert ran.returncode == 3
    assert b"No space left" in ran.stderr


# ---------------------------------------------------------------------------------- whole processes

PROCESSES = {
    "version": (["--version"], 0, "sway-gate 0.1.0\n"),
    "gate version": (["gate", "--version"], 0, "sway-gate 0.1.0\n"),
    "help": (["--help"], 0, "could not decide"),
    "schema": (["schema"], 0, "2020-12"),
    "probes": (["probes"], 0, "delta_kl"),
    "overview": (["explain"], 0, "sway explain WORD"),
    "cache": (["cache"], 0, "0 entries"),
    "clear": (["cache", "clear"], 0, "removed 0 entries"),
    "doctor": (["doctor"], 0, "offline"),
    "static, no such folder": (["static", "none"], 2, "none"),
    "missing spec": (["gate"], 2, ""),
}


@pytest.mark.parametrize(("argv", "code", "text"), PROCESSES.values(), ids=PROCESSES)
def test_process(tmp_path, argv, code, text):
    ran = sway(*argv, cwd=tmp_path, SWAY_CACHE_DIR=str(tmp_path / "cache"))
    assert ran.returncode == code
    assert text in ran.stdout
    assert "Traceback" not in ran.stderr


def test_version_starts_neither_the_parser_nor_the_supervisor(tmp_path):
    loaded = sway("--version", cwd=tmp_path, PYTHONPROFILEIMPORTTIME="1").stderr
    assert "sway_gate.version" in loaded
    assert "argparse" not in loaded
    assert "sway_gate.supervisor" not in loaded


def test_demo_needs_both_verdicts(gate, monkeypatch, capsys):
    from sway_gate import demo

    monkeypatch.setattr(
        demo, "specs", lambda: (("healthy", "a"), ("untrained", "b")), raising=False
    )
    monkeypatch.setattr("sway_gate.spec.load.load_spec", lambda path: path)
    answers = {"a": PASS, "b": FAIL}
    gate.run = lambda path, options, show: answers[path]
    assert cli.main(["demo"]) == 0
    answers["b"] = PASS
    assert cli.main(["demo"]) == 1
    answers["b"] = result(verdict="error", exit_code=3)
    assert cli.main(["demo"]) == 1
    assert "expected PASS and FAIL" in capsys.readouterr().out


# ------------------------------------------------------------------------------------------ explain


def test_every_kind_has_a_probe():
    assert TABLE.keys() == KINDS.keys()


@pytest.mark.parametrize("kind", KINDS)
def test_explain_lists_all_fields_of_a_kind(kind):
    doc, page = probe_docs.probe_doc(kind), probe_docs.page(kind)
    assert doc.category in {*SCORE_WEIGHTS, "baseline"}  # the category of null_adapter
    assert doc.question.endswith(("?", "."))
    fields = {field.name for field in msgspec.structs.fields(KINDS[kind])} - {"kind", "line"}
    assert {name for name in fields if f"\n  {name}: " in page} == fields


SCHEMAS = {
    "number in limits": ({"type": "number", "minimum": 0, "maximum": 1}, "number, 0 to 1"),
    "optional": (
        {"anyOf": [{"type": "integer", "minimum": 1}, {"type": "null"}]},
        "integer, 1 or more, or none",
    ),
    "list": ({"type": "array", "items": {"type": "string"}}, "list of text"),
    "pair": (
        {"type": "array", "prefixItems": [{"type": "number"}], "items": False},
        "list of number",
    ),
    "words": ({"enum": ["js", "kl"]}, "js or kl"),
    "positive": ({"type": "number", "exclusiveMinimum": 0}, "number, more than 0"),
    "struct": ({"$ref": "#/$defs/Pair"}, "pair"),
}


@pytest.mark.parametrize(("schema", "words"), SCHEMAS.values(), ids=SCHEMAS)
def test_schema_in_words(schema, words):
    assert probe_docs._words(schema, {"Pair": {"type": "object"}}) == words


# ------------------------------------------------------------------------------------------- doctor


def test_doctor_reports_the_same_in_json(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(
        doctor, "_devices", lambda: {"cpu_count": 2, "problem": "torch is not installed"}
    )
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    (tmp_path / "models--org--name").mkdir()
    cli.main(["doctor", "--json"])
    facts = json.loads(capsys.readouterr().out)
    assert facts["hub"] == {"folder": str(tmp_path), "models": ["org/name"]}
    assert "org/name" in doctor.render(facts)


def test_doctor_states_how_to_install_missing_parts(monkeypatch):
    monkeypatch.setattr(doctor, "_version", lambda name: None)
    monkeypatch.setattr(
        doctor, "_devices", lambda: {"cpu_count": 2, "problem": "torch is not installed"}
    )
    assert "pip install 'sway-gate[hf]'" in doctor.render(doctor.facts())


@pytest.mark.parametrize(
    ("ratio", "chosen"), [(2.1, "bf16 for large or 16-bit bases"), (0.4, "fp32")]
)
def test_doctor_states_the_dtype_of_this_cpu(monkeypatch, ratio, chosen):
    monkeypatch.setattr(processor, "rates", lambda: processor.Rates(1e9, ratio * 1e9))
    text = doctor.render(doctor.facts())
    assert f"auto on this CPU is {chosen}: it multiplies bfloat16 {ratio} times" in text


def test_doctor_survives_a_broken_torch(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: object())
    assert "torch does not start" in doctor.render(doctor.facts())


# -------------------------------------------------------------------------------------------- paths


@pytest.mark.skipif(sys.platform == "win32", reason="homes of POSIX")
@pytest.mark.parametrize(
    ("env", "expected"),
    [
        ({"SWAY_CACHE_DIR": "{tmp}/s", "XDG_CACHE_HOME": "{tmp}/x"}, "{tmp}/s"),
        ({"XDG_CACHE_HOME": "{tmp}/x"}, "{tmp}/x/sway-gate"),
        ({"XDG_CACHE_HOME": "relative"}, "{tmp}/home/.cache/sway-gate"),
        ({}, "{tmp}/home/.cache/sway-gate"),
        ({"HOME": "{tmp}/file"}, "{temp}/sway-gate-{uid}"),
    ],
    ids=["own", "xdg", "relative xdg", "home", "no home"],
)
def test_cache_dir(tmp_path, monkeypatch, env, expected):
    (tmp_path / "file").touch()
    (tmp_path / "temp").mkdir()
    for name in ("SWAY_CACHE_DIR", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in ({"HOME": "{tmp}/home"} | env).items():
        monkeypatch.setenv(name, value.format(tmp=tmp_path))
    monkeypatch.setattr(cache.tempfile, "gettempdir", lambda: str(tmp_path / "temp"))
    assert str(cache_dir()) == expected.format(
        tmp=tmp_path, temp=tmp_path / "temp", uid=os.getuid()
    )


def test_each_command_is_in_the_module_that_the_table_names():
    added = {}

    def add(name, command, summary, *examples):
        added[name] = command.__module__.rpartition(".")[2]
        return argparse.ArgumentParser()

    for module in commands.modules(""):
        module.add_to(add)
    assert added == commands.MODULES
