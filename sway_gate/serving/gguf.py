"""A GGUF file, read by llama.cpp (extra gguf)."""

from collections.abc import Mapping, Sequence
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import numpy as np

from sway_gate.backends.base import error_text
from sway_gate.backends.plain_model import FLOATS, Precision, threads
from sway_gate.errors import CannotDecide
from sway_gate.serving.formats import Format
from sway_gate.serving.gguf_weights import stored_rows
from sway_gate.serving.scores import Passage, Scores, scores_of
from sway_gate.serving.weights import Rows, Stored

_FLOAT_TYPES = {0: "float32", 1: "float16", 32: "bfloat16"}
_BITS = {
    **dict.fromkeys((2, 3, 14, 15, 25, 30), 4),
    **dict.fromkeys((8, 9, 16, 17), 5),
    **dict.fromkeys((10, 19, 20, 21, 28, 29), 2),
    **dict.fromkeys((11, 12, 13, 22, 23, 26, 27), 3),
    18: 6,
    7: 8,
}
"""Bits of most weights by `general.file_type`: llama.cpp's enum llama_ftype."""


class GgufFile:
    def __init__(self, path: Path) -> None:
        self.label, self._path = str(path), path
        if not path.is_file():
            raise CannotDecide(f"{path}: no such file")
        self._library = _library()

    @cached_property
    def _metadata(self) -> dict[str, str]:
        return dict(self._open(16, vocab_only=True).metadata)

    @property
    def precision(self) -> Precision | None:
        kind = self._metadata.get("general.file_type", "")
        if not kind.isdigit():
            return None
        if int(kind) in _FLOAT_TYPES:
            return FLOATS[_FLOAT_TYPES[int(kind)]]
        bits = _BITS.get(int(kind))
        return Precision(f"{bits} bits", bits=bits) if bits else None

    def scores(self, passages: Sequence[Passage]) -> list[Scores]:
        model = self._open(max(len(passage.ids) for passage in passages) + 1, logits_all=True)
        found = []
        try:
            for passage in passages:
                model.reset()
                model.eval(list(passage.ids[:-1]))
                logits = model.scores[passage.start - 1 : len(passage.ids) - 1]
                found.append(scores_of(logits.astype(np.float64), passage.ids[passage.start :]))
        except (IndexError, RuntimeError, ValueError) as error:
            raise CannotDecide(f"{self.label} cannot be run: {error_text(error)}") from None
        finally:
            model.close()
        return found

    def format(self) -> Format:
        model = self._open(16, vocab_only=True)
        return Format(
            lambda text: model.tokenize(text.encode(), add_bos=False, special=True),
            self._metadata.get("tokenizer.chat_template", ""),
            _token(model.token_bos()),
            frozenset(t for t in (_token(model.token_eos()),) if t is not None),
        )

    def notes(self, tokenizer: Any, passages: Sequence[Passage]) -> tuple[str, ...]:
        return ()

    def stored(self, wanted: Mapping[str, Rows]) -> dict[str, Stored]:
        return stored_rows(self._path, wanted)

    def close(self) -> None:
        """Each use opens and closes the file."""

    def _open(self, context: int, **options: Any) -> Any:
        try:
            return self._library.Llama(
                str(self._path),
                n_ctx=context,
                n_batch=max(16, context),
                n_threads=threads(),
                n_threads_batch=threads(),
                verbose=False,
                **options,
            )
        except (ValueError, RuntimeError, OSError, AssertionError) as error:
            raise CannotDecide(f"{self.label} cannot be loaded: {error_text(error)}") from None


@cache
def _library() -> Any:
    """llama.cpp, without its messages on standard error. Raises CannotDecide."""
    try:
        import llama_cpp
    except ImportError as error:
        raise CannotDecide(f"{error}; install the extra: pip install 'sway-gate[gguf]'") from None
    library: Any = llama_cpp
    library.sway_silence = library.llama_log_callback(lambda level, text, data: None)  # keep alive
    library.llama_log_set(library.sway_silence, None)
    return library


def _token(token: int) -> int | None:
    return token if token >= 0 else None
