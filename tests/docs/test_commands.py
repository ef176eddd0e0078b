"""The commands and the Python code of each page run in order and print the output on the page."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

import pytest

from sway_gate import __version__, demo
from tests.helpers.docs_pages import PAGES, ROOT, Block, blocks, name, place

HOME = "/home/you"
"""The name of the reader's folder on the pages."""
COMMIT = "0123456789abcdef0123456789abcdef01234567"
NUMBER = re.compile(r"\d[\d.]*(?:e[-+]?\d+)?")
# Stands in for pip: checks the extras and the version instead of an installation.
PIP = f"""
import re, sys, tomllib
project = tomllib.load(open(sys.argv[1], "rb"))["project"]
requirement = r"sway-gate(?:\\[([\\w,]+)\\])?(?:==([\\d.]+))?"
for extras, version in re.findall(requirement, " ".join(sys.argv[2:])):
    assert set(filter(None, extras.split(","))) <= project["optional-dependencies"].keys(), extras
    assert version in ("", "{__version__}"), version
"""
# The plugin is loaded by name if the package is not installed.
PLUGIN = "sway_gate.pytest_plugin"
IS_INSTALLED = any(entry.value == PLUGIN for entry in metadata.entry_points(group="pytest11"))
# git writes the output of hooks to standard error.
SHELL = f"""
set -o pipefail
python() {{ PYTHONPATH="$PYTHONPATH:"{shlex.quote(str(ROOT))} {shlex.quote(sys.executable)} "$@"; }}
sway() {{ python -P -m sway_gate "$@"; }}
sway-gate() {{ sway gate "$@"; }}
git() {{ command git "$@" 2>&1; }}
pytest() {{ python -m pytest -p {"no:cacheprovider" if IS_INSTALLED else PLUGIN} "$@"; }}
pip() {{ python -c {shlex.quote(PIP)} {shlex.quote(str(ROOT / "pyproject.toml"))} "$@"; }}
code=0
errors=$PWD/../errors
exec 2>"$errors"
"""
ENDED = """\
code=$?
printf '\\n\\036%s\\n' $code
cat "$errors"
: >"$errors"
printf '\\n\\036\\n'"""
"""Prints the exit code and standard error of a command, each after a separator."""


class Command(NamedTuple):
    """A script, its label in failures, and the output that the page shows for it."""

    script: str
    label: str
    shown: str = ""


def commands(block: Block) -> list[Command]:
    first, *parts = re.split(r"^\$ ", block.text, flags=re.MULTILINE)
    assert first == "", f"{place(block)}: a console block starts with a command"
    found = []
    for part in parts:
        line, _, shown = part.partition("\n")
        found.append(Command(f"(exit $code); {line}", f"{place(block)}: {line}", shown))
    return found


def steps(run: Iterable[Block]) -> list[Command]:
    """The steps of a page in order. Each Python block continues the previous one."""
    found, python = [], ""
    for block in run:
        if block.file:
            script = f"cat > {shlex.quote(block.file)} <<'# end'\n{block.text}# end"
            found.append(Command(script, place(block)))
        elif block.language == "console":
            found += commands(block)
        elif block.language in ("bash", "run"):
            found += [Command(line, f"{place(block)}: {line}") for line in block.text.splitlines()]
        elif block.language == "python":
            python += block.text
            found.append(Command(f"python - <<'# end'\n{python}# end", place(block)))
    return found


@pytest.fixture
def work(tmp_path, monkeypatch):
    """A folder with the files of the pages: the demo, its text, and its model in a hub cache."""
    hub = tmp_path / "hub" / "models--org--model"
    (hub / "refs").mkdir(parents=True)
    (hub / "refs" / "main").write_text(COMMIT, encoding="utf-8")
    shutil.copytree(demo.MODEL, hub / "snapshots" / COMMIT)
    folder = shutil.copytree(demo.FOLDER, tmp_path / "you")
    for adapter in ("runs/adapter", "path/to/adapter"):
        shutil.copytree(demo.HEALTHY, folder / adapter)
        config = folder / adapter / "adapter_config.json"
        config.write_text(
            config.read_text("utf-8").replace("../model", "org/model"), encoding="utf-8"
        )
    text = (demo.FOLDER / "document.md").read_text(encoding="utf-8")
    (folder / "notes.md").write_text(text, encoding="utf-8")
    pairs = re.findall(r"^(Question: .*\nAnswer:)( .*)$", text, re.MULTILINE)
    rows = [json.dumps({"prompt": prompt, "completion": answer}) for prompt, answer in pairs]
    (folder / "train.jsonl").write_text("\n".join(rows), encoding="utf-8")
    for key in [key for key in os.environ if key.startswith("PYTEST_")]:
        monkeypatch.delenv(key)
    own = {"HF_HUB_CACHE": hub.parent, "SWAY_CACHE_DIR": tmp_path / "cache", "COLUMNS": 100}
    monkeypatch.delenv("PYTHONPATH", raising=False)
    for key, value in own.items():
        monkeypatch.setenv(key, str(value))
    return folder


def words(text: str) -> str:
    """The words of a text, without numbers, bars and line breaks, which depend on the machine."""
    return " ".join(re.sub(r"[\W_]+", " ", NUMBER.sub(" ", text.replace("(cached)", ""))).split())


def is_shown(shown: str, actual: str) -> bool:
    """Whether `actual` is the output on the page, where […] stands for any lines."""
    pieces = [re.escape(words(piece)) for piece in shown.split("[…]")]
    return re.fullmatch(" ?.* ?".join(pieces), words(actual)) is not None


def runs(page: Path) -> bool:
    languages = {block.language for block in blocks(page) if block.is_run}
    return not languages.isdisjoint({"console", "bash", "python"})


def follow(steps: list[Command], folder: Path) -> None:
    """Run the steps in one shell, and compare the output and the exit codes with the page."""
    text = SHELL + "\n".join(f"{step.script}\n{ENDED}" for step in steps)
    streams = {"stdout": subprocess.PIPE, "text": True, "encoding": "utf-8"}
    done = subprocess.run(["bash"], input=text, cwd=folder, **streams)
    parts = re.split(r"\n\036(\d*)\n", done.stdout.replace(str(folder), HOME))
    outcomes = zip(steps, parts[::4], parts[1::4], parts[2::4], strict=False)
    for step, out, code, errors in outcomes:
        printed = out + "".join(re.findall(r"^error: .*\n", errors, re.MULTILINE))
        assert code == "0" or step.shown, f"{step.label}\n{out}{errors}"
        assert not step.shown or is_shown(step.shown, printed), f"{step.label}\n{printed}"
    assert len(parts) == 4 * len(steps) + 1, f"the shell ended early: {done.stdout[-2000:]}"


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="the pages are for a POSIX shell")
@pytest.mark.parametrize("page", [page for page in PAGES if runs(page)], ids=name)
def test_the_page_runs(page, work):
    follow(steps(block for block in blocks(page) if block.is_run), work)
