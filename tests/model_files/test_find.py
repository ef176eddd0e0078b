"""The adapter and the base of a run: revisions, relative folders and refusals."""

import json
from pathlib import Path
from typing import Any

import pytest

from sway_gate.errors import AdapterError, CannotDecide, UsageError
from sway_gate.model_files import find, hub

COMMIT, OTHER = "a" * 40, "b" * 40


@pytest.fixture
def adapter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    return pinned(tmp_path / "adapter", "v1")


def pinned(folder: Path, revision: Any, base: str = "org/base") -> Path:
    folder.mkdir()
    config = {"base_model_name_or_path": base, "revision": revision}
    (folder / "adapter_config.json").write_text(json.dumps(config), "utf-8")
    return folder


def put(cache: Path, commit: str, branch: str) -> Path:
    repo = cache / "models--org--base"
    (repo / "refs").mkdir(parents=True, exist_ok=True)
    (repo / "refs" / branch).write_text(commit, "ascii")
    (repo / "snapshots" / commit).mkdir(parents=True)
    for name in ("config.json", "model.safetensors"):
        (repo / "snapshots" / commit / name).write_text("{}", "utf-8")
    return repo / "snapshots" / commit


def test_the_revision_of_the_adapter_is_used(adapter: Path, tmp_path: Path) -> None:
    put(tmp_path / "hub", COMMIT, "main")
    v1 = put(tmp_path / "hub", OTHER, "v1")
    assert find.base("org/base", None, adapter, online=False) == v1
    assert hub.commit_of(v1, "v1") == hub.commit_of(v1, OTHER) == OTHER


def test_a_given_revision_is_used_instead(adapter: Path, tmp_path: Path) -> None:
    main = put(tmp_path / "hub", COMMIT, "main")
    put(tmp_path / "hub", OTHER, "v1")
    assert find.base("org/base", "main", adapter, online=False) == main


def test_the_default_branch_replaces_a_missing_revision(adapter: Path, tmp_path: Path) -> None:
    main = put(tmp_path / "hub", COMMIT, "main")
    assert find.base("org/base", None, adapter, online=False) == main


def test_a_missing_base_is_reported_with_the_revision(adapter: Path) -> None:
    with pytest.raises(CannotDecide, match="hf download org/base --revision v1"):
        find.base("org/base", None, adapter, online=False)


PINNED = [
    ("v1", "org/base", "v1"),
    ("v1", "Org/Base", "v1"),
    ("v1", "org/base-bnb-4bit", None),
    (None, "org/base", None),
    ("../..", "org/base", None),
    (3, "org/base", None),
]


@pytest.mark.parametrize(("revision", "base", "expected"), PINNED)
def test_only_a_revision_of_the_same_model_counts(
    tmp_path: Path, revision: Any, base: str, expected: str | None
) -> None:
    assert find.pinned_revision(pinned(tmp_path / "x", revision, base), "org/base") == expected


def test_other_files_are_refused(adapter: Path, tmp_path: Path) -> None:
    (tmp_path / "a.gguf").write_bytes(b"GGUF")
    with pytest.raises(AdapterError, match=r"this is a GGUF file \(a.gguf\), not a peft adapter"):
        find.adapter(str(tmp_path / "a.gguf"), None, online=False)
    with pytest.raises(UsageError, match=r"base model: .*: this is the folder of an adapter"):
        find.base(str(adapter), None, adapter, online=False)
