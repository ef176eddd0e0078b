"""Find the prompts and paraphrases with the weakest results of an adapter, for `sway mine`.

- paraphrase: for each case of the suite, or question of the data, the paraphrases with the smallest
  gain of the trained answer over the base. Candidates come from the suite and from fixed rules.
- outliers: the prompts of the suite and the data with the smallest and the largest change, by the
  z-score of their divergence compared with null adapters on the same prompt.

Each candidate is measured by a separate probe, `paraphrase_invariance` or `delta_kl`.
"""

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Final, NamedTuple

import msgspec

from sway_gate import details
from sway_gate.errors import CannotDecide, UsageError
from sway_gate.gate.resolve import Options, with_data
from sway_gate.gate.run import run_gate
from sway_gate.output import Progress, silent
from sway_gate.probes import module
from sway_gate.probes.paraphrase_invariance import Found
from sway_gate.probes.perturbations import perturbed
from sway_gate.results import ProbeResult, Verdict
from sway_gate.spec.probes import (
    AdapterRevert,
    Case,
    DeltaKL,
    ParaphraseInvariance,
    null_settings,
)
from sway_gate.spec.schema import Pair, ProbeSpec, Spec
from sway_gate.suites import prompts
from sway_gate.suites.paraphrases import paraphrases
from sway_gate.suites.yaml_writer import block, comment
from sway_gate.text import signed
from sway_gate.training_data.collected import thinned

_REWORDINGS: Final = 16
"""Paraphrases by rule per prompt."""
_FROM_DATA: Final = 48
"""Maximum of questions or prompts from the data."""
_NO_LIFT: Final = 0.02
"""In nats per token: an answer with no larger lift was not learned and cannot lose lift."""


class Mined(NamedTuple):
    """Result of a search.

    entries: text to paste below `suite:`; "" if nothing was found. kept: number of texts in it.
    tried: number of candidates.
    """

    entries: str
    kept: int
    tried: int
    notes: tuple[str, ...] = ()


class _Weak(NamedTuple):
    """Lift of an answer after a paraphrase and after the prompt (verbatim), in nats per token."""

    case: Case
    paraphrase: str
    verbatim: float
    lift: float

    @property
    def loss(self) -> float:
        return self.verbatim - self.lift


def weak_paraphrases(
    spec: Spec, limit: int, options: Options = Options(), progress: Progress = silent
) -> Mined:
    """At most `limit` paraphrases per case that reduce the lift of its answer, weakest first.

    Raises UsageError if there is no case, and all errors of a gate.
    """
    spec = with_data(spec)
    tried = [(case, other) for case in _cases(spec) for other in _others(case)]
    if not tried:
        message = "there is nothing to paraphrase; add cases, or data with questions"
        raise UsageError(f"{spec.label}: {message}")
    suite = []
    for i, (case, other) in enumerate(tried):
        one = msgspec.structs.replace(case, paraphrases=(other,))
        suite.append(ParaphraseInvariance(name=f"paraphrase {i + 1}", cases=(one,)))
    results = _judged(spec, suite, options, progress)
    measured = [
        _Weak(case, other, found.verbatim_lift, found.paraphrase_lift)
        for (case, other), result in zip(tried, results, strict=True)
        if (found := details.read(result.details, Found))
    ]
    weak = [w for w in measured if w.verbatim > _NO_LIFT and w.loss > 0]
    by_case = []
    for _, group in groupby(weak, key=lambda w: w.case):
        by_case.append(sorted(group, key=lambda w: -w.loss)[:limit])
    by_case.sort(key=lambda group: -group[0].loss)
    notes = _faults(results)
    if unlearned := len({(w.case.prompt, w.case.gold) for w in measured if w.verbatim <= _NO_LIFT}):
        note = f"left out answers without a gain after their own prompt: {unlearned}"
        notes = (note, *notes)
    entries = "".join(_case_entry(spec, by_case)) if by_case else ""
    return Mined(entries, sum(map(len, by_case)), len(tried), notes)


