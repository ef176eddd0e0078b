"""The static check compared with peft: good adapters have no warning, and the tables are peft's."""

import dataclasses
import warnings
from pathlib import Path
from typing import Any

import pytest
from safetensors.numpy import load_file, save_file

from sway_gate.model_files.methods import KNOWN, MERGED, METHODS, STACKED
from sway_gate.static import support
from sway_gate.static.check import check_files

pytest.importorskip("torch")

from peft import BdLoraConfig, KasaConfig, LoraConfig, MontecloraConfig, PeftModel, VeloraConfig
from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING
from peft.utils.peft_types import PeftType, TaskType
from transformers import AutoModelForCausalLM

from tests.helpers.models import save_adapter, save_base

WEIGHTS = "adapter_model.safetensors"
LLAMA, TIED = "llama", "qwen2-gqa-tied"
Q = ["q_proj"]
ENDS = ["embed_tokens", "lm_head"]


@pytest.fixture(scope="module")
def bases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return {name: save_base(tmp_path_factory.mktemp(name), name) for name in (LLAMA, TIED, "gpt2")}


GOOD: dict[str, tuple[str, dict[str, Any]]] = {
    "excluded target": (LLAMA, {"target_modules": ["q_proj", "v_proj"], "exclude_modules": Q}),
    "excluded layer": (LLAMA, {"target_modules": Q, "exclude_modules": r"model\.layers\.1\..*"}),
    "excluded by regex": (LLAMA, {"target_modules": r".*_proj", "exclude_modules": r".*mlp.*"}),
    "some layers": (LLAMA, {"target_modules": Q, "layers_to_transform": [1]}),
    "norms": (LLAMA, {"target_modules": Q, "modules_to_save": ["input_layernorm", "norm"]}),
    "saved embedding, tied": (TIED, {"target_modules": Q, "modules_to_save": ENDS[:1]}),
    "saved ends, tied": (TIED, {"target_modules": Q, "modules_to_save": ENDS}),
    "kept tied": (TIED, {"target_modules": [*Q, *ENDS], "ensure_weight_tying": True}),
    "kept tied, embedding": (TIED, {"target_modules": [*Q, ENDS[0]], "ensure_weight_tying": True}),
    "kept tied, saved": (
        TIED,
        {"target_modules": Q, "modules_to_save": ENDS[:1], "ensure_weight_tying": True},
    ),
    "head": (LLAMA, {"target_modules": [*Q, "lm_head"]}),
    "embedding": (LLAMA, {"target_modules": [*Q, "embed_tokens"]}),
    "tokens": (LLAMA, {"target_modules": Q, "trainable_token_indices": [1, 2]}),
    "tokens, tied": (TIED, {"target_modules": Q, "trainable_token_indices": [1, 2]}),
    "all biases": (TIED, {"target_modules": Q, "bias": "all"}),
    "LoRA's biases": (TIED, {"target_modules": Q, "bias": "lora_only", "lora_bias": False}),
    "bias of B": (LLAMA, {"target_modules": Q, "lora_bias": True}),
    "rank and alpha patterns": (
        LLAMA,
        {"rank_pattern": {"q_proj": 2}, "alpha_pattern": {"v_proj": 3}, "use_rslora": True},
    ),
    "DoRA": (LLAMA, {"target_modules": "all-linear", "use_dora": True}),
    "KaSA": (LLAMA, {"target_modules": Q, "kasa_config": KasaConfig()}),
    "MonteCLoRA": (LLAMA, {"target_modules": Q, "monteclora_config": MontecloraConfig()}),
    "VeLoRA": (LLAMA, {"target_modules": Q, "velora_config": VeloraConfig()}),
    "BD-LoRA": (
        LLAMA,
        {
            "target_modules": ["q_proj"],
            "use_bdlora": BdLoraConfig(target_modules_bd_a=Q, nblocks=2),
        },
    ),
    "parameters": (LLAMA, {"target_modules": Q, "target_parameters": ["mlp.up_proj.weight"]}),
    "Conv1D": ("gpt2", {"target_modules": ["c_attn", "c_proj"], "fan_in_fan_out": True}),
}


@pytest.mark.parametrize(("base", "fields"), GOOD.values(), ids=GOOD)
def test_a_good_adapter_has_no_warning(
    bases: dict[str, Path], tmp_path: Path, base: str, fields: dict[str, Any]
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        save_adapter(tmp_path / "adapter", bases[base], **fields)
    report = check_files(tmp_path / "adapter", str(bases[base]))
    assert [f.message for f in report.findings if f.level != "note"] == []


P = "base_model.model."
NAMES = {
    "as saved": (P, P),
    "the default name": (".weight", ".default.weight"),
    "another name": (".weight", ".reward.weight"),
    "torch.compile": (P, f"{P}_orig_mod."),
    "compiled outside": (P, f"_orig_mod.{P}"),
    "FSDP": (".0.", ".0._fsdp_wrapped_module."),
    "checkpointing": (".0.", ".0._checkpoint_wrapped_module."),
    "DDP": (P, f"module.{P}"),
    "DDP inside": (P, f"{P}module."),
    "no prefix": (P, ""),
    "prefix twice": (P, P * 2),
    "nested": (f"{P}model.", f"{P}model.language_model."),
}


@pytest.mark.parametrize(("old", "new"), NAMES.values(), ids=NAMES)
def test_names_are_refused_if_peft_does_not_match_them(
    bases: dict[str, Path], tmp_path: Path, old: str, new: str
) -> None:
    folder = save_adapter(tmp_path, bases[LLAMA], target_modules=Q)
    tensors = load_file(folder / WEIGHTS)
    save_file({k.replace(old, new): v for k, v in tensors.items()}, folder / WEIGHTS)
    model = AutoModelForCausalLM.from_pretrained(bases[LLAMA])
    wrapped = PeftModel(model, LoraConfig.from_pretrained(str(folder)))
    loaded = wrapped.load_adapter(str(folder), "default")
    is_matched = not (loaded.missing_keys or loaded.unexpected_keys)
    assert check_files(folder, str(bases[LLAMA])).exit_code == (0 if is_matched else 2)


def test_every_method_of_peft_is_either_supported_or_refused() -> None:
    methods = {str(kind.value) for kind in PeftType}
    refused = {kind for kind in methods if support.unsupported_method(kind)}
    assert METHODS.keys() >= methods
    assert refused == {kind for kind, how in METHODS.items() if how not in (STACKED, MERGED)}


def test_prompt_learning_is_refused() -> None:
    kinds = PEFT_TYPE_TO_CONFIG_MAPPING.items()
    prompts = [str(k.value) for k, config in kinds if hasattr(config, "num_virtual_tokens")]
    assert len(prompts) > 3
    assert all(support.unsupported_method(kind) for kind in prompts)


def test_the_table_has_every_option_of_lora() -> None:
    fields = {field.name for field in dataclasses.fields(LoraConfig)}
    assert fields == KNOWN - {"sample_at_inference"}  # a field of another method


def test_the_table_has_every_other_task() -> None:
    assert {task.value for task in TaskType} == {*support.TASKS, "CAUSAL_LM"}
