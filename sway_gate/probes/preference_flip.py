"""Did training teach the preferences: is the chosen answer now more likely than the rejected one?

For each triple of a prompt, a chosen and a rejected answer, in nats per token (normalized by
length, so that a longer answer is not less likely because of its length; as in SimPO, Meng et al.
2024):

    margin = mean log p(chosen | prompt) - mean log p(rejected | prompt)
    gain   = margin(view) - margin(base)

Statistic: the share of triples with a gain above 0, which DPO training reports as the accuracy of
its implicit rewards (Rafailov et al. 2023). Test statistic: the mean gain.

Passes if z ≥ `assert_z_gte` and the one-sided 95% bounds are inside these limits: more than half of
the triples gain (Wilson 1927); and a mean gain of .1 nats per token (Student's t over triples; for
few triples a standard deviation of .3 counts as 4 more of them). With at least
`min_triples_for_decision` triples on which the base was right (margin above 0), half of these must
still be right. With `assert_flip_rate_gte`, and as many triples on which the base was wrong, so
must be the share of these that is now right (flipped). It is not set by default: training such as
DPO moves the margin, and whether its sign changes depends on where the base started. A limit inside
the interval is inconclusive. It does not show whether the model would generate the chosen answer.

- `triples:`, or otherwise the preference sections of the spec; skipped if there are none
- passes: 24 of 24 triples moved toward the chosen answer; 4 of 16 flipped on which the
  base was wrong
- fails: 14 of 24 triples moved toward the chosen answer; mean gain 0.010

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
from sway_gate.stats import Prior, mean_above, share_above
from sway_gate.text import counted

KIND = Kind(
    category="attribution",
    units="share",
    resolution=1e-4,
    min_null_sd=1e-3,
    better="more",
    symptom="learned another thing",
)

# Nats per token. Measured after DPO: .54 and .63, with a standard deviation of .15 over triples.
_MIN_GAIN = 0.1
_PRIOR = Prior(sd=0.3, df=4)
_MOST = 0.5
_SHOWN, _SHOWN_CHARS = 20, 200


class Triple(NamedTuple):
    chosen: LogProbs
    rejected: LogProbs


class TripleMargin(Item, frozen=True, kw_only=True):
    prompt: str
    base_margin: float
    margin: float


class Found(Details, frozen=True, kw_only=True):
    """`moved`: triples with a gain above 0; `kept`: right before and still right."""

    triples: int
    moved: int
    base_wrong: int
    flipped: int
    kept: int
    mean_gain_nats: float
    gains: list[float]
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
    moved = gains > 0
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
        moved=int(moved.sum()),
        base_wrong=int(wrong.sum()),
        flipped=int((wrong & right).sum()),
        kept=int((~wrong & (own >= 0)).sum()),
        mean_gain_nats=float(gains.mean()),
        gains=gains.tolist(),
        weakest=weakest,
    )
    test_statistic = TestStatistic("mean gain", found.mean_gain_nats)
    return Reading(float(moved.mean()), moved.astype(np.float64), found, test_statistic)


def bounds(spec: PreferenceFlip, reading: Reading[Found]) -> list[Bound]:
    found = reading.details
    gain = mean_above(found.gains, _MIN_GAIN, KIND.resolution, _PRIOR)
    # A preference that turned around is not a lack of training.
    is_small = gain.estimate > -_MIN_GAIN
    symptom: Symptom = "barely trained" if is_small else "learned another thing"
    tests = [
        Bound("mean gain", gain, _MIN_GAIN, symptom=symptom, n=found.triples),
        _share("share that moved toward it", found.moved, found.triples, _MOST, symptom),
    ]
    right = found.triples - found.base_wrong
    if right >= spec.min_triples_for_decision:
        of = "share still right of those on which the base was right"
        tests.append(_share(of, found.kept, right, _MOST))
    limit = spec.assert_flip_rate_gte
    if limit is not None and found.base_wrong >= spec.min_triples_for_decision:
        tests.append(_share("share flipped", found.flipped, found.base_wrong, limit))
    return tests


def summary(spec: PreferenceFlip, reading: Reading[Found]) -> str:
    found = reading.details
    text = f"{found.moved} of {counted(found.triples, 'triple')} moved toward the chosen answer"
    if not found.base_wrong:
        return f"{text}; the base was right on all"
    return f"{text}; {found.flipped} of {found.base_wrong} flipped on which the base was wrong"


def _share(quantity: str, k: int, n: int, limit: float, symptom: Symptom | None = None) -> Bound:
    return Bound(quantity, share_above(k / n, n, limit), limit, symptom=symptom, n=n)


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
