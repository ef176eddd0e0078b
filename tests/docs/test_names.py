"""All files name the same repository and the same image."""

import re
import tomllib

from sway_gate import project
from tests.helpers import ROOT
from tools import names


def test_all_files_name_the_owner_of_the_project() -> None:
    assert names.changed(ROOT, project.OWNER) == {}


def test_a_move_changes_every_name() -> None:
    moved = names.changed(ROOT, "acme")
    left = {path for path, text in moved.items() if f"{project.OWNER}/sway-gate" in text}
    assert left == set()
    expected = {"README.md", "docs/ci.md", "Dockerfile", ".pre-commit-hooks.yaml", "pyproject.toml"}
    assert expected <= {path.relative_to(ROOT).as_posix() for path in moved}
    assert "ghcr.io/acme/sway-gate:" in moved[ROOT / "README.md"]


def test_no_other_code_names_the_owner() -> None:
    sources = [path for path in (ROOT / "sway_gate").rglob("*.py") if path.name != "project.py"]
    named = re.compile(rf"\b{project.OWNER}/sway-gate\b")
    assert [path for path in sources if named.search(path.read_text(encoding="utf-8"))] == []


def test_the_package_links_to_the_repository() -> None:
    urls = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["urls"]
    assert {url.startswith(project.REPOSITORY) for url in urls.values()} == {True}
