"""Stored answers of the base are not generated again."""

from collections.abc import Mapping
from typing import Any

from sway_gate import cache
from sway_gate.backends.passes.encoding import Ids, with_stored


def test_only_missing_answers_are_generated(tmp_path: Any, monkeypatch: Any) -> None:
    monkeypatch.setenv("SWAY_CACHE_DIR", str(tmp_path))
    asked: list[dict[Ids, int]] = []

    def generate(lengths: Mapping[Ids, int]) -> dict[Ids, Ids]:
        asked.append(dict(lengths))
        return {prompt: tuple(range(prompt[0], prompt[0] + n)) for prompt, n in lengths.items()}

    def answers(lengths: Mapping[Ids, int]) -> dict[Ids, Ids]:
        store = cache.Readings.open("0" * 64)
        found = with_stored(lengths, store, generate)
        store.save()
        return found

    assert answers({(5,): 3, (9, 2): 0}) == {(5,): (5, 6, 7), (9, 2): ()}
    assert answers({(5,): 3, (9, 2): 0, (8,): 1}) == {(5,): (5, 6, 7), (9, 2): (), (8,): (8,)}
    assert answers({(5,): 2}) == {(5,): (5, 6)}
    assert asked == [{(5,): 3, (9, 2): 0}, {(8,): 1}, {(5,): 2}]
