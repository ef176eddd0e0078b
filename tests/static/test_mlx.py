"""The static check of MLX adapters, compared with the same adapter in peft's form."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from sway_gate import demo
from sway_gate.errors import UsageError
from sway_gate.model_files import digest
from sway_gate.static.check import StaticReport, check_files
from sway_gate.static.mlx import is_conversion
from sway_gate.suites.check import named_models
from tests.helpers.mlx import save_mlx

LORA = {"rank": 8, "scale": 2.0}


def demo_tensors() -> dict[str, torch.Tensor]:
    """The demo's healthy adapter with mlx-lm's names and shapes."""
    tensors = load_file(Path(demo.HEALTHY) / "adapter_model.safetensors")
    return {
        name.removeprefix("base_model.model.")
        .replace("lora_A.weight", "lora_a")
        .replace("lora_B.weight", "lora_b"): value.T
        for name, value in tensors.items()
    }


def check(folder: Path, tensors: dict[str, torch.Tensor], **form: Any) -> StaticReport:
    return check_files(save_mlx(folder, tensors, lora_parameters=LORA, **form), "some/base")


def levels(report: StaticReport) -> dict[str, str]:
    return {found.id: found.level for found in report.findings}


def test_norms_are_the_norms_of_the_same_adapter_in_pefts_form(tmp_path):
    report = check(tmp_path, demo_tensors())
    assert (report.exit_code, levels(report)) == (0, {"mlx": "note"})
    for mine, theirs in zip(report.modules, check_files(demo.HEALTHY).modules, strict=True):
        assert f"base_model.model.{mine.module}".endswith(theirs.module)
        assert mine.frobenius == pytest.approx(theirs.frobenius, rel=1e-6)
        assert mine.effective_rank == pytest.approx(theirs.effective_rank, rel=1e-5)


def zero(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: t * (0 if name.endswith("lora_b") else 1) for name, t in tensors.items()}


FAULTS = {
    "never-trained": (lambda t: zero(t), {}, 1),
    "non-finite": (lambda t: {name: v / 0 for name, v in t.items()}, {}, 1),
    "mlx-tensor": (lambda t: {f"{name}.weight": v for name, v in t.items()}, {}, 2),
    "base-mismatch": (lambda t: t, {"model": "other/base"}, 2),
    "mlx-base": (lambda t: t, {"model": "mlx-community/base-4bit"}, 0),
    "config-field": (lambda t: t, {"num_layers": "all"}, 2),
    "dora-norms": (
        lambda t: t | {n[:-6] + "m": torch.ones(v.shape[1]) for n, v in t.items() if "_b" in n},
        {"fine_tune_type": "dora"},
        0,
    ),
}


@pytest.mark.parametrize(("change", "form", "code"), FAULTS.values(), ids=FAULTS)
def test_a_fault_of_the_files_is_found(change, form, code, tmp_path, request):
    report = check(tmp_path, change(demo_tensors()), **form)
    assert report.exit_code == code
    assert request.node.callspec.id in levels(report)


def test_the_conversion_itself_is_the_base_of_kind_mlx(tmp_path):
    name = "mlx-community/base-4bit"
    folder = save_mlx(tmp_path, demo_tensors(), model=name, lora_parameters=LORA)
    assert levels(check_files(folder, name)) == {"mlx": "note"}


def test_alpha_beside_the_scale_is_a_warning(tmp_path):
    folder = save_mlx(tmp_path, demo_tensors(), lora_parameters=LORA | {"alpha": 16})
    assert levels(check_files(folder))["mlx-alpha"] == "warning"


def test_a_negative_scale_is_a_warning(tmp_path):
    folder = save_mlx(tmp_path, demo_tensors(), lora_parameters=LORA | {"scale": -2.0})
    assert levels(check_files(folder))["alpha-negative"] == "warning"


def test_full_fine_tunes_are_checked_for_nan_only(tmp_path):
    tensors = {"model.norm.weight": torch.ones(8)}
    report = check_files(save_mlx(tmp_path, tensors, fine_tune_type="full"))
    assert (report.exit_code, report.modules) == (0, ())


def test_missing_weights_are_named(tmp_path):
    folder = save_mlx(tmp_path, demo_tensors(), fine_tune_type="lora", lora_parameters=LORA)
    (folder / "adapters.safetensors").rename(folder / "0000100_adapters.safetensors")
    [found] = check_files(folder).findings
    name = "0000100_adapters.safetensors"
    assert found.message == f"this is an MLX adapter under another name ({name})"


def test_the_digest_covers_the_weights(tmp_path):
    first = digest.adapter_digest(save_mlx(tmp_path / "a", demo_tensors()))
    assert first != digest.adapter_digest(save_mlx(tmp_path / "b", zero(demo_tensors())))


NAMES = {
    "mlx-community/Qwen2.5-0.5B-Instruct-4bit": True,
    "me/Llama-3.2-1B-8-bit": True,
    "me/Llama-3.2-1B-MLX": True,
    "Qwen/Qwen3-0.6B": False,
    "/Users/me/my-mlx/Qwen3-0.6B": False,
}


@pytest.mark.parametrize(("name", "expected"), NAMES.items())
def test_conversions_for_mlx_are_known_by_their_names(name, expected):
    assert is_conversion(name) == expected


def test_sway_check_takes_the_base_that_mlx_lm_names(tmp_path):
    folder = save_mlx(tmp_path / "a", demo_tensors(), model=str(demo.MODEL))
    assert named_models(str(folder), None).base.base == str(demo.MODEL)
    shutil.rmtree(folder)
    save_mlx(folder, demo_tensors(), model="mlx-community/base-4bit")
    with pytest.raises(UsageError, match="names the MLX base 'mlx-community/base-4bit'"):
        named_models(str(folder), None)
