"""`sway parity` from the command to the verdict, on merges of a tiny model."""

import json
from pathlib import Path
from statistics import NormalDist
from typing import Any

import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM

from sway_gate.cli import main
from sway_gate.serving.folder import ModelFolder
from tests.helpers.models import byte_tokenizer, save_adapter, save_base


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("trained")
    base = save_base(folder / "base", "llama")
    return base, save_adapter(folder / "adapter", base, size=0.3)


def merged(
    base: Path,
    adapter: Path,
    out: Path,
    *,
    dtype: Any = torch.float32,
    scale: float = 1.0,
    modules: str = "",
    merged_in: Any = torch.float32,
) -> Path:
    """`scale` applies to the modules whose name contains `modules`."""
    model: Any = AutoModelForCausalLM.from_pretrained(base, dtype=merged_in)
    model = PeftModel.from_pretrained(model, str(adapter))
    for name, module in model.named_modules():
        if modules in name and isinstance(getattr(module, "scaling", None), dict):
            module.scaling = {key: value * scale for key, value in module.scaling.items()}
    model.merge_and_unload().to(dtype).save_pretrained(out)
    byte_tokenizer().save_pretrained(out)
    return out


def nf4_levels() -> list[float]:
    """The oracle: quantiles of the normal distribution, 8 above 0 and 7 below."""
    quantile, least = NormalDist().inv_cdf, 1 - 0.9677083
    above = [-quantile(least + (0.5 - least) * i / 8) for i in range(8)]
    below = [quantile(least + (0.5 - least) * i / 7) for i in range(7)]
    return [value / above[0] for value in (*below, 0.0, *reversed(above))]


def in_nf4(values: torch.Tensor) -> torch.Tensor:
    """Each block of 64 at the nearest levels."""
    levels = torch.tensor(nf4_levels())
    blocks = values.reshape(-1, 64)
    size = blocks.abs().amax(-1, keepdim=True)
    nearest = (blocks[..., None] / size[..., None] - levels).abs().argmin(-1)
    return (levels[nearest] * size).reshape(values.shape)


def rounded(base: Path, out: Path) -> Path:
    """The base with its linear layers in 4 bits, stored in float32, as after QLoRA."""
    model: Any = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    for module in model.model.modules():
        if isinstance(module, torch.nn.Linear):
            module.weight.data = in_nf4(module.weight.data)
    model.save_pretrained(out)
    return out


def parity(trained: tuple[Path, Path], *artefacts: Path, out: Path) -> tuple[int, dict[str, Any]]:
    base, adapter = trained
    against = [str(path) for path in artefacts]
    code = main(
        ["parity", str(adapter), "--base", str(base), "--against", *against, "--json", str(out)]
    )
    report = json.loads(out.read_bytes())
    assert (report["schema_version"], report["exit_code"]) == (1, code)
    return code, {Path(one["artefact"]).name: one for one in report["artefacts"]}


def test_merges_are_told_apart(trained: tuple[Path, Path], tmp_path: Path) -> None:
    base, adapter = trained
    other = save_adapter(tmp_path / "other", base, seed=9, size=0.3)
    artefacts = [
        merged(base, adapter, tmp_path / "exact"),
        merged(base, adapter, tmp_path / "bf16", dtype=torch.bfloat16),
        merged(base, adapter, tmp_path / "half", scale=0.5),
        merged(base, adapter, tmp_path / "twice", scale=2.0),
        merged(base, other, tmp_path / "another"),
        merged(rounded(base, tmp_path / "rounded"), adapter, tmp_path / "coarse"),
        base,
    ]
    code, found = parity(trained, *artefacts, out=tmp_path / "parity.json")
    assert code == 1
    assert {name: one["name"] for name, one in found.items()} == {
        "exact": "same",
        "bf16": "same",
        "half": "adapter at another strength",
        "twice": "adapter at another strength",
        "another": "another base or adapter",
        "coarse": "merged onto a quantized base",
        "base": "adapter not applied",
    }
    assert found["exact"]["error"] < 1e-4
    assert found["exact"]["greedy"] == found["exact"]["texts"]
    assert (found["half"]["strength"], found["twice"]["strength"]) == (0.5, 2.0)
    assert found["bf16"]["precision"] == "bfloat16"


