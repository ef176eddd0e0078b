"""Config and tensors of a LoRA adapter held against each other: contradictions, and what was never trained."""

import math
import re
from collections.abc import Iterator

from sway_gate.results import Finding
from sway_gate.static.adapter import Adapter, module_of
from sway_gate.static.findings import MATCHING, SAVE_AGAIN, compact, some
from sway_gate.static.norms import ModuleNorm, module_norms
from sway_gate.static.patterns import NotRun, by_pattern, matchers


def inspect(adapter: Adapter) -> tuple[tuple[ModuleNorm, ...], list[Finding]]:
    if not any("A" in part or "B" in part for part in adapter.parts.values()):
        message = "no tensor is a LoRA matrix (lora_A, lora_B)"
        remedy = "use peft's format; convert adapters of other tools"
        return (), [adapter.finding("broken", "no-lora-tensors", message, remedy)]
    pairs, problems = _pairs(adapter)
    found = [
        *problems,
        *_other_tensors(adapter),
        *_untrained(adapter, pairs),
        *_dora(adapter, pairs),
    ]
    found += [*_start(adapter), *_coverage(adapter)]
    try:
        ranks = by_pattern(adapter.config.rank_pattern, adapter.config.r, pairs)
        alphas = by_pattern(adapter.config.alpha_pattern, adapter.config.lora_alpha, pairs)
    except NotRun as error:
        return (), [
            *found,
            _not_run(adapter, error, "rank_pattern or alpha_pattern", "ranks and norms"),
        ]
    if adapter.config.variants:
        message = f"{', '.join(adapter.config.variants)}: ranks and norms are not checked for this variant"
        return (), [*found, adapter.finding("note", "variant", message)]
    if pairs and not any(alphas[module] for module in pairs):
        message = "alpha is 0 in all modules: the adapter leaves the base model as it is"
        found.append(
            adapter.finding("verdict", "alpha-zero", message, "train with lora_alpha above 0")
        )
    if wrong := _wrong_ranks(adapter, pairs, ranks):
        name, held = next(iter(wrong.items()))
        first = f"rank {held} in the tensors, {ranks[name]} in the config"
        found.append(
            adapter.finding("broken", "rank-mismatch", f"{first}: {compact(wrong)}", MATCHING)
        )
    modules, problems = module_norms(
        adapter, {m: ranks[m] for m in pairs if m not in wrong}, alphas
    )
    return modules, found + problems


def _pairs(adapter: Adapter) -> tuple[list[str], list[Finding]]:
    """The modules with an A [r, d_in, …] and a B [d_out, r, …] that fit together, and what is wrong with the others."""
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
        (
            "factor-shape",
            misshapen,
            "A or B is no matrix, or empty, for",
            "gather the sharded weights before saving",
        ),
        ("factor-ranks-differ", differing, "A and B have different ranks for", SAVE_AGAIN),
    ]
    return pairs, [
        adapter.finding("broken", id, f"{message} {compact(modules)}", remedy)
        for id, modules, message, remedy in faults
        if modules
    ]


def _wrong_ranks(adapter: Adapter, pairs: list[str], ranks: dict[str, int]) -> dict[str, int]:
    """Modules whose tensors have another rank than the config, and which.

    peft stores the experts of a targeted parameter one after another, so there a multiple of r is right.
    """
    held = {module: adapter.shape(module, "A")[0] for module in pairs}
    if adapter.config.target_parameters:
        return {module: rank for module, rank in held.items() if rank % ranks[module]}
    return {module: rank for module, rank in held.items() if rank != ranks[module]}


def _other_tensors(adapter: Adapter) -> Iterator[Finding]:
    if unknown := [name for name, kind in adapter.kinds.items() if kind == "unknown"]:
        message = f"tensors that the config does not explain: {some(unknown)}"
        yield adapter.finding("warning", "unknown-tensor", message, MATCHING)
    saved = [f".{module_of(name)}" for name, kind in adapter.kinds.items() if kind == "trained"]
    if missing := [
        m for m in adapter.config.modules_to_save if not any(f".{m}." in name for name in saved)
    ]:
        message = f"modules_to_save names modules without tensors: {some(missing)}"
        yield adapter.finding("warning", "saved-module-without-tensors", message, MATCHING)


