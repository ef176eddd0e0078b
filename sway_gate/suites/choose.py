"""Choose the probes that the training data supports, with reasons for those left out."""

import re
import statistics
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from typing import Any, Final, NamedTuple

import msgspec

from sway_gate.probes import module
from sway_gate.probes.base import CannotRun, Context, Skip
from sway_gate.spec.probes import KINDS, PreferenceFlip
from sway_gate.spec.schema import Intent, Pair, Preference, Section, SectionKind
from sway_gate.suites.paraphrases import paraphrases
from sway_gate.suites.prompts import MAX_CHARS, is_usable, openings, prompts
from sway_gate.training_data import packaged
from sway_gate.training_data.load import thinned

_MOVED, _CURVE, _BEHIND, _STYLE, _CASES = 12, 6, 6, 6, 8
"""Prompts or cases per probe."""
_OWN, _LEAST_OWN, _OTHER = 20, 10, 20
"""Prompts of cluster_kl: from the data (maximum, minimum), and about other subjects."""
_SHARED: Final = 1 / 3
_WORD: Final = re.compile(r"[^\W\d_]{4,}")
_FRAME_WORDS: Final = frozenset({
    "answer", "assistant", "completion", "context", "human", "input", "instruction", "output",
    "prompt", "question", "request", "response", "system", "user",
})  # fmt: skip
"""Labels that data formats add to a text."""
_MAX_ANSWER_CHARS: Final = 1000
_ORDERED_WORDS: Final = 4
"""Shuffling changes an answer with fewer words very little."""


class Material(NamedTuple):
    """The data for a suite.

    memorize: why all answers are meant to be memorized, or "". no_embeddings: why sentence
    embeddings are unavailable; "" if they are available.
    """

    sections: tuple[Section, ...]
    memorize: str = ""
    no_embeddings: str = ""

    def of(self, *kinds: SectionKind) -> list[Section]:
        return [section for section in self.sections if section.kind in kinds]


class Entry(NamedTuple):
    """An entry of `suite:`, with remarks for its comment."""

    fields: dict[str, Any]
    remarks: tuple[str, ...] = ()


class LeftOut(NamedTuple):
    kind: str
    reason: str


Chosen = Iterator[Entry | LeftOut]


def suite(material: Material) -> list[Entry | LeftOut]:
    """The entries of the suite. Harm probes first: damage is reported before missing effects."""
    return [found for choose in _CHOICES for found in choose(material)]


def _calibration(_: Material) -> Chosen:
    yield _entry("null_baseline", "null_adapter")
    yield _entry("kept_prose", "external_perplexity", chunk_chars=512, max_chunks=16)
    yield _entry("kept_knowledge", "calibration_drift")


def _leakage(material: Material) -> Chosen:
    yield _tried(material, _entry("recites_nothing", "leakage"))


def _delta_kl(material: Material) -> Chosen:
    yield _entry("moved_from_base", "delta_kl", prompts=_prompts(material, _MOVED))


def _section_internalization(material: Material) -> Chosen:
    kind = "section_internalization"
    learned = [learned for learned in _LEARNED if _are_ordered(material.of(learned))]
    if learned and len(material.of(*learned)) == len(material.sections):
        yield _entry("learned_the_data", kind)
    elif learned:
        yield _entry("learned_the_data", kind, include_kinds=learned)
    elif material.of(*_LEARNED):
        yield LeftOut(kind, "shuffling the words of such short texts changes too little")
    else:
        yield LeftOut(kind, "preference training may lower the likelihood of both answers")


_LEARNED: Final[tuple[SectionKind, ...]] = ("prose", "instruction")


def _are_ordered(sections: Sequence[Section]) -> bool:
    """Whether most of the texts have enough words for their order to matter."""
    lengths = []
    for section in sections:
        golds = [pair.gold for pair in section.pairs if isinstance(pair, Pair)]
        lengths.append(len((section.content or " ".join(golds)).split()))
    return bool(lengths) and statistics.median(lengths) >= _ORDERED_WORDS


def _paraphrase_invariance(material: Material) -> Chosen:
    kind = "paraphrase_invariance"
    generalize, memorize = _cases(material, "generalize"), _cases(material, "memorize")
    if generalize:
        yield _entry("answers_other_words", kind, cases=generalize)
    if memorize:
        entry = _entry(
            "answers_by_heart",
            kind,
            intent="memorize",
            # An answer that is also known in other words is not a fault.
            max_generalization_ratio_if_memorize=1.5,
            cases=memorize,
        )
        remark = material.memorize or "The data marks these examples with intent: memorize."
        yield entry._replace(remarks=(remark,))
    if not (generalize or memorize):
        yield LeftOut(kind, _no_cases(material))


def _no_cases(material: Material) -> str:
    questions = material.of("instruction")
    if not questions:
        return "the data has no questions with answers"
    if all(_intent(material, section) == "memorize" for section in questions):
        return "its answers are meant to be memorized for the exact question"
    return "the rules for paraphrases need a short question in English with a short answer"


