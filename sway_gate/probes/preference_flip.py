"""Did training teach the preferences: is the chosen answer now more likely than the rejected one?

For each triple of a prompt, a chosen and a rejected answer, in nats per token (normalized by
length, so that a longer answer is not less likely because of its length; as in SimPO, Meng et al.
2024):

    margin = mean log p(chosen | prompt) - mean log p(rejected | prompt)
    gain   = margin(view) - margin(base)

The base is wrong on a triple if its margin is below 0; the triple is flipped if the view's margin
is above 0. Statistic: with at least `min_triples_for_decision` base-wrong triples, the share of
them that is flipped. With fewer, a share is not informative, and the statistic is the mean gain
over all triples. Test statistic in both cases: the mean gain.

Passes if z ≥ `assert_z_gte` and the one-sided 95% bounds are inside these limits: a mean gain of
.02 nats per token (Student's t over triples); the share of flipped triples of
`assert_flip_rate_gte` (Wilson 1927); and half of the triples on which the base was right still
right (if there are `min_triples_for_decision` of them). The limit of the share is low because
training such as DPO moves the margin, and the sign of a margin depends on where the base started. A
limit inside the interval is inconclusive. It does not show whether the model would generate the
chosen answer.

- `triples:`, or otherwise the preference sections of the spec; skipped if there are none
- passes: 9 of 10 base-wrong triples flipped; mean margin gain +0.410 nats per token over 14 triples
- inconclusive: 1 of 3 flipped, mean gain +1.400: too few triples for the share
- fails: 0 of 20 flipped, mean gain +0.050: the wording moved, the preference did not

In a suite:

    - name: prefers
      kind: preference_flip
      triples:
        - prompt: How do you tell the time on the island?
          chosen: By the water.
          rejected: By the clock.
"""

from typing import NamedTuple

import numpy as np

from sway_gate.conversation import prompt_text
from sway_gate.details import Details, Item
from sway_gate.measurements import LogProbs, ViewAnswers
from sway_gate.probes._likelihood import per_token
from sway_gate.probes.base import Bound, Context, Kind, Need, Reading, Skip, TestStatistic
from sway_gate.results import Symptom
from sway_gate.spec.probes import PreferenceFlip
from sway_gate.spec.schema import Preference
from sway_gate.stats import mean_above, share_above

KIND = Kind(
    category="attribution",
    units="share",
    resolution=1e-4,
    min_null_sd=1e-3,
    better="more",
    symptom="learned another thing",
)

# Nats per token: 2% of likelihood.
_MIN_GAIN = 0.02
_KEPT = 0.5
_SHOWN, _SHOWN_CHARS = 20, 200


class Triple(NamedTuple):
    chosen: LogProbs
    rejected: LogProbs


class TripleMargin(Item, frozen=True, kw_only=True):
    prompt: str
    base_margin: float
    margin: float


class Found(Details, frozen=True, kw_only=True):
    triples: int
    base_wrong: int
    flipped: int
    kept: int
    mean_gain_nats: float
    gains: list[float]
    judged: str
    weakest: list[TripleMargin]


def requests(spec: PreferenceFlip, context: Context) -> list[Triple]:
    triples = _preferences(spec, context)
    rows = [(context.row(triple), triple.rejected) for triple in triples]
    return [Triple(row.log_probs(), row.log_probs(row.other(text))) for row, text in rows]


def needs(spec: PreferenceFlip, requests: list[Triple]) -> list[Need]:
    return [Need(request) for triple in requests for request in triple]


def value(
    spec: PreferenceFlip, context: Context, requests: list[Triple], view: ViewAnswers
) -> Reading[Found]:
    margins = np.array([_margins(view, triple) for triple in requests])  # [triples, 2]
    base, own = margins.T
    gains, wrong, right = own - base, base < 0, own > 0
    gain = float(gains.mean())
    by_flips = wrong.sum() >= spec.min_triples_for_decision
    weakest = [
        TripleMargin(
            prompt=prompt_text(requests[i].chosen.prompt)[:_SHOWN_CHARS],
            base_margin=float(base[i]),
            margin=float(own[i]),
        )
        for i in np.argsort(own, kind="stable")[:_SHOWN]
    ]
    found = Found(
        triples=len(requests),
        base_wrong=int(wrong.sum()),
        flipped=int((wrong & right).sum()),
        kept=int((~wrong & (own >= 0)).sum()),
        mean_gain_nats=gain,
        gains=gains.tolist(),
        judged="flip rate" if by_flips else "mean gain",
        weakest=weakest,
    )
    if not by_flips:
        return Reading(gain, gains, found, units="nats/token")
    flips = right[wrong].astype(np.float64)
    return Reading(float(flips.mean()), flips, found, TestStatistic("mean gain", gain))


def bounds(spec: PreferenceFlip, reading: Reading[Found]) -> list[Bound]:
    found = reading.details
    gain = mean_above(found.gains, _MIN_GAIN, KIND.resolution)
    # A preference that turned around is not a lack of training.
    too_small: Symptom = "barely trained" if gain.estimate > -_MIN_GAIN else "learned another thing"
    tests = [Bound("mean gain", gain, _MIN_GAIN, symptom=too_small, n=found.triples)]
    if found.judged == "flip rate":
        limit = spec.assert_flip_rate_gte
        tests.append(_share("share flipped", found.flipped, found.base_wrong, limit))
    right = found.triples - found.base_wrong
    if right >= spec.min_triples_for_decision:
        of = "share still right of those on which the base was right"
        tests.append(_share(of, found.kept, right, _KEPT))
    return tests


def summary(spec: PreferenceFlip, reading: Reading[Found]) -> str:
    found = reading.details
    gain = (
        f"mean margin gain {found.mean_gain_nats:+.3f} nats per token over {found.triples} triples"
    )
    if found.judged == "flip rate":
        return f"{found.flipped} of {found.base_wrong} base-wrong triples flipped; {gain}"
    fewer = f"{found.base_wrong}, fewer than {spec.min_triples_for_decision}"
    return f"{gain}; judged by the gain, because the base is wrong on {fewer}"


def _share(quantity: str, k: int, n: int, limit: float) -> Bound:
    return Bound(quantity, share_above(k / n, n, limit), limit, n=n)


def _preferences(spec: PreferenceFlip, context: Context) -> list[Preference]:
    pairs = [pair for section in context.sections for pair in section.pairs]
    of_sections = [pair for pair in pairs if isinstance(pair, Preference)]
    if triples := list(spec.triples) or of_sections:
        return triples
    raise Skip("no preference triples; add `triples:` or sections of kind preference")


def _margins(view: ViewAnswers, triple: Triple) -> tuple[float, float]:
    """The margins of the base and of this view, in nats per token."""
    chosen, rejected = per_token(view, triple.chosen), per_token(view, triple.rejected)
    return chosen.base - rejected.base, chosen.view - rejected.view
