"""Every method and option of peft: stacked, one view at a time, or refused.

Importing this module runs nothing: `Row.config` builds the configuration when it is called.
"""

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import peft

How = Literal["stacked", "one view at a time", "refused"]
STACKED: How = "stacked"
SINGLE: How = "one view at a time"
REFUSED: How = "refused"

LINEAR = ["q_proj", "v_proj", "down_proj"]


class Row(NamedTuple):
    """A method or option. `base`: the tiny model of `tests.helpers.models` that it adapts."""

    name: str
    how: How
    config: Callable[[], Any]
    base: str = "llama"
    says: str = ""
    """What the line of a refusal contains."""


def _lora(**fields: Any) -> Callable[[], Any]:
    return lambda: peft.LoraConfig(
        **({"r": 4, "lora_alpha": 8, "target_modules": LINEAR, "task_type": "CAUSAL_LM"} | fields)
    )


def _other(name: str, **fields: Any) -> Callable[[], Any]:
    return lambda: getattr(peft, name)(
        **({"target_modules": LINEAR, "task_type": "CAUSAL_LM"} | fields)
    )


def _prompt(name: str, **fields: Any) -> Callable[[], Any]:
    return lambda: getattr(peft, name)(
        **({"num_virtual_tokens": 4, "task_type": "CAUSAL_LM"} | fields)
    )


