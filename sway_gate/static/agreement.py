"""Compare the config of a LoRA adapter with its tensors; find modules that were never trained."""

import math
from collections.abc import Iterator

from sway_gate.results import Finding
from sway_gate.static.adapter import Adapter, is_in, is_tokens, module_of, reads_text
from sway_gate.static.findings import MATCHING, SAVE_AGAIN, compact, some, split_at_layer
from sway_gate.static.norms import ModuleNorm, module_norms
from sway_gate.static.outliers import FACTOR, outliers
from sway_gate.static.patterns import NotRun, by_pattern
from sway_gate.static.support import HEADS, TASKS
from sway_gate.static.targets import ends_with, targeted

_VARIANT_PARTS = {
    "kasa_config": "lora_diag",
    "monteclora_config": "lora_monteclora",
    "velora_config": "lora_velora",
}
"""Variants of LoRA, and the start of the name of a tensor that they add."""
_GATHER = "gather the sharded weights before saving (DeepSpeed ZeRO-3, FSDP)"


def inspect(adapter: Adapter) -> tuple[tuple[ModuleNorm, ...], list[Finding]]:
    """Norms of the modules, and all contradictions. Of other methods only empty tensors."""
    if adapter.config.peft_type != "LORA":
        return (), [*_empty(adapter, list(adapter.weights.tensors))]
    if not any("A" in part or "B" in part for part in adapter.parts.values()):
        message = "no tensor is a LoRA matrix (lora_A, lora_B)"
        remedy = "convert the adapter to peft's format"
        return (), [adapter.finding("broken", "no-lora-tensors", message, remedy)]
    pairs, found = _pairs(adapter)
    others = [name for name, kind in adapter.kinds.items() if kind != "lora"]
    found += [
        *_empty(adapter, others),
        *_integers(adapter),
        *_heads(adapter),
        *_whole(adapter),
        *_inputs(adapter),
        *_other_tensors(adapter),
        *_untrained(adapter, pairs),
        *_dora(adapter, pairs),
        *_lacking(adapter, pairs),
    ]
    found += [*_start(adapter), *_coverage(adapter)]
    modules, problems = _norms(adapter, pairs)
    return modules, found + problems


def _norms(adapter: Adapter, pairs: list[str]) -> tuple[tuple[ModuleNorm, ...], list[Finding]]:
    """Norms of the modules whose rank matches the config, and findings about ranks and alphas."""
    config, found = adapter.config, []
    try:
        ranks = by_pattern(config.rank_pattern, config.r, pairs)
        alphas = by_pattern(config.alpha_pattern, config.lora_alpha, pairs)
    except NotRun as error:
        return (), [_not_run(adapter, error, "rank_pattern or alpha_pattern", "ranks and norms")]
    if config.variants:
        message = f"{', '.join(config.variants)}: ranks and norms are not checked for this variant"
        return (), [adapter.finding("note", "variant", message)]
    if pairs and not any(alphas.values()):
        message = "alpha is 0 in all modules: the adapter does not change the base model"
        remedy = "train with lora_alpha above 0"
        found.append(adapter.finding("verdict", "alpha-zero", message, remedy))
    if negative := [module for module in pairs if alphas[module] < 0]:
        where = compact(negative)
        message = f"alpha is negative, so the change is subtracted from the base: {where}"
        remedy = "check that training used this alpha, otherwise correct its sign"
        found.append(adapter.finding("warning", "alpha-negative", message, remedy))
    wrong = _wrong_ranks(adapter, pairs, ranks)
    if wrong:
        name, rank = next(iter(wrong.items()))
        message = f"rank {rank} in the tensors, {ranks[name]} in the config: {compact(wrong)}"
        found.append(adapter.finding("broken", "rank-mismatch", message, MATCHING))
    right = {module: ranks[module] for module in pairs if module not in wrong}
    modules, problems = module_norms(adapter, right, alphas)
    if large := outliers(modules):
        message = f"‖ΔW‖ is more than {FACTOR} times as large as in other layers: {compact(large)}"
        remedy = "check that the weights are as training saved them"
        found.append(adapter.finding("warning", "norm-outlier", message, remedy))
    return modules, found + problems


def _pairs(adapter: Adapter) -> tuple[list[str], list[Finding]]:
    """Modules with matching A [r, d_in, …] and B [d_out, r, …], and the faults of the others."""
    single, misshapen, differing, pairs = [], [], [], []
    for module, part in adapter.parts.items():
        if not {"A", "B"} <= part.keys():
            single.append(module)
        elif any(len(adapter.shape(module, p)) < 2 or 0 in adapter.shape(module, p) for p in "AB"):
            misshapen.append(module)
        elif adapter.shape(module, "A")[0] != adapter.shape(module, "B")[1]:
            differing.append(module)
        else:
            pairs.append(module)
    faults = [
        ("pair-incomplete", single, "A or B is missing for", SAVE_AGAIN),
        ("factor-shape", misshapen, "A or B is empty or not a matrix for", _GATHER),
        ("factor-ranks-differ", differing, "A and B have different ranks for", SAVE_AGAIN),
    ]
    found = []
    for id, modules, message, remedy in faults:
        if modules:
            found.append(adapter.finding("broken", id, f"{message} {compact(modules)}", remedy))
    return pairs, found


