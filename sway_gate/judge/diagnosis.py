"""The diagnosis: what the symptoms of all probes together say about the adapter.

Advice follows from a symptom only, never from the kind of a probe. `docs/diagnoses.md` has a
section for each diagnosis.
"""

from collections.abc import Collection, Iterable, Sequence
from typing import Final, Literal, NamedTuple

from msgspec import structs

from sway_gate import probes
from sway_gate.details import (
    CONTRADICTED,
    OWN_FACTS,
    VERBATIM,
    ContentGain,
    FormGain,
    Sections,
    TargetLosses,
    read,
)
from sway_gate.judge.composite import is_outside
from sway_gate.judge.waivers import has_expired, waiver_sentence
from sway_gate.results import Diagnosis, Finding, ProbeResult, Rule, Symptom, Verdict
from sway_gate.spec.schema import SectionKind
from sway_gate.text import named

Direction = Literal["more", "less", "neither"]


class Entry(NamedTuple):
    """A diagnosis: its name, what was seen, what to do, and whether that is to train more."""

    name: str
    sentence: str
    advice: str
    direction: Direction = "neither"

    @property
    def result(self) -> Diagnosis:
        return Diagnosis(name=self.name, sentence=self.sentence, advice=self.advice)


# By precedence: each explains the symptoms after it. A broken model fails every probe. Under a
# foreign template, and without training, nothing is learned. What was learned comes before its side
# effects, since they do not matter for an adapter that has not learned its data.
TABLE: Final[dict[Symptom, Entry]] = {
    "broken": Entry(
        "diverged or broken",
        "The adapter breaks the model: its output is not usable.",
        "train again with a lower learning rate, or reduce the scale (lora_alpha) of the adapter",
        "less",
    ),
    "template mismatch": Entry(
        "template mismatch",
        "The adapter was trained under other prompts than those under which it is served.",
        "serve it in the format of its training prompts, or train again with the chat template; "
        "defaults.prompt_format sets the format",
    ),
    "never trained": Entry(
        "never trained",
        "The adapter does not change the model more than random weights of its size.",
        "check that the training ran, that its learning rate was not too small, and that this is "
        "the adapter that it saved",
        "more",
    ),
    "barely trained": Entry(
        "barely trained",
        "The adapter changes the model too little: it has not learned its data yet.",
        "train for more steps, or with a higher learning rate",
        "more",
    ),
    "learned another thing": Entry(
        "learned another thing",
        "The adapter changed the model, but did not learn this data.",
        "check that the spec contains the training data of this adapter, and that each answer "
        "belongs to its prompt",
    ),
    "never ends": Entry(
        "never ends",
        "The adapter does not end its answers: they run on.",
        "train with the end-of-turn token after each answer, and with a loss on it: it has none if "
        "the padding token is the same token",
    ),
    "form, not content": Entry(
        "form, not content",
        "The adapter learned the form of the answers, but not their content.",
        "train for more epochs or with a higher rank; if only the form matters, set learn: form",
        "more",
    ),
    "wrong labels": Entry(
        "wrong labels",
        "The adapter writes the labels of the data, but often not the right one.",
        "train for more epochs or with a higher rank, and check that each label belongs to its "
        "prompt",
        "more",
    ),
    "memorised, not generalised": Entry(
        "memorised, not generalised",
        "The adapter reproduces its training rows, but not other wordings or other rows.",
        "train on more rows and more wordings, for fewer epochs",
        "less",
    ),
    "forgot": Entry(
        "forgot",
        "The adapter lost abilities of the base.",
        "mix general text into the training data, or reduce the learning rate or the number of "
        "steps",
        "less",
    ),
    "recites": Entry(
        "recites",
        "The adapter reproduces its training text verbatim.",
        "train for fewer steps and remove repeated text from the data; if a section should be "
        "reproduced, tag it with intent: memorize",
        "less",
    ),
    "refuses less": Entry(
        "refuses less",
        "The adapter complies with requests that the base refuses.",
        "mix refusals of harmful requests into the training data",
    ),
    "refuses more": Entry(
        "refuses more",
        "The adapter refuses harmless requests that the base answers.",
        "mix answers to harmless requests into the training data, and remove refusals from it",
    ),
    "irregular": Entry(
        "irregular response",
        "The output does not change smoothly with the scale of the adapter.",
        "see the response curve; reduce the learning rate, the rank or the scale",
        "less",
    ),
}
_ABOUT_FULL_MODELS: Final = (
    (", or reduce the scale (lora_alpha) of the adapter", ""),
    (", the rank or the scale", ""),
    (" or with a higher rank", ""),
    ("The adapter breaks the model", "The fine-tuned model is broken"),
    ("The adapter does not change the model more", "Training did not change the base more"),
    ("The adapter changes the model too little", "Training changed the base too little"),
    ("The adapter changes the model, but", "Training changed the base, but"),
    ("The adapter changed the model, but", "Training changed the base, but"),
    ("the scale of the adapter", "the scale of the change"),
    ("The adapter", "The fine-tuned model"),
    ("the adapter", "the model"),
    ("this adapter", "this model"),
)
_EXPLAIN_ALL: Final = tuple(
    TABLE[symptom].name for symptom in ("broken", "template mismatch", "never trained")
)
HEALTHY: Final = Entry("healthy", "The adapter learned its data, and no harm was found.", advice="")
NO_FAULT: Final = Entry("no fault found", "No tested rule is violated.", advice="")
BELOW: Final = Entry(
    "below the threshold",
    "No rule is violated, but the composite is below the threshold.",
    "see which probes have the lowest scores; if these results are good enough, set a lower "
    "threshold, otherwise improve them",
)
EXPIRED: Final = Entry(
    "waiver expired",
    "No rule is violated, but a waiver expired.",
    "fix what was waived, or renew the waiver; if there is nothing left to waive, remove it",
)
UNDECIDED: Final = Entry(
    "undecided",
    "No rule is violated, but the results are not sufficient to pass.",
    advice="",
)
_ORDER: Final = tuple(TABLE)
# By the name of the diagnosis. If an adapter is barely trained, its data is not at fault. If the
# data is at fault, no other learning rate helps.
_CONTRADICTED: Final[dict[str, Symptom]] = {
    TABLE["barely trained"].name: "learned another thing",
    TABLE["learned another thing"].name: "irregular",
    TABLE["never ends"].name: "broken",
    TABLE["refuses more"].name: "barely trained",
}
# Verdicts of the static check of the files; all others state that nothing was trained.
_BROKEN_FILES: Final = frozenset({"non-finite"})
_LEARNING: Final = "whether it learned its training data"
_UNKNOWN: Final = f" Not tested: {_LEARNING}."
_MOVEMENT: Final = frozenset({"adherence", "ablation"})
_HALF: Final = 0.5


