"""The shell scripts of the action on untrusted files, without an installation."""

import os
import signal
import subprocess
import sys
from contextlib import suppress

import pytest
import yaml

from tests.helpers import ROOT
from tests.packaged.github import NEEDS_BASH

pytestmark = NEEDS_BASH
STEPS = {
    step.get("id"): step
    for step in yaml.safe_load((ROOT / "action.yml").read_text(encoding="utf-8"))["runs"]["steps"]
}
OUTPUTS = [
    "python",
    "extras",
    "home",
    "venv",
    "venv-key",
    "hub",
    "hub-key",
    "verdicts",
    "verdicts-key",
]


def run(step, folder, **variables):
    """The lines that a step writes to GITHUB_OUTPUT, with these variables."""
    output = folder.parent / f"{step}.output"
    output.unlink(missing_ok=True)
    own = {
        "PATH": os.environ["PATH"],
        "HOME": str(folder.parent),
        "GITHUB_OUTPUT": str(output),
        "GITHUB_STEP_SUMMARY": str(folder.parent / "summary.md"),
        "GITHUB_ACTION_PATH": str(ROOT),
        "RUNNER_TEMP": str(folder.parent),
        "RUNNER_OS": "Linux",
        "RUNNER_ARCH": "X64",
        **dict.fromkeys(STEPS[step]["env"], ""),
    }
    shell = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", STEPS[step]["run"]]
    with subprocess.Popen(
        shell, cwd=folder, env=own | variables, start_new_session=True
    ) as process:
        try:
            assert process.wait(20) == 0
        finally:
            with suppress(ProcessLookupError):  # all commands of a step that hangs
                os.killpg(process.pid, signal.SIGKILL)
    return output.read_text(encoding="utf-8").splitlines()


def place(folder, **variables):
    """The step that hashes the spec, for its cache keys."""
    given = {"PYTHON": sys.executable, "VERSION": "1.0.0", "FAIL_ON": "fail", "SPEC": "sway.yaml"}
    lines = run("place", folder, **given | variables)
    found = dict(line.split("=", 1) for line in lines)
    assert [*found] == OUTPUTS
    return found["hub-key"]


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "repository"
    (folder / "lora").mkdir(parents=True)
    return folder


def pipe(path):
    os.mkfifo(path)


def device(path):
    path.symlink_to("/dev/zero")


def large(path):
    with path.open("wb") as file:
        file.truncate(2**40)


def directory(path):
    path.mkdir()


@pytest.mark.parametrize("make", [pipe, device, large, directory])
@pytest.mark.parametrize("name", ["sway.yaml", "lora/adapter_config.json", "-n"])
def test_the_keys_need_a_bounded_amount_of_regular_files(folder, name, make):
    make(folder / name)
    adapter = "lora" if "lora" in name else ""
    assert place(folder, ADAPTER=adapter, SPEC="-n" if name == "-n" else "sway.yaml")


def test_the_keys_follow_the_spec_and_the_adapter(folder):
    keys = [place(folder), place(folder, BASE="org/model")]
    for name in ("sway.yaml", "lora/adapter_config.json"):
        (folder / name).write_text(name)
        keys.append(place(folder, ADAPTER="lora"))
    assert len(set(keys)) == 4


FAKE = """\
#!/bin/bash
if [ "$3" = sway_gate ]; then
  printf '%s\\n' "$@" >>"$ARGUMENTS"
  [ "$5" != --json ] || touch "$6"
  [[ $* != *fails.yaml ]] || exit 1
else
  touch "$6/summary.md" "$6/outputs.txt"
fi
"""
"""Stands in for the installed Python."""
ARGUMENTS = {
    "spec": ({"SPEC": "a b.yaml"}, ["--confine=.", "--", "a b.yaml"]),
    "folder": ({"SPEC": "s", "CONFINE": "/x y"}, ["--confine=/x y", "--", "s"]),
    "code": ({"SPEC": "s", "ALLOW_CODE": "true"}, ["--confine=.", "--allow-code", "--", "s"]),
    "an option as a spec": ({"SPEC": "--online"}, ["--confine=.", "--", "--online"]),
    "baseline": (
        {"SPEC": "s", "BASELINE": "a b.json", "TOLERANCE": "0.1", "BUDGET": "2m"},
        ["--confine=.", "--baseline=a b.json", "--tolerance=0.1", "--budget=2m", "--", "s"],
    ),
    "static": (
        {"ADAPTER": "lora", "BASE": "org/base", "STATIC_ONLY": "true", "TIMEOUT": "5m"},
        ["--timeout=5m", "--base=org/base", "--", "lora"],
    ),
    "a pattern of one spec": ({"SPEC": "**/*.sway.yaml"}, ["--confine=.", "--", "b c/x.sway.yaml"]),
    "no spec": ({"SPEC": "\n"}, ["--confine=.", "--", ""]),
    "a pattern without specs": ({"SPEC": "none*.yaml"}, ["--confine=.", "--", "none*.yaml"]),
    "check": ({"ADAPTER": "lora", "ALLOW_CODE": "true"}, ["--confine=.", "--", "lora"]),
}


@pytest.fixture
def gate(folder):
    """Run the step of the gate with a stand-in; return its arguments and its outputs."""
    fake = folder.parent / "bin" / "python"
    fake.parent.mkdir()
    fake.write_text(FAKE, encoding="utf-8")
    fake.chmod(0o755)
    (folder / "b c").mkdir()
    (folder / "b c" / "x.sway.yaml").touch()
    arguments = folder.parent / "arguments.txt"
    given = {
        "BIN": str(fake.parent),
        "HOME_OF_RUNS": str(folder.parent),
        "SWAY_CACHE_DIR": str(folder.parent),
        "ARGUMENTS": str(arguments),
    }

    def run_gate(variables):
        outputs = run("gate", folder, **given | variables)
        return arguments.read_text(encoding="utf-8").splitlines(), outputs

    return run_gate


def calls(arguments):
    """The arguments of each call after the files of its reports."""
    starts = [i for i, word in enumerate(arguments) if word.endswith("/report.sarif")]
    ends = [*[i for i, word in enumerate(arguments) if word == "-P"][1:], len(arguments)]
    return [arguments[i + 1 : end] for i, end in zip(starts, ends, strict=True)]


@pytest.mark.parametrize(("variables", "expected"), ARGUMENTS.values(), ids=ARGUMENTS)
def test_the_gate_gets_its_arguments(gate, variables, expected):
    arguments, _ = gate(variables)
    assert calls(arguments) == [expected]


def test_each_spec_of_a_list_is_gated_and_the_highest_code_counts(gate):
    arguments, outputs = gate({"SPEC": "a b.yaml\n\n**/*.sway.yaml\nfails.yaml\n"})
    specs = [words[-1] for words in calls(arguments)]
    assert specs == ["a b.yaml", "b c/x.sway.yaml", "fails.yaml"]
    assert {"verdict=fail", "exit-code=1", "several=true"} <= set(outputs)
    (start,) = [i for i, line in enumerate(outputs) if line.startswith("report-json<<")]
    names = ["/0/report.json", "/1/report.json", "/2/report.json"]
    assert [line[-14:] for line in outputs[start + 1 : start + 4]] == names