def _empty(adapter: Adapter, names: list[str]) -> Iterator[Finding]:
    if empty := [name for name in names if 0 in adapter.weights.tensors[name].shape]:
        message = f"{len(empty)} tensors contain no values: {some(empty)}"
        yield adapter.finding("broken", "tensor-empty", message, _GATHER)


def _integers(adapter: Adapter) -> Iterator[Finding]:
    """LoRA matrices whose values are not real floating-point numbers: training saves no others."""
    tensors = adapter.weights.tensors
    names = [name for part in adapter.parts.values() for name in part.values()]
    if wrong := [name for name in names if not tensors[name].dtype.startswith(("F", "BF"))]:
        dtypes = ", ".join(sorted({tensors[name].dtype for name in wrong}))
        message = f"LoRA matrices of dtype {dtypes}, not of floating-point numbers: {some(wrong)}"
        yield adapter.finding("broken", "dtype-not-float", message, SAVE_AGAIN)


def _wrong_ranks(adapter: Adapter, pairs: list[str], ranks: dict[str, int]) -> dict[str, int]:
    """Module -> rank of its tensors, for each module that differs from the config.

    peft concatenates the experts of a targeted parameter, so a multiple of r is valid for these.
    """
    stored = {module: adapter.shape(module, "A")[0] for module in pairs}
    if adapter.config.target_parameters:
        return {module: rank for module, rank in stored.items() if rank % ranks[module]}
    return {module: rank for module, rank in stored.items() if rank != ranks[module]}


def _other_tensors(adapter: Adapter) -> Iterator[Finding]:
    if unknown := [name for name, kind in adapter.kinds.items() if kind == "unknown"]:
        message = f"tensors that the config does not explain: {some(unknown)}"
        level = "broken" if any(".lora_" in name for name in unknown) else "warning"
        yield adapter.finding(level, "unknown-tensor", message, MATCHING)
    saved = [module_of(name) for name, kind in adapter.kinds.items() if kind == "trained"]
    named = adapter.config.modules_to_save
    if missing := [m for m in named if not any(is_in(m, name) for name in saved)]:
        message = f"modules_to_save lists modules that have no tensors: {some(missing)}"
        yield adapter.finding("warning", "saved-module-without-tensors", message, MATCHING)


def _heads(adapter: Adapter) -> Iterator[Finding]:
    if adapter.config.task_type in TASKS:
        return
    trained = [name for name, kind in adapter.kinds.items() if kind in ("trained", "unknown")]
    if heads := [name for name in trained if HEADS.intersection(name.split("."))]:
        message = f"the adapter has the head of another task than text generation: {some(heads)}"
        yield adapter.finding("broken", "other-head", message, "give an adapter without this head")


def _whole(adapter: Adapter) -> Iterator[Finding]:
    kept = [name for name, kind in adapter.kinds.items() if kind in ("trained", "frozen")]
    if whole := [name for name in kept if name.endswith(".weight")]:
        message = "the adapter contains complete weights of the base; their norms are not checked"
        yield adapter.finding("note", "whole-weights", f"{message}: {some(whole)}")


def _inputs(adapter: Adapter) -> Iterator[Finding]:
    if not any(map(reads_text, adapter.parts)):
        message = f"only modules for images or sound are adapted: {compact(adapter.parts)}"
        remedy = "give an adapter of the language model; sway-gate judges text"
        yield adapter.finding("broken", "not-for-text", message, remedy)


def _untrained(adapter: Adapter, pairs: list[str]) -> Iterator[Finding]:
    """Modules with an update of zero. peft starts B at zero; any optimizer step changes it."""
    pairs = [module for module in pairs if reads_text(module)]
    zero = [module for module in pairs if _is_zero(adapter, module)]
    remedy = "check that the optimizer has these parameters, with a learning rate above 0"
    if zero and len(zero) < len(pairs):
        share = f"{len(zero)} of {len(pairs)} modules"
        message = f"{share} have no effect because their A or B is zero: {compact(zero)}"
        yield adapter.finding("warning", "dead-layers", message, remedy)
    elif zero:
        message = f"the A or B of all {len(zero)} modules is zero"
        trained = [name for name, kind in adapter.kinds.items() if kind == "trained"]
        if any(adapter.content[name].nonzero for name in trained):
            message += ": only tensors other than LoRA matrices can have been trained"
            yield adapter.finding("warning", "lora-all-zero", message, remedy)
        else:
            message += ": the adapter was never trained and does not change the base model"
            remedy += ", and that the trained checkpoint was saved"
            yield adapter.finding("verdict", "never-trained", message, remedy)


