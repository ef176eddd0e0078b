import json
from pathlib import Path

import pytest

from sway_gate.model_files.tokens import Malformed, Token, added_tokens, is_readable

NAMED = {"content": "<x>", "special": True, "normalized": None}
FILES = {
    # tokenizer.json, tokenizer_config.json -> added tokens
    "none": (None, None, []),
    "of the tokenizer": ({"added_tokens": [{"id": 7, **NAMED}]}, None, [(7, "<x>")]),
    "of the config": (None, {"added_tokens_decoder": {"7": NAMED}}, [(7, "<x>")]),
    "as texts": (
        None,
        {"added_tokens_decoder": {"7": "<x>", "3": "<y>"}},
        [(3, "<y>"), (7, "<x>")],
    ),
    "of both": (
        {"added_tokens": [{"id": 7, **NAMED}]},
        {"added_tokens_decoder": {"9": NAMED}},
        [(7, "<x>")],
    ),
}


@pytest.mark.parametrize(("tokenizer", "config", "expected"), FILES.values(), ids=FILES)
@pytest.mark.parametrize("mark", ["", "\ufeff"], ids=["plain", "byte order mark"])
def test_added_tokens(tmp_path: Path, tokenizer, config, expected, mark: str) -> None:  # type: ignore[no-untyped-def]
    for name, content in {"tokenizer.json": tokenizer, "tokenizer_config.json": config}.items():
        if content is not None:
            (tmp_path / name).write_text(mark + json.dumps(content), encoding="utf-8")
    found = added_tokens(tmp_path)
    assert [(token.id, token.content) for token in found] == expected
    assert all(isinstance(token, Token) for token in found)
    assert is_readable(tmp_path)


def test_a_cut_tokenizer_is_malformed(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text('{"added_tokens": [', encoding="utf-8")
    with pytest.raises(Malformed, match="truncated"):
        added_tokens(tmp_path)
    assert not is_readable(tmp_path)
