"""`sway mine`: the prompts and paraphrases under which an adapter is weakest, as entries for its suite.

- paraphrase: for each case of the suite, or question of the data, the other ways to ask after which the answer that
  was taught gains least over the base, of those in the suite and of those that fixed rules make;
- outliers: of all prompts of the suite and the data those after which the model moved least, and those after which it
  moved most, in the z of their divergence among what the null adapters change after the same prompt.

Each candidate is measured as a probe of its own, by `paraphrase_invariance` or `delta_kl`.
"""

from collections.abc import Iterator, Sequence
from itertools import chain, groupby
from typing import Final, NamedTuple

import msgspec

from sway_gate import details
from sway_gate.errors import CannotDecide, UsageError
from sway_gate.gate.resolve import Options, with_data
from sway_gate.gate.run import run_gate
from sway_gate.output import Progress, silent
from sway_gate.probes.paraphrase_invariance import Found
from sway_gate.probes.perturbations import perturbed
from sway_gate.results import ProbeResult, Verdict
from sway_gate.spec.probes import (
    AdapterAblation,
    AdapterRevert,
    Case,
    ClusterKL,
    DeltaKL,
    ParaphraseInvariance,
    PromptCollapse,
    null_settings,
)
from sway_gate.spec.schema import Pair, ProbeSpec, Spec
from sway_gate.suites import prompts
from sway_gate.suites.paraphrases import paraphrases
from sway_gate.suites.yaml_writer import block, comment
from sway_gate.training_data.load import thinned

_REWORDINGS: Final = 16
"""Of one prompt, that are tried."""
_FROM_DATA: Final = 48
"""Questions or prompts."""
_NO_LIFT: Final = 0.02
"""In nats per token: an answer that gained no more was not learned, and has nothing to lose."""


class Mined(NamedTuple):
    """entries: text to paste below `suite:`, "" where nothing was found. kept: so many texts, of `tried`."""

    entries: str
    kept: int
    tried: int
    notes: tuple[str, ...] = ()


class _Weak(NamedTuple):
    """A paraphrase and the lift of the answer after it and after its case's own prompt, in nats per token."""

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
    """At most `limit` paraphrases of each case that take lift from its answer, the weakest first. Raises UsageError
    where there is no case, and what a gate raises."""
    spec = with_data(spec)
    tried = [(case, other) for case in _cases(spec) for other in _others(case)]
    if not tried:
        raise UsageError(
            f"{spec.label}: there is nothing to ask in other words; give it cases, or data with questions"
        )
    suite = [_one_paraphrase(i, case, other) for i, (case, other) in enumerate(tried)]
    results = _judged(spec, suite, options, progress)
    measured = [
        _Weak(case, other, found.verbatim_lift, found.paraphrase_lift)
        for (case, other), result in zip(tried, results, strict=True)
        if (found := details.read(result.details, Found))
    ]
    weak = [w for w in measured if w.verbatim > _NO_LIFT and w.loss > 0]
    by_case = [
        sorted(group, key=lambda w: -w.loss)[:limit]
        for _, group in groupby(weak, key=lambda w: w.case)
    ]
    by_case.sort(key=lambda group: -group[0].loss)
    unlearned = len({(w.case.prompt, w.case.gold) for w in measured if w.verbatim <= _NO_LIFT})
    notes = (
        (f"answers that gained nothing after their own prompt, left out: {unlearned}",)
        if unlearned
        else ()
    )
    entries = "".join(_case_entry(spec, by_case)) if by_case else ""
    return Mined(entries, sum(map(len, by_case)), len(tried), notes + _faults(results))