def _is_zero(adapter: Adapter, module: str) -> bool:
    part = adapter.parts[module]
    return not (adapter.content[part["A"]].nonzero and adapter.content[part["B"]].nonzero)


def _dora(adapter: Adapter, pairs: list[str]) -> Iterator[Finding]:
    def fits(module: str) -> bool:
        part = adapter.parts[module]
        if not adapter.config.use_dora or "magnitude_vector" not in part:
            return adapter.config.use_dora == ("magnitude_vector" in part)
        return math.prod(adapter.shape(module, "magnitude_vector")) == adapter.shape(module, "B")[0]

    if wrong := [module for module in pairs if not fits(module)]:
        use_dora = f"use_dora is {adapter.config.use_dora}"
        message = f"{use_dora}, but the magnitude vectors do not match: {compact(wrong)}"
        yield adapter.finding("broken", "dora-magnitude", message, MATCHING)
    if adapter.config.use_dora:
        message = "DoRA: the norms are those for s·B·A, before the magnitudes are applied"
        yield adapter.finding("note", "dora-norms", message)


def _lacking(adapter: Adapter, pairs: list[str]) -> Iterator[Finding]:
    """Tensors that the config announces and that the file does not have."""
    names = adapter.weights.tensors
    for variant, part in _VARIANT_PARTS.items():
        if variant in adapter.config.variants and not any(f".{part}" in name for name in names):
            message = f"{variant} is set, but there are no tensors {part}…"
            yield adapter.finding("broken", "tensor-missing", message, MATCHING)
    if adapter.config.lora_bias:
        linear = [m for m in pairs if ".lora_embedding_" not in adapter.parts[m]["B"]]
        biases = {m: adapter.parts[m]["B"].removesuffix("weight") + "bias" for m in linear}
        if wrong := [module for module, bias in biases.items() if bias not in names]:
            message = f"lora_bias is true, but B has no bias: {compact(wrong)}"
            yield adapter.finding("broken", "tensor-missing", message, MATCHING)
    if adapter.config.trainable_token_indices is not None and not any(map(is_tokens, names)):
        message = "trainable_token_indices is set, but there are no trainable_tokens_delta"
        yield adapter.finding("broken", "tensor-missing", message, MATCHING)


def _start(adapter: Adapter) -> Iterator[Finding]:
    """Some initializations (PiSSA, OLoRA, CorDA, LoftQ, …) set neither A nor B to zero."""
    start = adapter.config.init_lora_weights
    if start is not True and str(start).lower() not in ("gaussian", "eva", "mica"):
        reason = "neither A nor B starts at zero, so an untrained adapter cannot be detected"
        message = f"init_lora_weights is {start!r:.40}: {reason}"
        yield adapter.finding("note", "init-not-zero", message)


def _coverage(adapter: Adapter) -> Iterator[Finding]:
    """Targets without tensors and tensors without a target, by peft's rules for the config."""
    config, modules = adapter.config, list(adapter.parts)
    if config.target_modules is None or config.target_parameters:
        return
    try:
        is_target = set(targeted(config, modules))
    except NotRun as error:
        given = {name: getattr(config, name) for name in ("target_modules", "exclude_modules")}
        fields = [name for name, value in given.items() if isinstance(value, str)]
        fields += ["modules_to_save"] if config.modules_to_save else []
        yield _not_run(adapter, error, " or ".join(fields), "module names")
        return
    outside = [module for module in modules if module not in is_target]
    if config.ensure_weight_tying:  # peft also adapts the modules tied to a target
        outside = [module for module in outside if split_at_layer(module)[1] is not None]
    if outside:
        message = f"tensors of modules that the config does not include: {compact(outside)}"
        yield adapter.finding("broken", "tensor-without-target", message, MATCHING)
    # exclude_modules can exclude all modules of a target
    targets = config.target_modules
    if not isinstance(targets, str) and not config.exclude_modules:
        names = sorted({t for t in targets if not any(ends_with(m, [t]) for m in modules)})
        if names:
            message = f"target_modules lists modules that have no tensors: {some(names)}"
            yield adapter.finding("warning", "target-without-tensors", message, MATCHING)


def _not_run(adapter: Adapter, error: NotRun, field: str, unchecked: str) -> Finding:
    id, reason = error.args
    message = f"{field}: {reason}; {unchecked} are not checked"
    return adapter.finding("broken", id, message, "correct it in the config")
