"""A merged or quantized model in a folder of transformers."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sway_gate.backends import loading, quantization
from sway_gate.backends.loading import Source
from sway_gate.backends.plain_model import FLOATS, PlainModel, Precision
from sway_gate.errors import CannotDecide
from sway_gate.model_files.config import model_config
from sway_gate.model_files.shapes import most_common_dtype
from sway_gate.serving.formats import Format, of_tokenizer
from sway_gate.serving.reference import score
from sway_gate.serving.scores import Passage, Scores

_OF_HEADER = {"F32": "float32", "F16": "float16", "BF16": "bfloat16"}


class ModelFolder:
    def __init__(self, path: Path, device: str) -> None:
        self.label, self._path = str(path), path
        self._source = Source(path, path, "fp32", device)

    @property
    def precision(self) -> Precision | None:
        return _precision(self._path)

    def scores(self, passages: Sequence[Passage]) -> list[Scores]:
        try:
            return score(PlainModel(self._source), passages)
        except IndexError:
            raise CannotDecide(
                f"{self.label} has fewer tokens than the base: it is another model"
            ) from None

    def format(self) -> Format:
        if not (self._path / "tokenizer_config.json").is_file():
            return Format()
        return of_tokenizer(loading.load_tokenizer(self._source))

    def notes(self, tokenizer: Any, passages: Sequence[Passage]) -> tuple[str, ...]:
        return ()

    def close(self) -> None:
        """Nothing stays open."""


def _precision(path: Path) -> Precision | None:
    """How most weights are stored, from the config of the quantization or the tensors' headers."""
    if method := quantization.method_of_files(path):
        settings = model_config(path).get("quantization_config")
        settings = settings if isinstance(settings, dict) else {}
        if settings.get("load_in_8bit"):
            return Precision(f"{method}, 8 bits", bits=8, block=0)
        bits = settings.get("bits")
        bits = bits if isinstance(bits, int) and 1 <= bits <= 16 else 4
        is_nf4 = settings.get("bnb_4bit_quant_type") == "nf4"
        return Precision(f"{method}, {bits} bits", bits=bits, is_nf4=is_nf4)
    return FLOATS.get(_OF_HEADER.get(most_common_dtype(path), ""))