def test_another_tokenizer_differs(trained: tuple[Path, Path], tmp_path: Path) -> None:
    exact = merged(*trained, tmp_path / "exact")
    config = exact / "tokenizer_config.json"
    fields = json.loads(config.read_text(encoding="utf-8"))
    config.write_text(json.dumps(fields | {"eos_token": "A"}), encoding="utf-8")
    code, found = parity(trained, exact, out=tmp_path / "parity.json")
    assert code == 1
    assert found["exact"]["name"] == "template differs"
    assert "ends answers with token" in found["exact"]["formats"][0]


def test_a_merge_that_computes_nan_is_not_the_same(
    trained: tuple[Path, Path], tmp_path: Path
) -> None:
    base, adapter = trained
    model: Any = AutoModelForCausalLM.from_pretrained(merged(base, adapter, tmp_path / "merged"))
    token = byte_tokenizer()("?")["input_ids"][-1]
    model.get_input_embeddings().weight.data[token] = float("nan")
    model.save_pretrained(tmp_path / "merged")
    code, found = parity(trained, tmp_path / "merged", out=tmp_path / "parity.json")
    assert (code, found["merged"]["name"]) == (1, "broken")


@pytest.mark.parametrize(
    ("settings", "bits"), [([], 4), ({"bits": "x"}, 4), ({"bits": 10**6}, 4), ({"bits": 8}, 8)]
)
def test_the_precision_of_a_quantized_folder(settings: object, bits: int, tmp_path: Path) -> None:
    config = json.dumps({"quantization_config": settings})
    (tmp_path / "config.json").write_text(config, encoding="utf-8")
    precision = ModelFolder(tmp_path, "cpu").precision
    assert precision is not None
    assert precision.bits == bits


def test_what_is_no_artefact(
    trained: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    base, adapter = trained
    missing = str(tmp_path / "nothing")
    assert main(["parity", str(adapter), "--base", str(base), "--against", missing]) == 2
    assert "give a folder of a model, a .gguf file, or the address" in capsys.readouterr().err


def test_the_report_keeps_to_the_width(
    trained: tuple[Path, Path], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    base, adapter = map(str, trained)
    monkeypatch.chdir(base)
    monkeypatch.setenv("COLUMNS", "60")
    assert main(["parity", adapter, "--base", base, "--against", "."]) == 1
    shown = capsys.readouterr().out.splitlines()
    assert shown[0] == ".: ADAPTER NOT APPLIED"
    assert shown[4].startswith("  Serve the merged model, or load the adapter under")
    assert max(map(len, shown)) <= 60


def test_an_adapter_without_effect_cannot_be_recognized(
    trained: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    base, _ = trained
    untrained = save_adapter(tmp_path / "untrained", base, size=0.0)
    assert main(["parity", str(untrained), "--base", str(base), "--against", str(base)]) == 3
    assert "cannot be recognized in an artefact" in capsys.readouterr().err


def test_an_artefact_that_cannot_be_read_does_not_hide_the_others(
    trained: tuple[Path, Path], tmp_path: Path
) -> None:
    broken, base = tmp_path / "empty", trained[0]
    broken.mkdir()
    code, found = parity(trained, broken, base, out=tmp_path / "parity.json")
    assert "has no config.json" in found["empty"]["error"]
    assert (code, found["base"]["name"]) == (1, "adapter not applied")
    assert parity(trained, broken, out=tmp_path / "alone.json")[0] == 3


def test_an_adapter_is_not_an_artefact(
    trained: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    base, adapter = map(str, trained)
    assert main(["parity", adapter, "--base", base, "--against", adapter]) == 2
    assert "is an adapter; give what is served" in capsys.readouterr().err