def _untrained(adapter: Adapter, pairs: list[str]) -> Iterator[Finding]:
    """Modules whose update is exactly zero. peft starts B at zero, and every optimizer step moves it off."""
    zero = [
        m
        for m in pairs
        if not all(adapter.content[adapter.parts[m][part]].nonzero for part in "AB")
    ]
    remedy = "check that these parameters reach the optimizer with a learning rate above 0"
    if zero and len(zero) < len(pairs):
        message = f"{len(zero)} of {len(pairs)} modules change nothing, their A or B is all zero: {compact(zero)}"
        yield adapter.finding("warning", "dead-layers", message, remedy)
    elif zero:
        others = any(
            kind == "trained" and adapter.content[name].nonzero
            for name, kind in adapter.kinds.items()
        )
        message = f"the A or B of all {len(zero)} modules is zero"
        if others:
            message += ": only what is saved beside LoRA can have been trained"
            yield adapter.finding("warning", "lora-all-zero", message, remedy)
        else:
            message += ": never trained, the adapter leaves the base model as it is"
            remedy += ", and that the trained checkpoint was saved"
            yield adapter.finding("verdict", "never-trained", message, remedy)


def _dora(adapter: Adapter, pairs: list[str]) -> Iterator[Finding]:
    def fits(module: str) -> bool:
        part = adapter.parts[module]
        if not adapter.config.use_dora or "magnitude_vector" not in part:
            return adapter.config.use_dora == ("magnitude_vector" in part)
        return math.prod(adapter.shape(module, "magnitude_vector")) == adapter.shape(module, "B")[0]

    if wrong := [module for module in pairs if not fits(module)]:
        message = f"use_dora is {adapter.config.use_dora}, the magnitude vectors do not fit that: {compact(wrong)}"
        yield adapter.finding("broken", "dora-magnitude", message, MATCHING)
    if adapter.config.use_dora:
        yield adapter.finding(
            "note", "dora-norms", "DoRA: the norms are of s·B·A, before the magnitudes are applied"
        )


def _start(adapter: Adapter) -> Iterator[Finding]:
    """Some initialisations (PiSSA, OLoRA, CorDA, LoftQ, orthogonal, …) leave neither A nor B at zero."""
    start = adapter.config.init_lora_weights
    if start is not True and str(start).lower() not in ("gaussian", "eva", "mica"):
        message = f"init_lora_weights is {start!r:.40}: neither A nor B starts at zero, so untrained cannot be seen here"
        yield adapter.finding("note", "init-not-zero", message)


def _coverage(adapter: Adapter) -> list[Finding]:
    """Targets without tensors, and tensors without a target, by the rule of peft's target_modules."""
    targets, modules = adapter.config.target_modules, list(adapter.parts)
    if (
        targets is None
        or targets in ("all-linear", "dummy-target-modules")
        or adapter.config.target_parameters
    ):
        return []
    unused = set() if isinstance(targets, str) else set(targets)
    if isinstance(targets, str):
        try:
            matches = matchers([targets], modules, "{}")[0]
        except NotRun as error:
            return [_not_run(adapter, error, "target_modules", "names of modules")]
        outside = [module for module in modules if not matches(module)]
    else:
        hits = {module: unused.intersection(_endings(module)) for module in modules}
        outside = [module for module in modules if not hits[module]]
        unused = unused.difference(*hits.values())
    faults = [
        (
            "target-without-tensors",
            unused,
            f"target_modules names modules without tensors: {some(sorted(unused))}",
        ),
        (
            "tensor-without-target",
            outside,
            f"tensors of modules that target_modules does not name: {compact(outside)}",
        ),
    ]
    return [
        adapter.finding("warning", id, message, MATCHING) for id, names, message in faults if names
    ]


def _not_run(adapter: Adapter, error: NotRun, field: str, unchecked: str) -> Finding:
    level, id, reason = error.args
    remedy = "correct it in the config" if level == "broken" else ""
    return adapter.finding(level, id, f"{field}: {reason}; {unchecked} are not checked", remedy)


def _endings(module: str) -> Iterator[str]:
    """The name, and what follows each of its dots."""
    yield module
    yield from (module[dot.end() :] for dot in re.finditer(r"\.", module))