def outliers(
    spec: Spec, limit: int, options: Options = Options(), progress: Progress = silent
) -> Mined:
    """At most `limit` prompts, and at most half of all, with the smallest and the largest change.

    Raises UsageError if there is no prompt, and all errors of a gate.
    """
    spec = with_data(spec)
    pool = _pool(spec)
    if not pool:
        raise UsageError(f"{spec.label}: there is no prompt; add probes with prompts, or data")
    suite = [DeltaKL(name=f"prompt {i + 1}", prompts=(prompt,)) for i, prompt in enumerate(pool)]
    results = _judged(spec, suite, options, progress)
    found = zip(pool, results, strict=True)
    moved = [(prompt, result) for prompt, result in found if result.verdict is not Verdict.ERROR]
    # By z or, without null adapters, by the divergence.
    moved.sort(key=lambda pair: (pair[1].z or 0.0, pair[1].raw or 0.0))
    size = min(limit, max(1, len(moved) // 2))
    ends = {"least": moved[:size], "most": moved[size:][::-1][:size]}
    entries = "".join(_prompt_entry(spec, end, found) for end, found in ends.items() if found)
    return Mined(entries, sum(map(len, ends.values())), len(pool), _faults(results))


def _judged(
    spec: Spec, suite: Sequence[ProbeSpec], options: Options, progress: Progress
) -> tuple[ProbeResult, ...]:
    """Run `suite` instead of the spec's suite; only divergences use nulls.

    Raises CannotDecide if the adapter's files determine the verdict or no probe can be measured.
    """
    replace = msgspec.structs.replace
    nulls = null_settings(spec.suite)
    nulls = replace(nulls, calibrate_kinds=("delta_kl",), rank_multipliers=(1.0,))
    whole = replace(spec.defaults, budget=None)  # a part of the candidates has no weakest ones
    candidates = replace(spec, defaults=whole, suite=(nulls, *suite), data=(), dlm_source=None)
    result = run_gate(candidates, options, progress)
    if not result.probes:
        raise CannotDecide(f"nothing can be mined: {'; '.join(f.message for f in result.findings)}")
    if all(probe.verdict is Verdict.ERROR for probe in result.probes):
        raise CannotDecide(f"nothing can be measured: {result.probes[0].message}")
    return result.probes


def _faults(results: Sequence[ProbeResult]) -> tuple[str, ...]:
    faults = [result.message for result in results if result.verdict is Verdict.ERROR]
    return (f"could not be measured: {len(faults)}; the first: {faults[0]}",) if faults else ()


# --- candidates


def _cases(spec: Spec) -> list[Case]:
    """The suite's cases without duplicates; if there are none, questions of the data."""
    merged: dict[tuple[str, str], list[str]] = {}
    for probe in spec.suite:
        if probe.enabled and isinstance(probe, ParaphraseInvariance | AdapterRevert):
            for case in probe.cases:
                merged.setdefault((case.prompt, case.gold), []).extend(case.paraphrases)
    if not merged:
        pairs = [pair for section in spec.sections for pair in section.pairs]
        questions = [pair for pair in pairs if isinstance(pair, Pair)]
        merged = {(pair.prompt, pair.gold): [] for pair in thinned(questions, _FROM_DATA)}
    return [Case(prompt=p, gold=g, paraphrases=tuple(o)) for (p, g), o in merged.items()]


def _others(case: Case) -> list[str]:
    """The case's paraphrases, then those by rules: other forms, synonyms, another register."""
    swapped = perturbed(case.prompt, ("synonym_swap", "register_shift")).values()
    made = [*paraphrases(case.prompt, _REWORDINGS), *swapped]
    # Swapping synonyms turns "how many" into "how numerous", which is not English.
    valid = [text for text in made if "how numerous" not in text.lower()]
    others = dict.fromkeys([*case.paraphrases, *valid])
    return [other for other in others if other.split() != case.prompt.split()]


def _pool(spec: Spec) -> list[str]:
    found: list[str] = []
    for probe in spec.suite:
        if probe.enabled and probe.is_probe and not module(probe.kind).KIND.generates:
            found += getattr(probe, "prompts", ())
    found += prompts.prompts(spec.sections, _FROM_DATA)
    return list(dict.fromkeys(found))


# --- entries


def _case_entry(spec: Spec, by_case: Sequence[Sequence[_Weak]]) -> Iterator[str]:
    intents = [p.intent for p in spec.suite if p.enabled and isinstance(p, ParaphraseInvariance)]
    about = (
        "Lift of each answer over the base, in nats per token, and its loss with each paraphrase."
    )
    yield comment([about], 2)
    name, intent = _free_name(spec, "mined_paraphrases"), intents[0] if intents else "generalize"
    yield block([{"name": name, "kind": "paraphrase_invariance", "intent": intent}], 2)
    yield "    cases:\n"
    for weak in by_case:
        case = weak[0].case
        yield comment([f"{signed(weak[0].verbatim, 3)} after the prompt itself"], 6)
        yield block([{"prompt": case.prompt, "gold": case.gold}], 6)
        yield "        paraphrases:\n"
        for w in weak:
            lift = f"{signed(w.lift, 3)}, {w.loss:.3f} less"
            yield comment([lift], 10) + block([w.paraphrase], 10)


_CHANGE = {"least": "smallest", "most": "largest"}


def _prompt_entry(spec: Spec, end: str, found: Sequence[tuple[str, ProbeResult]]) -> str:
    about = f"Prompts with the {_CHANGE[end]} change: mean JS divergence from the base."
    fields = block([{"name": _free_name(spec, f"mined_moved_{end}"), "kind": "delta_kl"}], 2)
    prompts = (comment([_how_far(result)], 6) + block([prompt], 6) for prompt, result in found)
    return f"{comment([about], 2)}{fields}    prompts:\n{''.join(prompts)}"


def _how_far(result: ProbeResult) -> str:
    divergence = f"{result.raw:.3g} nats"
    if result.z is None:
        return divergence
    return f"{divergence}, {signed(result.z, 1)}σ compared with {result.n_null} nulls"


def _free_name(spec: Spec, name: str) -> str:
    """`name`, with a number if the suite already has that name."""
    taken = {probe.name for probe in spec.suite}
    free, i = name, 1
    while free in taken:
        i += 1
        free = f"{name}_{i}"
    return free
