"""The tokenizer in an adapter's folder: damaged files, and another vocabulary than the base's."""

import json
from pathlib import Path
from typing import Any

import pytest

from sway_gate.static.tokenizer import tokenizer_findings

WORDS = {"a": 0, "b": 1, "c": 2}


def folder(path: Path, content: Any) -> Path:
    path.mkdir()
    text = content if isinstance(content, str) else json.dumps(content)
    (path / "tokenizer.json").write_text(text)
    return path


def of(vocabulary: Any) -> dict[str, Any]:
    return {"added_tokens": [], "model": {"vocab": vocabulary}}


def found(tmp_path: Path, adapter: Any, base: Any) -> list[tuple[str, str, str]]:
    here, there = folder(tmp_path / "adapter", adapter), folder(tmp_path / "base", base)
    return [(f.level, f.id, f.message) for f in tokenizer_findings(here, there)]


SAME = {
    "the same": (of(WORDS), of(WORDS)),
    "in another order": (of(dict(reversed(WORDS.items()))), of(WORDS)),
    "more tokens": (of(WORDS | {"d": 3}), of(WORDS)),
    "fewer tokens": (of({"b": 1}), of(WORDS)),
    "a list": (of([["a", 0.0], ["b", -1.5], ["c", -2]]), of(WORDS)),
    "no tokens of both": (of({"x": 0}), of(WORDS)),
    "no vocabulary": ({}, of(WORDS)),
    "a vocabulary of another form": (of(3), of(WORDS)),
    "a base of another form": (of(WORDS), "["),
}


@pytest.mark.parametrize(("adapter", "base"), SAME.values(), ids=SAME)
def test_equal_ids_are_no_finding(tmp_path: Path, adapter: Any, base: Any) -> None:
    assert found(tmp_path, adapter, base) == []


OTHER = {
    "two exchanged": (of({"a": 0, "b": 2, "c": 1}), "2 of 3"),
    "shifted": (of({"<s>": 0, "a": 1, "b": 2}), "2 of 2"),
    "a list": (of([["c", 0.0], ["b", -1.5]]), "1 of 2"),
}


@pytest.mark.parametrize(("adapter", "count"), OTHER.values(), ids=OTHER)
def test_other_ids_are_a_warning(tmp_path: Path, adapter: Any, count: str) -> None:
    message = f"{count} tokens have another id in the base's tokenizer, which is used"
    assert found(tmp_path, adapter, of(WORDS)) == [("warning", "base-tokenizer", message)]


DAMAGED = ["", "{", "[" * 100_000, "[]", '{"added_tokens": 3}', '{"added_tokens": [{"id": 1}]}']


@pytest.mark.parametrize("text", DAMAGED, ids=range(len(DAMAGED)))
@pytest.mark.parametrize("has_base", [True, False])
def test_a_damaged_tokenizer_is_broken(tmp_path: Path, text: str, has_base: bool) -> None:
    here = folder(tmp_path / "adapter", text)
    [finding] = tokenizer_findings(here, here if has_base else None)
    assert (finding.level, finding.id) == ("broken", "tokenizer-malformed")
    assert finding.path == str(here / "tokenizer.json")
    assert finding.message.startswith("the tokenizer cannot be read: ")
    assert len(finding.message) < 300


def test_an_adapter_without_a_tokenizer_has_no_finding(tmp_path: Path) -> None:
    base = folder(tmp_path / "base", of(WORDS))
    assert [*tokenizer_findings(tmp_path, base)] == []
