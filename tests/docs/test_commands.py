"""Every page's commands and Python run as they stand, from top to bottom, and print what the page shows."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

import pytest

from sway_gate import __version__, demo
from tests.helpers.docs_pages import PAGES, ROOT, Block, blocks, name, place

HOME = "/home/you"
"""How the pages call the folder in which a reader starts."""
COMMIT = "0123456789abcdef0123456789abcdef01234567"
NUMBER = re.compile(r"\d[\d.]*(?:e[-+]?\d+)?")
# What would be installed is looked up instead.
PIP = f"""
import re, sys, tomllib
project = tomllib.load(open(sys.argv[1], "rb"))["project"]
for extras, version in re.findall(r"sway-gate(?:\\[([\\w,]+)\\])?(?:==([\\d.]+))?", " ".join(sys.argv[2:])):
    assert set(filter(None, extras.split(","))) <= project["optional-dependencies"].keys(), extras
    assert version in ("", "{__version__}"), version
"""
# Named where it is not installed, as from a checkout.
PLUGIN = "sway_gate.pytest_plugin"
IS_INSTALLED = any(entry.value == PLUGIN for entry in metadata.entry_points(group="pytest11"))
SHELL = f"""
set -o pipefail
python() {{ PYTHONPATH="$PYTHONPATH:"{shlex.quote(str(ROOT))} {shlex.quote(sys.executable)} "$@"; }}
sway() {{ python -P -m sway_gate "$@"; }}
sway-gate() {{ sway gate "$@"; }}
pytest() {{ python -m pytest -p {"no:cacheprovider" if IS_INSTALLED else PLUGIN} "$@"; }}
pip() {{ python -c {shlex.quote(PIP)} {shlex.quote(str(ROOT / "pyproject.toml"))} "$@"; }}
code=0
errors=$PWD/../errors
exec 2>"$errors"
"""
ENDED = (
    """code=$?; printf '\\n\\036%s\\n' $code; cat "$errors"; : >"$errors"; printf '\\n\\036\\n'"""
)
"""After each command: its exit code and what it said on standard error, behind signs that no output holds."""


class Command(NamedTuple):
    """What is run, how a failure names it, and the output that the page shows for it."""

    script: str
    label: str
    shown: str = ""


def commands(block: Block) -> list[Command]:
    first, *parts = re.split(r"^\$ ", block.text, flags=re.MULTILINE)
    assert first == "", f"{place(block)}: a console block starts with a command"
    split = ((line, shown) for line, _, shown in (part.partition("\n") for part in parts))
    return [
        Command(f"(exit $code); {line}", f"{place(block)}: {line}", shown) for line, shown in split
    ]


def steps(page: Path) -> list[Command]:
    """What a reader does, in turn. Each Python block goes on where the one before it stopped."""
    found, python = [], ""
    for block in (block for block in blocks(page) if block.is_run):
        if block.file:
            found.append(
                Command(
                    f"cat > {shlex.quote(block.file)} <<'# end'\n{block.text}# end", place(block)
                )
            )
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
    """A folder with what the pages name: the demo, its healthy adapter, its text, and its model as a hub id."""
    hub = tmp_path / "hub" / "models--org--model"
    (hub / "refs").mkdir(parents=True)
    (hub / "refs" / "main").write_text(COMMIT, encoding="utf-8")
    shutil.copytree(demo.MODEL, hub / "snapshots" / COMMIT)
    folder = shutil.copytree(demo.FOLDER, tmp_path / "you")
    for adapter in ("runs/adapter", "path/to/adapter"):
        shutil.copytree(demo.HEALTHY, folder / adapter)
        config = folder / adapter / "adapter_config.json"
        config.write_text(
            config.read_text("utf-8").replace("sway-gate/demo", "org/model"), encoding="utf-8"
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
    """Without what another machine may change: numbers, bars, line breaks."""
    return " ".join(re.sub(r"[\W_]+", " ", NUMBER.sub(" ", text.replace("(cached)", ""))).split())


def is_shown(shown: str, actual: str) -> bool:
    """Whether `actual` is what the page shows, which leaves out lines at […]."""
    return (
        re.fullmatch(
            " ?.* ?".join(re.escape(words(piece)) for piece in shown.split("[…]")), words(actual)
        )
        is not None
    )


def runs(page: Path) -> bool:
    return any(
        block.language in ("console", "bash", "python") and block.is_run for block in blocks(page)
    )


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="the pages are for a POSIX shell")
@pytest.mark.parametrize("page", filter(runs, PAGES), ids=name)
def test_the_page_runs(page, work):
    text = SHELL + "\n".join(f"{step.script}\n{ENDED}" for step in steps(page))
    done = subprocess.run(
        ["bash"], input=text, cwd=work, stdout=subprocess.PIPE, text=True, encoding="utf-8"
    )
    parts = re.split(r"\n\036(\d*)\n", done.stdout.replace(str(work), HOME))
    for step, said, code, errors in zip(
        steps(page), parts[::4], parts[1::4], parts[2::4], strict=False
    ):
        told = said + "".join(re.findall(r"^error: .*\n", errors, re.MULTILINE))
        assert code == "0" or step.shown, f"{step.label}\n{said}{errors}"
        assert not step.shown or is_shown(step.shown, told), f"{step.label}\n{told}"
    assert len(parts) == 4 * len(steps(page)) + 1, (
        f"the page ended its own shell: {done.stdout[-2000:]}"
    )
