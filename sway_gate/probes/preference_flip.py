"""Did training teach the preferences: is the chosen answer now more likely than the rejected one?

For each triple of a prompt, a chosen and a rejected answer, in nats per token (normalized by
length, so that a longer answer is not less likely because of its length; as in SimPO, Meng et al.
2024):

    margin = mean log p(chosen | prompt) - mean log p(rejected | prompt)
    gain   = [margin(view) - margin(base)] · √(n / 10)

with n the tokens of the shorter answer, at least 10. DPO moves the likelihood of whole answers, so
that a token of a long answer gains less than one of a short answer. A drift of single tokens in no
direction grows as the root of their number.

Statistic: the share of triples with a gain above 0, which DPO training reports as the accuracy of
its implicit rewards (Rafailov et al. 2023). Test statistic: the mean gain.

Passes if z ≥ `assert_z_gte` and the one-sided 95% bounds are inside these limits: more than half of
the triples gain (Wilson 1927); and a mean gain of .1 (Student's t over triples; for few triples a
standard deviation of .3 counts as 4 more of them). That is .1 nats per token of an answer with 10
tokens, and .03 of one with 100. With at least
`min_triples_for_decision` triples on which the base was right (margin above 0), half of these must
still be right. With `assert_flip_rate_gte`, and as many triples on which the base was wrong, so
must be the share of these that is now right (flipped). It is not set by default: training such as
DPO moves the margin, and whether its sign changes depends on where the base started. A limit inside
the interval is inconclusive. It does not show whether the model would generate the chosen answer.

The margin can grow although the chosen answers become less likely, because the rejected ones do so
even more (Razin et al. 2024, arXiv 2410.08847). The probability then goes to text that is neither.
So the message states both changes in nats per token, and the report says so if both fell and the
chosen answers lost at least .1, scaled like the gain, significantly (one-sided, 5%).

- `triples:`, or otherwise the preference sections of the spec; skipped if there are none
- preferences in `held_out:`: those that repeat a training row are left out (see generalization);
  the message states how many of the others moved, and if they are at least 8, their mean gain must
  reach .05 (Student's t without further triples)
- passes: 24 of 24 triples moved toward the chosen answer; 4 of 16 flipped on which the
  base was wrong; nats per token: chosen +0.31, rejected -0.24; 11 of 12 held-out triples moved
- fails: 14 of 24 triples moved toward the chosen answer; mean gain 0.010

In a suite:

    - name: prefers
      kind: preference_flip
      triples:
        - prompt: How do you tell the time on the island?
          chosen: By the water.
          rejected: By the clock.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from sway_gate.conversation import prompt_text
from sway_gate.details import Details, Item
from sway_gate.measurements import LogProbs, ViewAnswers
from sway_gate.probes import _overlap as overlap
from sway_gate.probes._likelihood import per_token
from sway_gate.probes.base import Bound, Context, Kind, Need, Reading, Skip, TestStatistic
from sway_gate.results import Symptom
from sway_gate.spec.probes import MAX_OVERLAP, PreferenceFlip
from sway_gate.spec.schema import Preference, Section
from sway_gate.stats import Z_95, Floats, Prior, mean_above, share_above
from sway_gate.text import counted, number, signed

KIND = Kind(
    category="attribution",
    units="share",
    resolution=1e-4,
    min_null_sd=1e-3,
    better="more",
    suits="preference",
    symptom="learned another thing",
)

# Measured after DPO with answers of up to 10 tokens: .54 and .63, with a standard deviation of .15
# over triples.
_MIN_GAIN, _MIN_HELD_OUT_GAIN = 0.1, 0.05
_PRIOR = Prior(sd=0.3, df=4)
_SHORT = 10  # tokens
_MOST = 0.5
_MIN_HELD_OUT = 8
_SHOWN, _SHOWN_CHARS = 20, 200


class Triple(NamedTuple):
    chosen: LogProbs
    rejected: LogProbs


class Requests(NamedTuple):
    triples: list[Triple]
    held_out: list[Triple]

    @property
    def scored(self) -> list[LogProbs]:
        """All answers of the training rows."""
        return [request for triple in self.triples for request in triple]


class TripleMargin(Item, frozen=True, kw_only=True):
    prompt: str
    base_margin: float
    margin: float


class Found(Details, frozen=True, kw_only=True):
    """`moved`: triples with a gain above 0; `kept`: right before and still right. `scales`: the
    factor of each gain. `chosen_gains`, `rejected_gains`: change of the likelihood of each answer,
    in nats per token. `held_out_gains`: gains of triples that training did not see."""

    triples: int
    moved: int
    base_wrong: int
    flipped: int
    kept: int
    mean_gain_nats: float
    gains: list[float]
    scales: list[float]
    chosen_gains: list[float]
    rejected_gains: list[float]
    held_out_gains: list[float]
    weakest: list[TripleMargin]


def requests(spec: PreferenceFlip, context: Context) -> Requests:
    triples = list(spec.triples) or _preferences(context.sections)
    if not triples:
        raise Skip("no preference triples; add `triples:` or sections of kind preference")
    trained = Section(kind="preference", id="trained", pairs=tuple(triples))
    unseen = overlap.unseen(context.held_out, (*context.sections, trained), MAX_OVERLAP)
    return Requests(
        _scored(triples, context),
        _scored(list(dict.fromkeys(_preferences(unseen.sections))), context),
    )


def needs(spec: PreferenceFlip, requests: Requests) -> list[Need]:
    held_out = [Need(request, of_nulls=False) for triple in requests.held_out for request in triple]
    return [*map(Need, requests.scored), *held_out]


def value(
    spec: PreferenceFlip, context: Context, requests: Requests, view: ViewAnswers
) -> Reading[Found]:
    before, after = _likelihoods(view, requests.triples)
    base, own = _margins(before), _margins(after)
    scales = _scales(view, requests.triples)
    gains, wrong, right = scales * (own - base), base < 0, own > 0
    moved = gains > 0
    weakest = [
        TripleMargin(
            prompt=prompt_text(requests.triples[i].chosen.prompt)[:_SHOWN_CHARS],
            base_margin=float(base[i]),
            margin=float(own[i]),
        )
        for i in np.argsort(own, kind="stable")[:_SHOWN]
    ]
    found = Found(
        triples=len(base),
        moved=int(moved.sum()),
        base_wrong=int(wrong.sum()),
        flipped=int((wrong & right).sum()),
        kept=int((~wrong & (own >= 0)).sum()),
        mean_gain_nats=float(gains.mean()),
        gains=gains.tolist(),
        scales=scales.tolist(),
        chosen_gains=(after - before)[:, 0].tolist(),
        rejected_gains=(after - before)[:, 1].tolist(),
        held_out_gains=_held_out_gains(view, requests),
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
    if len(found.held_out_gains) >= _MIN_HELD_OUT:
        unseen = mean_above(found.held_out_gains, _MIN_HELD_OUT_GAIN, KIND.resolution)
        if gain.estimate >= _MIN_GAIN:
            symptom = "memorised, not generalised"
        n = len(found.held_out_gains)
        tests.append(Bound("held-out mean gain", unseen, _MIN_HELD_OUT_GAIN, symptom=symptom, n=n))
    return tests


def summary(spec: PreferenceFlip, reading: Reading[Found]) -> str:
    found = reading.details
    text = f"{found.moved} of {counted(found.triples, 'triple')} moved toward the chosen answer"
    if not found.base_wrong:
        text += "; the base was right on all"
    else:
        text += f"; {found.flipped} of {found.base_wrong} flipped on which the base was wrong"
    changes = [float(np.mean(x)) for x in (found.chosen_gains, found.rejected_gains)]
    digits = 2 if max(map(abs, changes)) >= _MIN_GAIN else 3
    chosen, rejected = (signed(change, digits) for change in changes)
    text += f"; nats per token: chosen {chosen}, rejected {rejected}"
    if found.held_out_gains:
        moved = sum(gain > 0 for gain in found.held_out_gains)
        text += f"; {moved} of {counted(len(found.held_out_gains), 'held-out triple')} moved"
    return text


def caveat(spec: PreferenceFlip, reading: Reading[Found]) -> str:
    """States that the chosen answers lost, if the margin grew only by the loss of the others."""
    found = reading.details
    losses = -np.array(found.scales) * found.chosen_gains
    lost = mean_above(losses, 0.0, KIND.resolution, _PRIOR)
    if lost.estimate < _MIN_GAIN or lost.z < Z_95 or float(np.mean(found.rejected_gains)) >= 0:
        return ""
    return (
        "does not judge what the model writes: the chosen answers became less likely too, by "
        f"{number(-float(np.mean(found.chosen_gains)), 2)} nats per token"
    )


def _share(quantity: str, k: int, n: int, limit: float, symptom: Symptom | None = None) -> Bound:
    return Bound(quantity, share_above(k / n, n, limit), limit, symptom=symptom, n=n)


def _preferences(sections: Sequence[Section]) -> list[Preference]:
    pairs = (pair for section in sections for pair in section.pairs)
    return [pair for pair in pairs if isinstance(pair, Preference)]


def _scored(preferences: Sequence[Preference], context: Context) -> list[Triple]:
    rows = [(context.row(one), one.rejected) for one in preferences]
    return [Triple(row.log_probs(), row.log_probs(row.other(text))) for row, text in rows]


def _held_out_gains(view: ViewAnswers, requests: Requests) -> list[float]:
    """The gains of the held-out triples; of a null adapter none, because they are not measured."""
    if not requests.held_out or view.view.source == "null":
        return []
    before, after = _likelihoods(view, requests.held_out)
    scales = _scales(view, requests.held_out)
    gains: list[float] = (scales * (_margins(after) - _margins(before))).tolist()
    return gains


def _likelihoods(view: ViewAnswers, triples: Sequence[Triple]) -> tuple[Floats, Floats]:
    """Log-likelihoods of chosen and rejected answers under the base and the view, in nats per
    token: two of [triples, 2]."""
    found = np.array([[per_token(view, request) for request in triple] for triple in triples])
    return found[..., 0], found[..., 1]


def _scales(view: ViewAnswers, triples: Sequence[Triple]) -> Floats:
    """The factors by which gains count, from the lengths of the answers [triples]."""
    lengths = [min(len(view.base(request)) for request in triple) for triple in triples]
    return np.sqrt(np.maximum(lengths, _SHORT) / _SHORT)


def _margins(likelihoods: Floats) -> Floats:
    return np.asarray(likelihoods[:, 0] - likelihoods[:, 1])