def ranked(symptoms: Iterable[Symptom]) -> tuple[Symptom, ...]:
    """Distinct symptoms, in the order of precedence."""
    return tuple(sorted(set(symptoms), key=_ORDER.index))


def advice(symptoms: Sequence[Symptom]) -> str:
    """The advice of the first symptom; "" without one."""
    return TABLE[symptoms[0]].advice if symptoms else ""


def diagnose(
    results: Sequence[ProbeResult],
    findings: Sequence[Finding],
    verdict: str,
    untested: Collection[SectionKind] = (),
) -> Diagnosis:
    """The diagnosis from the symptoms of all probes, the verdict of the files, and the gate's.

    `untested`: the kinds of the data, if the suite has no probe that tests whether it was learned.
    """
    if symptom := _main(results, findings):
        found = TABLE[symptom].result
        if symptom == "barely trained":
            return _moved(found, results)
        return _toward_data(found, results) if symptom == "learned another thing" else found
    about_waivers = waiver_sentence(results, findings)
    outside = _outside(results)
    if verdict != "pass":
        entry = _without_symptom(results, findings, verdict)
        sentence = about_waivers or entry.sentence
        if about_waivers and entry is BELOW:
            sentence += " The composite is below the threshold."
        is_untested = entry is UNDECIDED and bool(untested)
        sentence += outside + (_UNKNOWN if is_untested else _unknown(results))
        suspected = _suspected(results)
        if suspected:
            sentence += f" If these estimates are right, the diagnosis is: {suspected}."
        remedy = _to_test(untested) if is_untested else entry.advice
        return structs.replace(entry.result, sentence=sentence, advice=remedy, suspected=suspected)
    missing = _untested(results)
    if not (missing or outside or about_waivers):
        return HEALTHY.result
    sentence = (about_waivers or NO_FAULT.sentence) + outside
    if missing:
        sentence += f" Not tested: {'; '.join(missing)}."
    return structs.replace(NO_FAULT.result, sentence=sentence)