def _preference_flip(material: Material) -> Chosen:
    least = PreferenceFlip(name="preference_flip").min_triples_for_decision
    triples = sum(len(section.pairs) for section in material.of("preference"))
    if triples >= least:
        yield _entry("prefers_the_chosen", "preference_flip")
    else:
        reason = f"requires {least} preferences; the data has {triples or 'none'}"
        yield LeftOut("preference_flip", reason)


def _prompt_collapse(material: Material) -> Chosen:
    yield _entry("holds_in_context", "prompt_collapse", prompts=_prompts(material, _BEHIND))


def _style_fingerprint(material: Material) -> Chosen:
    """Disabled: a healthy adapter that learned facts in the style of the base would fail."""
    own = openings(material.sections, _STYLE)
    style = _entry("writes_like_the_text", "style_fingerprint", enabled=False, prompts=own)
    remark = "Enable it if training was meant to teach a style."
    yield _tried(material, style._replace(remarks=(remark,)))


def _adapter_revert(material: Material) -> Chosen:
    cases = _cases(material, "generalize")
    if material.no_embeddings:
        yield LeftOut("adapter_revert", material.no_embeddings)
    elif not cases:
        yield LeftOut("adapter_revert", _no_cases(material))
    else:
        fields = {"max_new_tokens": 48, "assert_revert_rate_lt": 0.5, "cases": cases}
        yield _entry("answers_as_taught", "adapter_revert", **fields)


def _cluster_kl(material: Material) -> Chosen:
    kind = "cluster_kl"
    own = prompts(material.sections, _OWN)
    subject = _subject(material.of("prose", "instruction"))
    if material.no_embeddings:
        yield LeftOut(kind, material.no_embeddings)
    elif len(own) < _LEAST_OWN:
        yield LeftOut(kind, f"requires {_LEAST_OWN} prompts; the data yields {len(own)}")
    elif not subject:
        reason = "the texts share no subject; such training may change all prompts equally"
        yield LeftOut(kind, reason)
    else:
        general = [prompt for prompt, _ in packaged.knowledge()[:_OTHER]]
        entry = _entry("changed_its_subject", kind, prompts=own + general)
        remark = (
            f"Subject, by frequent words: {subject}. The later prompts are about other subjects."
        )
        yield entry._replace(remarks=(remark,))


def _subject(sections: Sequence[Section]) -> str:
    """Words that many texts share and that general prose does not contain; "" if there are none."""
    counts = Counter(word for section in sections for word in _distinctive(section))
    enough = max(3, _SHARED * len(sections))
    return ", ".join(word for word, count in counts.most_common(3) if count >= enough)


def _distinctive(section: Section) -> list[str]:
    texts = [section.content]
    for pair in section.pairs:
        texts += msgspec.structs.astuple(pair)
    words = {word.lower() for text in texts for word in _WORD.findall(text[:MAX_CHARS])}
    return sorted(words - _general() - _FRAME_WORDS)


@cache
def _general() -> frozenset[str]:
    return frozenset(word.lower() for text in packaged.prose() for word in _WORD.findall(text))


def _adapter_ablation(material: Material) -> Chosen:
    yield _entry("grows_with_scale", "adapter_ablation", prompts=_prompts(material, _CURVE))


_CHOICES: Final[tuple[Callable[[Material], Chosen], ...]] = (
    _calibration,
    _leakage,
    _delta_kl,
    _section_internalization,
    _paraphrase_invariance,
    _preference_flip,
    _prompt_collapse,
    _style_fingerprint,
    _adapter_revert,
    _cluster_kl,
    _adapter_ablation,
)


def _entry(name: str, kind: str, **fields: Any) -> Entry:
    return Entry({"name": name, "kind": kind, **fields})


def _tried(material: Material, entry: Entry) -> Entry | LeftOut:
    """The entry if the data supports its probe, otherwise the probe's reason."""
    kind = entry.fields["kind"]
    try:
        module(kind).requests(
            msgspec.convert(entry.fields, KINDS[kind]), Context(material.sections)
        )
    except (CannotRun, Skip) as reason:
        return LeftOut(kind, str(reason))
    return entry


def _prompts(material: Material, limit: int) -> list[str]:
    """Prompts from the data; neutral prompts if the data has no usable one."""
    return prompts(material.sections, limit) or list(packaged.prompts()[:limit])


def _cases(material: Material, intent: Intent) -> list[dict[str, Any]]:
    """Some questions with that intent, evenly spread, each with paraphrases."""
    found = []
    for section in material.sections:
        if _intent(material, section) == intent:
            found += [case for pair in section.pairs if (case := _case(pair))]
    return thinned(found, _CASES)


def _case(pair: Pair | Preference) -> dict[str, Any] | None:
    """A case; None for a preference, an unusable text or a question without paraphrases."""
    if not isinstance(pair, Pair) or not is_usable(pair.prompt + pair.gold):
        return None
    if len(pair.gold) > _MAX_ANSWER_CHARS:
        return None
    others = paraphrases(pair.prompt)
    return {"prompt": pair.prompt, "gold": pair.gold, "paraphrases": others} if others else None


def _intent(material: Material, section: Section) -> Intent:
    return "memorize" if material.memorize else section.intent
