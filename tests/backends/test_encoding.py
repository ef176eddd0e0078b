"""Stored answers are not generated again, and known texts are not tokenized again."""

from collections.abc import Mapping
from typing import Any

from sway_gate import cache
from sway_gate.backends.passes.encoding import Encoder, Ids, with_stored
from sway_gate.measurements import LogProbs
from tests.helpers.models import byte_tokenizer


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


def test_adapters_of_one_base_share_the_tokens_of_their_texts(monkeypatch: Any) -> None:
    tokenizer, texts = byte_tokenizer(), list[str]()
    tokenize = type(tokenizer).__call__

    def counted(self: Any, text: str, **options: Any) -> Any:
        texts.append(text)
        return tokenize(self, text, **options)

    monkeypatch.setattr(type(tokenizer), "__call__", counted)
    requests = [LogProbs("A prompt", " and its end."), LogProbs("A prompt", " and another end.")]
    encoded = []
    for _ in ("one adapter", "the next one"):
        encoder = Encoder(tokenizer, context=64, vocabulary=256)
        texts.clear()
        encoded.append([encoder.encode(request, {}) for request in requests])
    assert encoded[0] == encoded[1]
    assert texts == []