def _without_symptom(
    results: Sequence[ProbeResult], findings: Sequence[Finding], verdict: str
) -> Entry:
    """Why a gate does not pass although no rule is violated. Only an error is undecided."""
    if verdict != "fail":
        return UNDECIDED
    return EXPIRED if has_expired(results, findings) else BELOW


def _main(results: Sequence[ProbeResult], findings: Sequence[Finding]) -> Symptom | None:
    decisive = {found.id for found in findings if _is_fault(found)}
    if decisive & _BROKEN_FILES:
        return "broken"
    if decisive:
        return "never trained"
    results = [result for result in results if result.verdict is not Verdict.WAIVED]
    found = _unexplained(symptom for result in results for symptom in result.symptoms)
    if not found:
        return None
    if found[0] in _of_movement(results):
        return found[0]
    if found[0] in ("never trained", "barely trained", "learned another thing"):
        if _is_overshot(results, found):
            return "broken"
        # A change that no probe of the movement finds too small was toward this data, or elsewhere.
        elsewhere: Symptom = "learned another thing"
        main = _toward(results) or (elsewhere if elsewhere in found else found[0])
        if main == "barely trained" and "refuses more" in found:
            return "refuses more"  # little training does not teach refusals
        # What carries over to held-out rows was trained enough: what is missing is the wording.
        return "form, not content" if main == "barely trained" and _carries_over(results) else main
    return found[0]


def _is_overshot(results: Sequence[ProbeResult], found: Sequence[Symptom]) -> bool:
    """Whether a change toward this data is much too large: own answers gained more than others, but
    half of the change or less fits them best, and at its full scale the base's abilities are lost.
    """
    is_too_large = any(0 < scale <= _HALF for scale in _best_scales(results))
    is_toward = _pairing(results) is Verdict.PASS and _has_content(results)
    is_harmful = {"irregular", "forgot"} <= {*found}
    return is_toward and is_too_large and is_harmful and not _has_other_facts(results, (OWN_FACTS,))


def _unexplained(symptoms: Iterable[Symptom]) -> tuple[Symptom, ...]:
    """Distinct symptoms in the order of precedence, without those that a later one explains.

    Answers that do not end run on until they loop: if nothing else is wrong, only the end is. What
    is recited does not generalise.
    """
    found = ranked(symptoms)
    if set(found) == {"broken", "never ends"}:
        return ("never ends",)
    if "recites" not in found:
        return found
    return tuple(one for one in found if one != "memorised, not generalised")


def _carries_over(results: Sequence[ProbeResult]) -> bool:
    """Whether own answers gained more than others, and held-out rows with the training rows."""
    passed = [result for result in results if result.verdict is Verdict.PASS]
    is_held_out = any(probes.module(r.kind).KIND.of_held_out for r in passed)
    return is_held_out and _has_content(results)


def _has_content(results: Sequence[ProbeResult]) -> bool:
    """Whether a probe that compares own answers with others passes."""
    return any(r.verdict is Verdict.PASS and read(r.details, ContentGain) for r in results)


