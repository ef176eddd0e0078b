"""GGUF files of a tiny model: their scores, their precision, and the verdicts on them."""

import os
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM

from sway_gate.backends.loading import Source
from sway_gate.errors import CannotDecide
from sway_gate.output import silent
from sway_gate.serving.gguf import GgufFile
from sway_gate.serving.reference import error_of, read_reference
from sway_gate.serving.scores import Passage, Scores, scores_of
from sway_gate.serving.verdict import distance
from tests.helpers.models import byte_tokenizer, save_adapter, save_base
from tests.serving.test_parity import merged, parity

pytest.importorskip("llama_cpp")
pytest.importorskip("gguf")

from benchmarks.to_gguf import convert, quantize

IDS = tuple(byte_tokenizer()("The answer, in bytes.")["input_ids"])
PASSAGE = Passage("", IDS, 4, "", "", (), frozenset())


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("gguf")
    base = save_base(folder / "base", "llama")
    return base, save_adapter(folder / "adapter", base, size=0.3)


def read_by_transformers(file: Path) -> list[Scores]:
    """The oracle: transformers converts the tensors back."""
    model: Any = AutoModelForCausalLM.from_pretrained(
        file.parent, gguf_file=file.name, dtype=torch.float32
    )
    with torch.inference_mode():
        logits = model(torch.tensor([IDS[:-1]])).logits[0, PASSAGE.start - 1 :]
    return [scores_of(logits.double().numpy(), IDS[PASSAGE.start :])]


@pytest.mark.parametrize(
    ("kind", "name", "error"), [("F16", "float16", 0.001), ("BF16", "bfloat16", 0.01)]
)
def test_scores_are_the_models(
    trained: tuple[Path, Path], tmp_path: Path, kind: str, name: str, error: float
) -> None:
    file = convert(trained[0], tmp_path / "model.gguf", kind)
    artefact = GgufFile(file)
    assert artefact.precision is not None
    assert artefact.precision.name == name
    assert distance(artefact.scores([PASSAGE]), read_by_transformers(file)) < error


def test_the_yardstick_of_8_bits_is_the_error_of_llama_cpp(
    trained: tuple[Path, Path], tmp_path: Path
) -> None:
    source = Source(*trained, dtype="fp32", device="cpu")
    reference = read_reference(source, ["a question", "another one", "a third"], silent)
    exact = convert(merged(*trained, tmp_path / "exact"), tmp_path / "exact.gguf", "F32")
    artefact = GgufFile(quantize(exact, tmp_path / "q8.gguf", "Q8_0"))
    error = distance(artefact.scores(reference.passages), reference.known[1.0])
    assert artefact.precision is not None
    yardstick = error_of(artefact.precision, source, reference)
    assert error / 2 < yardstick < 2 * error


def test_verdicts_on_files(
    trained: tuple[Path, Path], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    exact = merged(*trained, tmp_path / "exact")
    other = save_adapter(tmp_path / "other", trained[0], seed=9, size=0.3)
    cut = convert(exact, tmp_path / "cut.gguf")
    os.truncate(cut, cut.stat().st_size // 2)
    files = [
        convert(exact, tmp_path / "exact.gguf"),
        convert(trained[0], tmp_path / "base.gguf"),
        convert(merged(trained[0], other, tmp_path / "another"), tmp_path / "another.gguf"),
        convert(exact, tmp_path / "rows.gguf", permuted=False),
        cut,
    ]
    capfd.readouterr()
    code, found = parity(trained, *files, out=tmp_path / "parity.json")
    assert code == 1
    assert {name: one.get("name") for name, one in found.items()} == {
        "exact.gguf": "same",
        "base.gguf": "adapter not applied",
        "another.gguf": "another base or adapter",
        "rows.gguf": "another base or adapter",
        "cut.gguf": None,
    }
    assert "cannot be loaded" in found["cut.gguf"]["error"]
    assert found["exact.gguf"]["formats"] == []
    assert "llama" not in capfd.readouterr().err


def test_the_precision_of_a_quantized_file(trained: tuple[Path, Path], tmp_path: Path) -> None:
    source = convert(trained[0], tmp_path / "f16.gguf")
    for kind, bits in {"Q8_0": 8, "Q4_0": 4}.items():
        precision = GgufFile(quantize(source, tmp_path / f"{kind}.gguf", kind)).precision
        assert precision is not None
        assert precision.bits == bits


def test_a_file_that_is_no_gguf(tmp_path: Path) -> None:
    (tmp_path / "text.gguf").write_text("no weights", encoding="utf-8")
    with pytest.raises(CannotDecide, match="cannot be loaded"):
        GgufFile(tmp_path / "text.gguf").scores([PASSAGE])
