"""Rows of GGUF files of a tiny model, against the model's own weights."""

from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import load_file

from sway_gate.backends.loading import Source
from sway_gate.serving.gguf_weights import stored_rows
from sway_gate.serving.reference import merged_rows
from sway_gate.serving.weights import Fit, Rows, fit
from tests.helpers.models import save_adapter, save_base
from tests.serving.test_parity import merged

pytest.importorskip("gguf")

from benchmarks import to_gguf
from benchmarks.to_gguf import convert

Trained = tuple[Path, Path, dict[str, Rows]]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """The base, the adapter, and rows of their merge."""
    folder = tmp_path_factory.mktemp("gguf")
    base = save_base(folder / "base", "llama")
    adapter = save_adapter(folder / "adapter", base, size=0.02)
    return base, adapter, merged_rows(Source(base, adapter, "fp32", "cpu"))


@pytest.mark.parametrize("is_permuted", [True, False])
def test_rows_are_the_models(trained: Trained, tmp_path: Path, is_permuted: bool) -> None:
    base, _, wanted = trained
    file = convert(base, tmp_path / "base.gguf", "F32", permuted=is_permuted)
    weights = load_file(base / "model.safetensors")
    found = stored_rows(file, wanted)
    assert {*found} == {*wanted}
    for name, stored in found.items():
        np.testing.assert_array_equal(stored.values, weights[name][wanted[name].numbers].numpy())


@pytest.mark.parametrize("kind", ["F16", "BF16", "Q8_0", "Q4_0"])
def test_files_of_the_merge_are_right_and_others_are_wrong(
    trained: Trained, tmp_path: Path, kind: str
) -> None:
    base, adapter, wanted = trained

    def fit_of(folder: Path) -> Fit:
        found = fit(wanted, stored_rows(convert(folder, tmp_path / "file.gguf", kind), wanted))
        assert found is not None
        return found

    other = save_adapter(tmp_path / "other", base, seed=9, size=0.02)
    assert fit_of(merged(base, adapter, tmp_path / "exact")).deviation < 0.02
    assert fit_of(base).share == pytest.approx(0.0, abs=0.1)
    assert fit_of(base).is_wrong
    assert fit_of(merged(base, other, tmp_path / "another")).is_wrong
    assert fit_of(merged(base, adapter, tmp_path / "half", scale=0.5)).is_wrong


def test_an_importance_matrix_makes_the_rounding_unknown(
    trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base, _, wanted = trained
    describe = to_gguf._describe

    def with_matrix(writer: to_gguf.GGUFWriter, *fields: object) -> None:
        describe(writer, *fields)  # type: ignore[arg-type]
        writer.add_string("quantize.imatrix.file", "imatrix.gguf")

    plain = stored_rows(convert(base, tmp_path / "plain.gguf", "Q4_0"), wanted)
    monkeypatch.setattr(to_gguf, "_describe", with_matrix)
    matrix = stored_rows(convert(base, tmp_path / "matrix.gguf", "Q4_0"), wanted)
    assert all(stored.rounded for stored in plain.values())
    assert not any(stored.rounded for stored in matrix.values())


def test_files_that_show_nothing(trained: Trained, tmp_path: Path) -> None:
    (tmp_path / "text.gguf").write_text("no weights", encoding="utf-8")
    assert stored_rows(tmp_path / "text.gguf", trained[2]) == {}
    file = convert(trained[0], tmp_path / "base.gguf")
    file.write_bytes(file.read_bytes().replace(b"blk.0", b"blk.7"))
    assert stored_rows(file, trained[2]).keys() < trained[2].keys()