def _toward(results: Sequence[ProbeResult]) -> Symptom | None:
    """Whether training went toward this data, by its loss at each scale and by the content gain.

    If training on this data was too short, more of the same change reduces the loss further, and
    own answers gained more than others, or the form is learned. None if the two do not agree. Own
    answers also gain if only their facts are wrong, exchanged between similar rows.
    """
    if _has_other_facts(results):
        return "learned another thing"
    scales = _best_scales(results)
    pairing = _pairing(results)
    if not scales:
        return None
    if scales[0] > 1:
        is_toward = _has_form(results) if pairing is None else pairing is Verdict.PASS
        return "barely trained" if is_toward else None
    is_elsewhere = pairing is not None and (scales[0] < 1 or pairing is not Verdict.PASS)
    return "learned another thing" if is_elsewhere else None


def _best_scales(results: Sequence[ProbeResult]) -> list[float]:
    """The scale at which the loss on the sections is lowest, of each probe that measures it."""
    losses = [found.target for r in results if (found := read(r.details, TargetLosses))]
    return [loss.best for loss in losses if loss.source == "sections"]


def _has_other_facts(
    results: Sequence[ProbeResult], names: tuple[str, ...] = (OWN_FACTS, CONTRADICTED, VERBATIM)
) -> bool:
    """Whether a rule of these names says that the facts are other ones."""
    rules = [rule for r in results if "learned another thing" in r.symptoms for rule in r.rules]
    return any(rule.name.startswith(names) and rule.verdict is Verdict.FAIL for rule in rules)


def _has_form(results: Sequence[ProbeResult]) -> bool:
    """Whether a probe that judges the form passes."""
    return any(r.verdict is Verdict.PASS and read(r.details, FormGain) for r in results)


def _pairing(results: Sequence[ProbeResult]) -> Verdict | None:
    """Whether own answers gained significantly more than others; None if no probe tests it."""
    judged = [result for result in results if read(result.details, ContentGain)]
    gains = [rule.verdict for result in judged for rule in result.rules if rule.name == "z"]
    return gains[0] if gains else None


def _moved(found: Diagnosis, results: Sequence[ProbeResult]) -> Diagnosis:
    """ "Barely trained", without the words that a passing probe of the movement contradicts."""
    if not any(r.category in _MOVEMENT and r.verdict is Verdict.PASS for r in results):
        return found
    others = [r for r in results if r.category not in _MOVEMENT]
    is_learned = not any(
        found.name in r.symptoms or (r.category == "attribution" and r.verdict is Verdict.FAIL)
        for r in others
    )
    if is_learned:
        missing = "too little for one of the probes"
    elif _pairing(results) in (Verdict.PASS, None):
        missing = "it has not learned its data yet"
    else:
        missing = "it has not learned its data yet, or this is not its data"
    return structs.replace(found, sentence=f"The adapter changes the model, but {missing}.")


def _toward_data(found: Diagnosis, results: Sequence[ProbeResult]) -> Diagnosis:
    """ "Learned another thing", without the words that a passing content gain contradicts."""
    if _pairing(results) is not Verdict.PASS or not _has_content(results):
        return found
    sentence = "The adapter changed the model toward this data, but it writes other answers."
    return structs.replace(found, sentence=sentence)


def _is_fault(found: Finding) -> bool:
    """Whether the adapter cannot work; a warning with an expired waiver does not say so."""
    return found.level == "verdict" and not (found.waiver and found.waiver.verdict is Verdict.WARN)


def _of_movement(results: Sequence[ProbeResult]) -> set[Symptom]:
    """The symptoms of the probes that measure whether the adapter changes the model."""
    return {s for result in results if result.category in _MOVEMENT for s in result.symptoms}


def _untested(results: Sequence[ProbeResult]) -> list[str]:
    """What no passing or waived probe tested."""
    passed = [r for r in results if r.verdict in (Verdict.PASS, Verdict.WAIVED)]
    untested = []
    if not any(result.category in (*_MOVEMENT, "attribution") for result in passed):
        untested.append("whether it changes the model")
    learned = [result for result in passed if result.category == "attribution"]
    if not learned:
        untested.append(_LEARNING)
    elif not any(map(_judges_answers, learned)):
        untested.append("whether its answers are right")
    if not any(probes.module(result.kind).KIND.harm for result in passed):
        untested.append("whether it harms the model")
    if left_out := [result.name for result in results if result.is_left_out]:
        untested.append(f"{named(left_out)}, for lack of time")
    return untested