def outliers(
    spec: Spec, limit: int, options: Options = Options(), progress: Progress = silent
) -> Mined:
    """At most `limit` prompts at each end, and never more than half of all. Raises UsageError where there is no prompt,
    and what a gate raises."""
    spec = with_data(spec)
    pool = _pool(spec)
    if not pool:
        raise UsageError(f"{spec.label}: there is no prompt; give it probes with prompts, or data")
    results = _judged(
        spec, [DeltaKL(name=str(i), prompts=(p,)) for i, p in enumerate(pool)], options, progress
    )
    moved = [
        (p, result)
        for p, result in zip(pool, results, strict=True)
        if result.verdict is not Verdict.ERROR
    ]
    moved.sort(key=lambda pair: _position(pair[1]))
    size = min(limit, max(1, len(moved) // 2))
    ends = {"least": moved[:size], "most": moved[size:][::-1][:size]}
    entries = "".join(_prompt_entry(spec, end, found) for end, found in ends.items() if found)
    return Mined(entries, sum(map(len, ends.values())), len(pool), _faults(results))


def _judged(
    spec: Spec, suite: Sequence[ProbeSpec], options: Options, progress: Progress
) -> tuple[ProbeResult, ...]:
    """The results of a suite of candidates in place of the spec's; only divergences need nulls. Raises CannotDecide where
    the adapter's files alone decide, or nothing can be measured."""
    nulls = msgspec.structs.replace(
        null_settings(spec.suite), calibrate_kinds=("delta_kl",), rank_multipliers=(1.0,)
    )
    result = run_gate(
        msgspec.structs.replace(spec, suite=(nulls, *suite), data=(), dlm_source=None),
        options,
        progress,
    )
    if not result.probes:
        raise CannotDecide(f"nothing can be mined: {'; '.join(f.message for f in result.findings)}")
    if all(probe.verdict is Verdict.ERROR for probe in result.probes):
        raise CannotDecide(f"nothing can be measured: {result.probes[0].message}")
    return result.probes


def _faults(results: Sequence[ProbeResult]) -> tuple[str, ...]:
    faults = [result.message for result in results if result.verdict is Verdict.ERROR]
    return (f"not measurable: {len(faults)}, the first since {faults[0]}",) if faults else ()


# ------------------------------------------------------------------------------------------------------- candidates


def _cases(spec: Spec) -> list[Case]:
    """The suite's cases, each prompt and answer once; else questions of the data."""
    own = [
        p for p in spec.suite if p.enabled and isinstance(p, ParaphraseInvariance | AdapterRevert)
    ]
    merged: dict[tuple[str, str], list[str]] = {}
    for case in chain.from_iterable(probe.cases for probe in own):
        merged.setdefault((case.prompt, case.gold), []).extend(case.paraphrases)
    if not merged:
        pairs = [
            pair for section in spec.sections for pair in section.pairs if isinstance(pair, Pair)
        ]
        merged = {(pair.prompt, pair.gold): [] for pair in thinned(pairs, _FROM_DATA)}
    return [
        Case(prompt=prompt, gold=gold, paraphrases=tuple(others))
        for (prompt, gold), others in merged.items()
    ]


def _others(case: Case) -> list[str]:
    """The case's paraphrases, then those that rules make: other forms, other words, another register."""
    made = (
        paraphrases(case.prompt, _REWORDINGS),
        perturbed(case.prompt, ("synonym_swap", "register_shift")).values(),
    )
    sound = (text for text in chain.from_iterable(made) if "how numerous" not in text.lower())
    others = dict.fromkeys([*case.paraphrases, *sound])
    return [other for other in others if other.split() != case.prompt.split()]


def _one_paraphrase(number: int, case: Case, other: str) -> ParaphraseInvariance:
    return ParaphraseInvariance(
        name=str(number), cases=(msgspec.structs.replace(case, paraphrases=(other,)),)
    )


def _pool(spec: Spec) -> list[str]:
    own = (
        probe.prompts
        for probe in spec.suite
        if probe.enabled
        and isinstance(probe, DeltaKL | ClusterKL | PromptCollapse | AdapterAblation)
    )
    return list(
        dict.fromkeys([*chain.from_iterable(own), *prompts.prompts(spec.sections, _FROM_DATA)])
    )


def _position(result: ProbeResult) -> tuple[float, float]:
    """Among the nulls, where there are some; else by the divergence itself."""
    return result.z or 0.0, result.raw or 0.0


# ---------------------------------------------------------------------------------------------------------- entries


def _case_entry(spec: Spec, by_case: Sequence[Sequence[_Weak]]) -> Iterator[str]:
    intents = [p.intent for p in spec.suite if p.enabled and isinstance(p, ParaphraseInvariance)]
    yield comment(
        ["The answers' lift over the base, in nats per token; what each paraphrase takes from it."],
        2,
    )
    name = _free_name(spec, "mined_paraphrases")
    yield block(
        [{"name": name, "kind": "paraphrase_invariance", "intent": (*intents, "generalize")[0]}], 2
    )
    yield "    cases:\n"
    for weak in by_case:
        case = weak[0].case
        yield comment([f"{weak[0].verbatim:+.3f} after the prompt itself"], 6)
        yield block([{"prompt": case.prompt, "gold": case.gold}], 6)
        yield "        paraphrases:\n"
        for w in weak:
            yield comment([f"{w.lift:+.3f}, {w.loss:.3f} less"], 10) + block([w.paraphrase], 10)


def _prompt_entry(spec: Spec, end: str, found: Sequence[tuple[str, ProbeResult]]) -> str:
    head = comment(
        [f"The prompts after which the model moved {end}: mean JS divergence from the base."], 2
    )
    fields = block([{"name": _free_name(spec, f"mined_moved_{end}"), "kind": "delta_kl"}], 2)
    prompts = (comment([_how_far(result)], 6) + block([prompt], 6) for prompt, result in found)
    return f"{head}{fields}    prompts:\n{''.join(prompts)}"


def _how_far(result: ProbeResult) -> str:
    return f"{result.raw:.3g} nats" + (
        "" if result.z is None else f", {result.z:+.1f}σ among {result.n_null} nulls"
    )


def _free_name(spec: Spec, name: str) -> str:
    """`name`, with a number where the suite has it already."""
    taken = {probe.name for probe in spec.suite}
    names = chain([name], (f"{name}_{i}" for i in range(2, len(taken) + 3)))
    return next(free for free in names if free not in taken)
