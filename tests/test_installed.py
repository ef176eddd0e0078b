"""Versions of installed packages, compared with importlib.metadata."""

from importlib import metadata
from pathlib import Path

import pytest

from sway_gate.installed import code_digest, version_of


def test_the_versions_of_all_installed_packages() -> None:
    names = {found.metadata["Name"] for found in metadata.distributions()}
    assert {name: version_of(name) for name in names} == {n: metadata.version(n) for n in names}
    assert version_of("no-such-package") is None


def test_an_installation_in_another_form(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "an_egg.egg-info").mkdir()
    (tmp_path / "an_egg.egg-info/PKG-INFO").write_text("Name: an-egg\nVersion: 3.1\n", "utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    assert version_of("an-egg") == "3.1"


def test_the_digest_of_the_code_has_the_names_and_the_content_of_all_modules(
    tmp_path: Path,
) -> None:
    (tmp_path / "room").mkdir()
    module = tmp_path / "room/module.py"
    module.write_text("A = 1")
    digest = code_digest.__wrapped__  # it is read once per process
    found = [digest(tmp_path), digest(tmp_path)]
    module.write_text("A = 2")
    found.append(digest(tmp_path))
    module.rename(tmp_path / "room/other.py")
    found.append(digest(tmp_path))
    assert found[0] == found[1]
    assert len(set(found)) == 3