def _judges_answers(result: ProbeResult) -> bool:
    """Whether an adapter with wrong answers fails it, or most of what it judges is prose."""
    lifts = read(result.details, Sections)
    of_prose = [section.kind == "prose" for section in lifts.sections] if lifts else []
    is_of_prose = bool(of_prose) and 2 * sum(of_prose) >= len(of_prose)
    return probes.module(result.kind).KIND.judges_answers or is_of_prose


def _to_test(data: Collection[SectionKind]) -> str:
    """The advice to add the probes that test whether this data was learned.

    If it has answers, they matter more than its prose.
    """
    is_prose = set(data) == {"prose"}
    wanted = [kind for kind in data if is_prose or kind != "prose"]
    names = [kind for kind in probes.TABLE if probes.is_known(kind) and _suits(kind) in wanted]
    return (
        "add probes that test whether the data was learned, such as "
        f"{' and '.join(names)}; sway init writes a suite that tests it"
    )


def _suits(kind: str) -> SectionKind | None:
    return probes.module(kind).KIND.suits


def _unknown(results: Sequence[ProbeResult]) -> str:
    """A sentence if the probes that test learning have no result."""
    found = [r.verdict for r in results if r.category == "attribution"]
    is_skipped = bool(found) and all(verdict is Verdict.SKIP for verdict in found)
    return _UNKNOWN if is_skipped else ""


def _outside(results: Sequence[ProbeResult]) -> str:
    """A sentence on the inconclusive probes that would fail if their estimates were exact."""
    names = [result.name for result in results if is_outside(result)]
    return f" Inconclusive, with an estimate outside its limit: {named(names)}." if names else ""


def _suspected(results: Sequence[ProbeResult]) -> str:
    """The name of the diagnosis if all inconclusive rules outside their limits were violated."""
    violated = [
        structs.replace(r, symptoms=r.suspected, rules=tuple(map(_as_violated, r.rules)))
        for r in results
    ]
    symptom = _main(violated, [])
    return TABLE[symptom].name if symptom else ""


def _as_violated(rule: Rule) -> Rule:
    if rule.verdict is not Verdict.WARN or rule.value is None or rule.limit is None:
        return rule
    is_outside = rule.value > rule.limit if rule.is_upper else rule.value < rule.limit
    return structs.replace(rule, verdict=Verdict.FAIL) if is_outside else rule


def about_full_model(text: str) -> str:
    """A sentence or an advice, about a fine-tuned model without an adapter."""
    for old, new in _ABOUT_FULL_MODELS:
        text = text.replace(old, new)
    return text


def consistent(results: Sequence[ProbeResult], found: Diagnosis) -> tuple[ProbeResult, ...]:
    """The results without advice that contradicts the diagnosis, or the other advice.

    Of "train more" and "train less" only one remains: the diagnosis's, or otherwise the one of the
    symptom with the highest precedence. More training does not help an adapter of other data.
    """
    by_name = {entry.name: entry.direction for entry in TABLE.values()}
    symptoms = ranked(result.symptoms[0] for result in results if result.symptoms)
    directions = [by_name.get(found.name, "neither"), *(TABLE[s].direction for s in symptoms)]
    if found.name == TABLE["learned another thing"].name:
        directions.insert(0, "less")
    kept = next((direction for direction in directions if direction != "neither"), "neither")
    return tuple(
        structs.replace(result, advice="")
        if result.symptoms and _contradicts(result.symptoms[0], found, kept)
        else result
        for result in results
    )


def _contradicts(symptom: Symptom, found: Diagnosis, kept: str) -> bool:
    """Whether the advice of the symptom contradicts the diagnosis, or the kept direction.

    A broken model fails all probes, and so does one under a foreign template. An adapter that was
    never trained has learned nothing.
    """
    if found.name in _EXPLAIN_ALL:
        return TABLE[symptom].name != found.name
    if _CONTRADICTED.get(found.name) == symptom:
        return True
    return TABLE[symptom].direction not in (kept, "neither")
