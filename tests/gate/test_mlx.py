"""`kind: mlx` from the spec to the verdict, on the demo's adapter in mlx-lm's form."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest
from safetensors.torch import load_file

from sway_gate import backends, demo
from sway_gate.errors import CannotDecide, UsageError
from sway_gate.gate.identity import verdict_key
from sway_gate.gate.resolve import Options, prepare
from sway_gate.gate.run import run_gate
from sway_gate.output import silent
from sway_gate.results import GateResult
from sway_gate.spec.load import load_spec
from sway_gate.spec.schema import Spec
from tests.helpers.mlx import save_mlx

SUITE = """\
suite:
  - {name: nulls, kind: null_adapter, runs: 3}
  - {name: moved, kind: delta_kl, prompts: [The salt of Marrowby, Nobody has seen the]}
  - {name: grows, kind: adapter_ablation, prompts: [The salt of Marrowby, We know the]}
  - {name: prose, kind: external_perplexity, max_chunks: 2}
"""


@pytest.fixture
def adapter(tmp_path: Path) -> Path:
    tensors = {
        name.removeprefix("base_model.model.")
        .replace("lora_A.weight", "lora_a")
        .replace("lora_B.weight", "lora_b"): value.T
        for name, value in load_file(demo.HEALTHY / "adapter_model.safetensors").items()
    }
    parameters = {"rank": 8, "scale": 2.0}
    return save_mlx(tmp_path / "adapter", tensors, lora_parameters=parameters)


def spec(kind: str, adapter: Path, model: Path = demo.MODEL) -> Spec:
    base = f"kind: {kind}, device: cpu, base: {model}"
    path = adapter.parent / f"{kind}.yaml"
    models = f"models:\n  base: {{{base}}}\n  ft: {{{base}, adapter: {adapter}}}\n"
    path.write_text(f"version: 1\n{models}{SUITE}", encoding="utf-8")
    return load_spec(str(path))


def gate(of: Spec) -> GateResult:
    return run_gate(of, Options(cache=False), silent)


def test_the_two_kinds_share_no_cached_verdict(adapter):
    keys = {verdict_key(prepare(spec(kind, adapter), Options())) for kind in ("hf", "mlx")}
    assert len(keys) == 2


def test_without_mlx_the_extra_is_named(adapter, monkeypatch):
    monkeypatch.setitem(sys.modules, "sway_gate.backends.mlx", None)
    monkeypatch.delattr(backends, "mlx", raising=False)  # another test may have imported it
    with pytest.raises(CannotDecide, match=r"install the extra: pip install 'sway-gate\[mlx\]'"):
        gate(spec("mlx", adapter))


def test_only_mlx_takes_a_base_that_it_quantized(adapter, tmp_path):
    base = shutil.copytree(demo.MODEL, tmp_path / "base")
    config = json.loads((base / "config.json").read_text(encoding="utf-8"))
    config["quantization"] = {"group_size": 32, "bits": 4}
    (base / "config.json").write_text(json.dumps(config), encoding="utf-8")
    assert prepare(spec("mlx", adapter, base), Options()).folders == (base, adapter, False)
    with pytest.raises(UsageError, match="this is a model quantized by MLX"):
        prepare(spec("hf", adapter, base), Options())


@pytest.mark.slow
def test_a_base_quantized_by_mlx_is_gated(adapter, tmp_path):
    pytest.importorskip("mlx_lm")
    from mlx_lm import convert

    base = tmp_path / "quantized"
    convert(str(demo.MODEL), str(base), quantize=True, q_group_size=32, q_bits=4)
    assert {probe.verdict for probe in gate(spec("mlx", adapter, base)).probes} <= {"pass", "warn"}


@pytest.mark.slow
def test_the_verdict_is_that_of_the_torch_backend(adapter):
    pytest.importorskip("mlx_lm")
    mine, theirs = gate(spec("mlx", adapter)), gate(spec("hf", adapter))
    assert mine.device == "mlx cpu"
    assert mine.versions.keys() > {"mlx", "mlx-lm"}
    for own, other in zip(mine.probes, theirs.probes, strict=True):
        assert (own.name, own.verdict) == (other.name, other.verdict)
        assert numbers(own) == pytest.approx(numbers(other), rel=1e-3, abs=1e-4)


WITHOUT_TORCH = """\
import sys
from importlib import util

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("torch", "peft"):
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, Missing())
find = util.find_spec
util.find_spec = lambda name, *rest: None if name in ("torch", "peft") else find(name, *rest)
from sway_gate.cli import main
sys.exit(main(["gate", sys.argv[1], "--quiet"]))
"""


@pytest.mark.slow
def test_torch_and_peft_are_not_needed(adapter):
    pytest.importorskip("mlx_lm")
    path = spec("mlx", adapter).label
    command = [sys.executable, "-c", WITHOUT_TORCH, str(adapter.parent / path)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=adapter.parent)
    assert "composite" in done.stdout, done.stderr


def numbers(probe: Any) -> dict[str, float]:
    fields = msgspec.structs.asdict(probe)
    return {name: fields[name] for name in ("raw", "z", "score") if fields[name] is not None}