TIED = "qwen2-gqa-tied"
LORA = (
    Row("LoRA", STACKED, _lora()),
    Row("LoRA on all linear layers", STACKED, _lora(target_modules="all-linear")),
    Row(
        "LoRA on GPT-2's Conv1D",
        STACKED,
        _lora(target_modules=["c_attn", "c_fc"], fan_in_fan_out=True),
        "gpt2",
    ),
    Row(
        "LoRA by a regular expression",
        STACKED,
        _lora(target_modules=r".*layers\.1\.mlp\.(up|down)_proj"),
    ),
    Row("rsLoRA", STACKED, _lora(use_rslora=True)),
    Row(
        "rank_pattern, alpha_pattern",
        STACKED,
        _lora(rank_pattern={"q_proj": 6, "layers.1.mlp.down_proj": 2}, alpha_pattern={"v_proj": 3}),
    ),
    Row("layers_to_transform", STACKED, _lora(layers_to_transform=[1])),
    Row("layers_pattern", STACKED, _lora(layers_to_transform=[0], layers_pattern="layers")),
    Row("exclude_modules", STACKED, _lora(target_modules="all-linear", exclude_modules=r".*mlp.*")),
    Row("lora_dropout", STACKED, _lora(lora_dropout=0.5)),
    Row("init_lora_weights: gaussian", STACKED, _lora(init_lora_weights="gaussian")),
    Row("init_lora_weights: orthogonal", STACKED, _lora(init_lora_weights="orthogonal")),
    Row("EVA", STACKED, _lora(init_lora_weights="eva")),
    Row("LoRA on embed_tokens", STACKED, _lora(target_modules=["embed_tokens", "q_proj"])),
    Row("LoRA on lm_head", STACKED, _lora(target_modules=["lm_head", "q_proj"])),
    Row(
        "LoRA on embed_tokens and lm_head",
        STACKED,
        _lora(target_modules=["embed_tokens", "lm_head"]),
    ),
    Row(
        "LoRA on a tied embed_tokens",
        STACKED,
        _lora(target_modules=["embed_tokens", "q_proj"]),
        TIED,
    ),
    Row("LoRA on a tied lm_head", STACKED, _lora(target_modules=["lm_head", "q_proj"]), TIED),
    Row(
        "LoRA on a tied embed_tokens, ensure_weight_tying",
        SINGLE,
        _lora(target_modules=["embed_tokens", "q_proj"], ensure_weight_tying=True),
        TIED,
    ),
    Row("DoRA", STACKED, _lora(use_dora=True)),
    Row(
        "DoRA on embed_tokens",
        STACKED,
        _lora(use_dora=True, target_modules=["embed_tokens", "q_proj"]),
    ),
    Row(
        "DoRA on a tied lm_head",
        STACKED,
        _lora(use_dora=True, target_modules=["lm_head", "q_proj"]),
        TIED,
    ),
    Row("bias: all", SINGLE, _lora(bias="all"), TIED),
    Row("bias: lora_only", SINGLE, _lora(bias="lora_only"), TIED),
    Row("bias: lora_only, a base without biases", STACKED, _lora(bias="lora_only")),
    Row("lora_bias", SINGLE, _lora(lora_bias=True, target_modules=["q_proj", "v_proj"]), TIED),
    Row("modules_to_save: lm_head", SINGLE, _lora(modules_to_save=["lm_head"])),
    Row("modules_to_save: a tied lm_head", SINGLE, _lora(modules_to_save=["lm_head"]), TIED),
    Row(
        "modules_to_save: a tied embed_tokens",
        SINGLE,
        _lora(modules_to_save=["embed_tokens"]),
        TIED,
    ),
    Row(
        "modules_to_save: tied embed_tokens and lm_head",
        SINGLE,
        _lora(modules_to_save=["embed_tokens", "lm_head"]),
        TIED,
    ),
    Row(
        "modules_to_save: a tied embed_tokens, ensure_weight_tying",
        SINGLE,
        _lora(modules_to_save=["embed_tokens"], ensure_weight_tying=True),
        TIED,
    ),
    Row("modules_to_save: norm", SINGLE, _lora(modules_to_save=["norm"])),
    Row("trainable_token_indices", SINGLE, _lora(trainable_token_indices=[3, 5, 300])),
    Row(
        "trainable_token_indices of tied embeddings",
        SINGLE,
        _lora(trainable_token_indices=[3, 5, 300]),
        TIED,
    ),
    Row("PiSSA", SINGLE, _lora(init_lora_weights="pissa")),
    Row(
        "PiSSA by fast SVD", REFUSED, _lora(init_lora_weights="pissa_niter_4"), says="pissa_niter_4"
    ),
    Row("OLoRA", SINGLE, _lora(init_lora_weights="olora")),
    Row("CorDA", REFUSED, _lora(init_lora_weights="corda"), says="corda"),
    Row(
        "LoftQ",
        REFUSED,
        _lora(init_lora_weights="loftq", loftq_config={"loftq_bits": 4, "loftq_iter": 1}),
        says="loftq",
    ),
    Row("LoRA-GA", REFUSED, _lora(init_lora_weights="lora_ga"), says="lora_ga"),
    Row("MiCA", SINGLE, _lora(init_lora_weights="mica")),
    Row(
        "VeLoRA",
        SINGLE,
        _lora(velora_config={}),
    ),
    Row("KaSA", SINGLE, _lora(kasa_config={})),
    Row(
        "BD-LoRA",
        SINGLE,
        _lora(
            use_bdlora={
                "target_modules_bd_a": ["down_proj"],
                "target_modules_bd_b": ["q_proj", "v_proj"],
                "nblocks": 2,
            }
        ),
    ),
    Row("MonteCLoRA", SINGLE, _lora(monteclora_config={})),
    Row("aLoRA", REFUSED, _lora(alora_invocation_tokens=[1, 2]), says="alora_invocation_tokens"),
    Row("Arrow", REFUSED, _lora(arrow_config={}), says="arrow_config"),
    Row("LoRA with Megatron", REFUSED, _lora(megatron_config={"tp": 2}), says="megatron_config"),
    Row("QALoRA", REFUSED, _lora(use_qalora=True), says="use_qalora"),
    Row(
        "layer_replication",
        REFUSED,
        _lora(layer_replication=[(0, 2), (1, 2)]),
        says="layer_replication",
    ),
    Row(
        "target_parameters", STACKED, _lora(target_modules=[], target_parameters=["q_proj.weight"])
    ),
)
OTHERS = (
    Row("AdaLoRA", SINGLE, _other("AdaLoraConfig", total_step=10, init_r=4)),
    Row("LoHa", SINGLE, _other("LoHaConfig", r=2, alpha=4)),
    Row("LoKr", SINGLE, _other("LoKrConfig", r=2, alpha=4)),
    Row("IA3", SINGLE, _other("IA3Config", feedforward_modules=["down_proj"])),
    Row("OFT", SINGLE, _other("OFTConfig", oft_block_size=8)),
    Row("BOFT", SINGLE, _other("BOFTConfig", boft_block_size=4)),
    Row("VeRA", SINGLE, _other("VeraConfig", r=8, target_modules=["q_proj", "v_proj"])),
    Row(
        "VeRA, save_projection: false",
        SINGLE,
        _other("VeraConfig", r=8, target_modules=["q_proj"], save_projection=False),
    ),
    Row("PVeRA", SINGLE, _other("PveraConfig", r=8, target_modules=["q_proj", "v_proj"])),
    Row(
        "PVeRA, sample_at_inference",
        REFUSED,
        _other("PveraConfig", r=8, target_modules=["q_proj"], sample_at_inference=True),
        says="sample_at_inference",
    ),
    Row("FourierFT", SINGLE, _other("FourierFTConfig", n_frequency=50)),
    Row("LN tuning", SINGLE, _other("LNTuningConfig", target_modules=["norm", "input_layernorm"])),
    Row("HRA", SINGLE, _other("HRAConfig", r=4)),
    Row("VB-LoRA", SINGLE, _other("VBLoRAConfig", r=2, num_vectors=8, vector_length=16)),
    Row("RandLoRA", SINGLE, _other("RandLoraConfig", r=4, target_modules=["q_proj", "v_proj"])),
    Row("MiSS (Bone)", SINGLE, _other("MissConfig", r=8)),
    Row("SHiRA", SINGLE, _other("ShiraConfig", r=4)),
    Row("C3A", SINGLE, _other("C3AConfig", block_size=16)),
    Row("RoAd", SINGLE, _other("RoadConfig", group_size=16)),
    Row("WaveFT", SINGLE, _other("WaveFTConfig", n_frequency=50)),
    Row(
        "trainable tokens",
        SINGLE,
        _other("TrainableTokensConfig", target_modules=["embed_tokens"], token_indices=[3, 5, 300]),
    ),
    Row(
        "trainable tokens of tied embeddings",
        SINGLE,
        _other("TrainableTokensConfig", target_modules=["embed_tokens"], token_indices=[3, 5, 300]),
        TIED,
    ),
    Row("HiRA", SINGLE, _other("HiraConfig", r=4)),
    Row("DeLoRA", SINGLE, _other("DeloraConfig", r=4)),
    Row("GraLoRA", SINGLE, _other("GraloraConfig", r=4)),
    Row("GLoRA", SINGLE, _other("GloraConfig", r=4)),
    Row("AdaMSS", SINGLE, _other("AdamssConfig", r=8, num_subspaces=2)),
    Row("BEFT", SINGLE, _other("BeftConfig", target_modules=["v_proj"]), TIED),
    Row("DEFT", SINGLE, _other("DeftConfig", r=4)),
    Row("FRoD", SINGLE, _other("FrodConfig", target_modules=["q_proj", "v_proj"])),
    Row("OSF", SINGLE, _other("OSFConfig", effective_rank=4)),
    Row("PSOFT", SINGLE, _other("PsoftConfig", r=4)),
    Row("TinyLoRA", SINGLE, _other("TinyLoraConfig", u=8)),
    Row("Uni-LoRA", SINGLE, _other("UniLoraConfig", theta_d_length=32)),
    Row("SuperTuning", SINGLE, _other("SupertuningConfig", sparsity=0.9)),
    Row("Lily", REFUSED, _other("LilyConfig", r=4), says="LILY"),
    Row("PEANuT", SINGLE, _other("PeanutConfig", r=4)),
    Row("Shadow", REFUSED, _other("ShadowConfig", target_modules=None), says="SHADOW"),
    Row("Poly", REFUSED, _other("PolyConfig", r=4), says="POLY"),
    Row(
        "X-LoRA",
        REFUSED,
        lambda: peft.XLoraConfig(hidden_size=32, adapters={"0": "none"}, task_type="CAUSAL_LM"),
        says="XLORA",
    ),
    Row(
        "adaption prompt",
        REFUSED,
        lambda: peft.AdaptionPromptConfig(adapter_len=4, adapter_layers=1, task_type="CAUSAL_LM"),
        says="ADAPTION_PROMPT",
    ),
    Row("prompt tuning", REFUSED, _prompt("PromptTuningConfig"), says="PROMPT_TUNING"),
    Row(
        "multitask prompt tuning",
        REFUSED,
        _prompt("MultitaskPromptTuningConfig"),
        says="MULTITASK_PROMPT_TUNING",
    ),
    Row("P-tuning", REFUSED, _prompt("PromptEncoderConfig"), says="P_TUNING"),
    Row("prefix tuning", REFUSED, _prompt("PrefixTuningConfig"), says="PREFIX_TUNING"),
    Row(
        "CPT",
        REFUSED,
        lambda: peft.CPTConfig(
            cpt_token_ids=[1, 2],
            cpt_mask=[1, 1],
            cpt_tokens_type_mask=[1, 2],
            task_type="CAUSAL_LM",
        ),
        says="CPT",
    ),
    Row("Cartridge", REFUSED, _prompt("CartridgeConfig"), says="CARTRIDGE"),
)
ROWS = LORA + OTHERS
