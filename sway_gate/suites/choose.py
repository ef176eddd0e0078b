"""The suite of `sway init` and `sway autogen`: what the data supports, harm and size of the change.

Probes that cost more than their answer is worth in every gate are left out, with the reason.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import Any, Final

from sway_gate.spec.schema import Pair, Section
from sway_gate.suites.prompts import is_usable, openings, prompts
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
from sway_gate.training_data.load import thinned

_MOVED, _CURVE, _STYLE = 8, 4, 6
"""Prompts per probe. Null adapters are measured on them too, so that they are few."""
_CASES, _LEAST_CASES, _PARAPHRASES = 6, 3, 2
"""Cases of paraphrase_invariance (maximum, minimum), and paraphrases per case."""
_CASE_WORDS, _CASE_CHARS = 3, 1000
"""Words of an answer, from which on the same answer means the same question; its length."""


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
    cases = thinned(_cases(material), _CASES)
    if len(cases) >= _LEAST_CASES and not material.memorize:
        found = entry("other_words", "paraphrase_invariance", cases=cases)
        yield found._replace(remarks=("The paraphrases are held-out rows with the same answer.",))
    else:
        reason = f"requires {_LEAST_CASES} answers that held-out rows ask for in other words"
        yield LeftOut("paraphrase_invariance", reason)


def _cases(material: Material) -> list[dict[str, Any]]:
    """Questions of the data with the held-out prompts that have the same answer.

    Training saw the other rows of the data with the same answer: they would not test anything.
    """
    others: dict[str, list[str]] = defaultdict(list)
    for pair in _questions(material.held_out):
        others[_normal(pair.gold)].append(pair.prompt)
    found = []
    for pair in _questions(material.sections):
        # Each held-out row is used once.
        if unseen := [text for text in others.pop(_normal(pair.gold), ()) if text != pair.prompt]:
            paraphrases = unseen[:_PARAPHRASES]
            found.append({"prompt": pair.prompt, "gold": pair.gold, "paraphrases": paraphrases})
    return found


def _questions(sections: tuple[Section, ...]) -> Iterator[Pair]:
    """The rows that can be cases."""
    for section in sections:
        for pair in section.pairs if section.intent == "generalize" else ():
            if isinstance(pair, Pair) and _is_question(pair):
                yield pair


def _is_question(pair: Pair) -> bool:
    """Whether the answer is long enough to belong to one question only, and the row is usable."""
    is_own = len(pair.gold.split()) >= _CASE_WORDS and len(pair.gold) <= _CASE_CHARS
    return is_own and is_usable(pair.prompt + pair.gold)


def _normal(answer: str) -> str:
    """The answer without differences of case, space and final punctuation."""
    return " ".join(answer.casefold().split()).rstrip(".!")


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
