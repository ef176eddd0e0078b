"""The suite of `sway init` and `sway autogen`: what the data supports, harm and size of the change.

Probes that cost more than their answer is worth in every gate are left out, with the reason.
"""

from collections.abc import Callable
from typing import Final

from sway_gate.suites.prompts import openings, prompts
from sway_gate.suites.supports import (
    Chosen,
    Entry,
    LeftOut,
    Material,
    attribution,
    entry,
    harms_of_data,
    tried,
)
from sway_gate.training_data import packaged

_MOVED, _CURVE, _STYLE = 8, 4, 6
"""Prompts per probe. Null adapters are measured on them too, so that they are few."""


def suite(material: Material) -> list[Entry | LeftOut]:
    """The entries of the suite. Harm probes first: damage is reported before missing effects.

    Raises UsageError if no probe can test whether the data was learned.
    """
    return [
        *_harms(material),
        *_effects(material),
        *attribution(material),
        *(found for choose in _OTHERS for found in choose(material)),
    ]


def _harms(material: Material) -> Chosen:
    yield entry("null_baseline", "null_adapter")
    yield entry("prose", "external_perplexity")
    yield entry("knowledge", "calibration_drift")
    yield entry("answers", "degeneration")
    yield from harms_of_data(material)


def _effects(material: Material) -> Chosen:
    yield entry("moved", "delta_kl", prompts=_prompts(material, _MOVED))
    yield entry("scale", "adapter_ablation", prompts=_prompts(material, _CURVE))


def _prompts(material: Material, limit: int) -> list[str]:
    """Prompts from the data; neutral prompts if the data has no usable one."""
    return prompts(material.sections, limit) or list(packaged.prompts()[:limit])


def _paraphrase_invariance(material: Material) -> Chosen:
    """Left out: mechanical paraphrases test nothing, and the real ones are held-out rows."""
    if material.held_out:
        reason = "generalization tests the held-out rows without null adapters"
    else:
        reason = "requires real paraphrases: add rows with --held-out, or write cases yourself"
    yield LeftOut("paraphrase_invariance", reason)


def _style_fingerprint(material: Material) -> Chosen:
    """Disabled unless a style was wanted: facts in the style of the base would fail."""
    own, is_wanted = openings(material.sections, _STYLE), material.learn == "form"
    if not own:
        yield LeftOut("style_fingerprint", "the data has no prose")
        return
    switch = {} if is_wanted else {"enabled": False}
    style = entry("style", "style_fingerprint", **switch, prompts=own)
    remarks = () if is_wanted else ("Enable it if training was meant to teach a style.",)
    yield tried(material, style._replace(remarks=remarks))


def _costly(_: Material) -> Chosen:
    for kind, reason in _COSTLY.items():
        yield LeftOut(kind, reason)


_COSTLY: Final = {
    "section_internalization": (
        "answer_specificity and answer_recall replace it; add it for a lift per section"
    ),
    "adapter_revert": "generates text under null adapters; generalization is faster",
    "cluster_kl": "measures 40 prompts under each null adapter; answer_specificity is faster",
    "prompt_collapse": "reads up to 1024 tokens per prompt; add it for use after long context",
}
"""Kinds that init does not write by default."""
_OTHERS: Final[tuple[Callable[[Material], Chosen], ...]] = (
    _paraphrase_invariance,
    _style_fingerprint,
    _costly,
)
