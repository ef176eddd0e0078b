"""Read the tokenizer in a model's or an adapter's folder as data: no code of it runs."""

from pathlib import Path
from typing import Final, TypeVar

import msgspec

from sway_gate.files import read_regular
from sway_gate.text import cut, one_line

_MAX_BYTES: Final = 256 * 2**20
_MAX_REASON: Final = 200
FILE: Final = "tokenizer.json"
_CONFIG: Final = "tokenizer_config.json"


class Malformed(Exception):
    """A file of a tokenizer that cannot be read; `reason` does not name the file."""

    def __init__(self, path: Path, error: Exception) -> None:
        self.path = path
        self.reason = cut(one_line(str(error)), _MAX_REASON) or type(error).__name__
        super().__init__(f"{path}: {self.reason}")


class Token(msgspec.Struct):
    """An added token, with the options of the library."""

    content: str
    id: int = -1
    single_word: bool = False
    lstrip: bool = False
    rstrip: bool = False
    normalized: bool = False
    special: bool = False


class _Model(msgspec.Struct):
    vocab: msgspec.Raw = msgspec.Raw()


class _TokenizerFile(msgspec.Struct):
    added_tokens: list[Token] | None = None


class _WithModel(msgspec.Struct):
    model: _Model | None = None


class _TokenizerConfig(msgspec.Struct):
    added_tokens_decoder: dict[int, Token] | None = None


_File = TypeVar("_File", _TokenizerFile, _TokenizerConfig)


def added_tokens(folder: Path) -> list[Token]:
    """The added tokens of the tokenizer in the folder, by id; empty if it has no tokenizer.

    Raises Malformed.
    """
    config = _decoded(folder / _CONFIG, _TokenizerConfig)
    listed = config.added_tokens_decoder or {}
    for number, token in listed.items():
        token.id = number
    file = _decoded(folder / FILE, _TokenizerFile)
    tokens = file.added_tokens or list(listed.values())
    return sorted(tokens, key=lambda token: token.id)


def other_ids(ours: Path, theirs: Path) -> tuple[int, int]:
    """How many tokens have another id in two folders' vocabularies, and how many both have.

    (0, 0) if a vocabulary is missing or of an unknown form. Added tokens do not count.
    """
    a = _raw_vocabulary(ours)
    if not a or a == (b := _raw_vocabulary(theirs)):
        return 0, 0
    first, second = _ids(a), _ids(b)
    shared = first.keys() & second.keys()
    return sum(first[token] != second[token] for token in shared), len(shared)


def _decoded(path: Path, kind: type[_File]) -> _File:
    try:
        return msgspec.json.decode(read_regular(path, _MAX_BYTES), type=kind, strict=False)
    except FileNotFoundError:
        return kind()
    except (OSError, ValueError, RecursionError) as error:
        raise Malformed(path, error) from None


def _raw_vocabulary(folder: Path) -> bytes:
    try:
        found = msgspec.json.decode(read_regular(folder / FILE, _MAX_BYTES), type=_WithModel)
    except (OSError, ValueError, RecursionError):
        return b""
    return bytes(found.model.vocab) if found.model else b""


def _ids(vocabulary: bytes) -> dict[str, int]:
    """Token -> id. A list has pairs of a token and its score, in the order of the ids."""
    try:
        found = msgspec.json.decode(vocabulary, type=dict[str, int] | list[tuple[str, float]])
    except (ValueError, RecursionError):
        return {}
    if isinstance(found, dict):
        return found
    return {token: number for number, (token, _) in enumerate(found)}
