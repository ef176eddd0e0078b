"""Does the output change smoothly as the adapter is scaled from 0 past 1?

The response curve: for each scale λ of the adapter, the mean distance from the base in nats: the
standard deviation, over the base's next-token distribution p, of the log-ratio ln q - ln p. If the
adapter adds λ d to the logits, the distance is λ times the standard deviation of d: it is linear in
λ at every size and has no maximum, so that strong learning bends it no more than weak learning.
`divergence: js` or `kl` uses √JS or √KL instead, which are linear for small changes only; √JS ends
at .83. The distance is measured after each of the `prompts`, teacher-forced along the base's own
greedy answer, at `positions` token positions. The quarters up to λ = 1 are always measured in
addition to `lambdas`.

Statistic: the curve at λ = 1; compared with the nulls on the log scale. Two limits are tested with
their one-sided 95% bounds, and a limit inside the interval is inconclusive:

- response: the mean distance over prompts at the λ ≤ 1 at which it is largest must be above .05
  nats (.02 with js or kl; Student's t of its logarithm, with a prior for few prompts);
- overtrained: the loss on the target text at λ = 1 minus the loss at the λ ≤ .75 with the lowest
  loss must be below .05 nats per token (Student's t over texts, with a prior for few texts).

With a response, the shape of the curve must also be regular. These are rules without an interval:

- no fall by more than 5% of the height up to λ = 1;
- no step: no interval of .25 in λ rises more than 3 times as much as a straight line would;
- saturation: the λ at which the curve first reaches 90% of its value at λ = 1 lies in
  `assert_saturation_between`;
- past 1: the value at the largest λ over the value at λ = 1 is ≥ `assert_overshoot_gte`; a limit
  above 1 is lower if the curve ends before λ = 1.25;
- linearity: R² of the straight line over the quarters is ≥ `assert_linearity_gte`, unless the loss
  on the target text is lowest at λ = 1 or above: strong learning bends the curve.

The target text is `held_out` text of the same kind that training did not see, or otherwise prose
and instruction sections: 6, or up to 24 short ones, such as rows with labels. If their loss rises
from λ = 0 on, the adapter learned other data or other answers, and is not overtrained. The loss
(nats per token) and the loss on control prose are measured at each λ. Without a target text,
overtraining is not tested.

Passes if z ≥ `assert_z_gte`, both limits are met and these rules hold. Linear, slightly concave and
slightly convex curves are regular. Without a target text it does not show what was learned; with
sections only, it does not distinguish learning from memorization.

- passes: 0, .98, 2.1, 2.9, 3.2, 3.4: R² .97, reaches 90% at λ = .78, still rising at 1.25
- fails: 0, 3.2, 3.3, 2.6, 1.8, 1.9: the curve falls before λ = 1 (alpha × 4)
- fails: a straight curve with losses 4.1, 1.8, 1.6, 2.1, 3.2: overtrained, lowest loss at λ = .5

In a suite; `top_k` is accepted and has no effect:

    - name: responds
      kind: adapter_ablation
      prompts: [The keeper of the sand road is, The island lives by]
"""

from typing import NamedTuple

import numpy as np
from msgspec import UNSET, UnsetType

from sway_gate.details import Details, Losses, Response
from sway_gate.measurements import Divergence, DivergenceKind, Floats, ViewAnswers
from sway_gate.probes._curve import QUARTERS, min_overshoot, shape
from sway_gate.probes._target import Target, losses, supply, target
from sway_gate.probes.base import Bound, Context, Kind, Need, Reading, Shortfall, require
from sway_gate.spec.probes import AdapterAblation
from sway_gate.stats import Margin, Prior, mean_above, positive_mean_above

KIND = Kind(
    category="ablation",
    units="nats",
    scale="log",
    resolution=1e-5,
    min_null_sd=0.02,
    # The verdict tests the shape of the response, of which its size is independent.
    better="neither",
    null_sd_prior=Prior(sd=0.14, df=20),
    symptom="never trained",
)

# A √JS of .02 is a divergence of .0004 nats, which no reader would notice; for small changes the
# standard deviation of the log-ratio is √8 √JS.
_RESPONSE: dict[DivergenceKind, float] = {"log_ratio": 0.05, "js": 0.02, "kl": 0.02}
_FALL, _STEP = 0.05, 3.0
_OVERTRAINED_NATS = 0.05
# Distances of prompts differ by this share of their mean, and excess losses of texts by this many
# nats per token. Measured on the demo's adapter at several scales: .75, and .06 to .12. The priors
# weigh like 5 items.
_PROMPTS, _TEXTS = Prior(sd=0.7, df=4), Prior(sd=0.1, df=4)


class Requests(NamedTuple):
    prompts: list[Divergence]
    target: Target | None
    lambdas: tuple[float, ...]
    """Ascending, without 0."""


class Found(Response, frozen=True, kw_only=True):
    """`highest`: the λ ≤ 1 with the largest distance; `distances`: of each prompt at this λ."""

    highest: float
    distances: list[float]
    linearity: float
    largest_step: float
    largest_fall: float
    saturation: float
    overshoot: float | None
    target: Losses | UnsetType = UNSET

    @property
    def height(self) -> float:
        """The largest distance up to λ = 1."""
        return max(y for x, y in zip(self.lambdas, self.curve, strict=True) if x <= 1)


def requests(spec: AdapterAblation, context: Context) -> Requests:
    require(spec.prompts, "prompts")
    prompts = [context.divergence(prompt, spec) for prompt in spec.prompts]
    lambdas = tuple(sorted({*spec.lambdas, *QUARTERS} - {0.0}))
    return Requests(prompts, target(spec.held_out, context), lambdas)


def needs(spec: AdapterAblation, requests: Requests) -> list[Need]:
    curve = [Need(request, requests.lambdas) for request in requests.prompts]
    scored = requests.target.requests() if requests.target else []
    return curve + [Need(request, requests.lambdas, of_nulls=False) for request in scored]


def value(
    spec: AdapterAblation, context: Context, requests: Requests, view: ViewAnswers
) -> Reading[Details]:
    items = _distances(requests, view, 1.0)
    units = "nats" if spec.divergence == "log_ratio" else "√nats"
    return Reading(float(items.mean()), items, Details(), units=units)


def details(
    spec: AdapterAblation, context: Context, requests: Requests, view: ViewAnswers
) -> Found:
    x = np.array([0.0, *requests.lambdas])
    by_prompt = [_distances(requests, view, scale) for scale in x[1:]]
    y = np.array([0.0, *(distances.mean() for distances in by_prompt)])
    highest = int(np.where(x <= 1.0, y, -1.0)[1:].argmax())
    target_losses = losses(requests.target, view, x) if requests.target else UNSET
    return Found(
        lambdas=x.tolist(),
        curve=y.tolist(),
        highest=float(x[1:][highest]),
        distances=by_prompt[highest].tolist(),
        target=target_losses,
        **shape(x, y)._asdict(),
    )


def bounds(spec: AdapterAblation, reading: Reading[Found]) -> list[Bound]:
    found, least = reading.details, _RESPONSE[spec.divergence]
    distance = positive_mean_above(found.distances, least, KIND.resolution, _PROMPTS)
    response = f"distance at scale {found.highest:g}"
    tests = [Bound(response, distance, least, symptom="barely trained")]
    return [*tests, _overtrained(found.target)] if found.target else tests


def _overtrained(target: Losses) -> Bound:
    # Training on these sections would reduce their loss first.
    is_away = target.source == "sections" and target.best_below == 0
    lower = [-excess for excess in target.excess_by_text]
    test = mean_above(lower, -_OVERTRAINED_NATS, KIND.resolution, _TEXTS)
    quantity = f"loss on its text at scale 1 minus the loss at scale {target.best_below:g}"
    return Bound(
        quantity,
        Margin(test.z, -test.bound, -test.estimate),
        _OVERTRAINED_NATS,
        is_upper=True,
        symptom="learned another thing" if is_away else "irregular",
        n=len(lower),
        supply=supply(target),
    )


def minimum_effect(spec: AdapterAblation, reading: Reading[Found]) -> Shortfall:
    why = _irregular(spec, reading.details) if _has_response(spec, reading.details) else ""
    return Shortfall(why, "irregular")


def _has_response(spec: AdapterAblation, found: Found) -> bool:
    """Whether the curve is high enough to have a shape."""
    return found.height >= _RESPONSE[spec.divergence]


def _irregular(spec: AdapterAblation, found: Found) -> str:
    """The rule of the curve's shape that is violated; "" if all hold."""
    low, high = spec.assert_saturation_between
    if found.largest_fall > _FALL:
        return f"the curve falls by {found.largest_fall:.0%} of its height before scale 1"
    if found.largest_step > _STEP:
        steepest = f"its steepest step is {found.largest_step:.1f} times the mean slope"
        return f"the curve jumps: {steepest}"
    if not low <= found.saturation <= high:
        return (
            f"saturated: 90% of the response is reached at scale {found.saturation:.2f}, must be "
            f"{low:g} to {high:g}"
        )
    least = min_overshoot(found.lambdas[-1], spec.assert_overshoot_gte)
    if found.overshoot is not None and found.overshoot < least:
        return (
            f"the response falls past scale 1: {found.overshoot:.4g} times its value at 1, must be "
            f"at least {least:.4g}"
        )
    # Strong learning bends the curve: a label that is certain cannot become more certain.
    is_learning = isinstance(found.target, Losses) and found.target.best >= 1
    if found.linearity < spec.assert_linearity_gte and not is_learning:
        return (
            f"the curve is not smooth: R² {found.linearity:.2f} of a straight line, must be at "
            f"least {spec.assert_linearity_gte:g}"
        )
    return ""


def summary(spec: AdapterAblation, reading: Reading[Found]) -> str:
    found = reading.details
    parts = []
    if _has_response(spec, found):
        straight = f"R² {found.linearity:.2f} of a straight line"
        parts.append(f"{straight}, 90% of the response at scale {found.saturation:.2f}")
    if found.target:
        parts.append(f"lowest loss on its text at scale {found.target.best:g}")
    return "; ".join(parts)


def _distances(requests: Requests, view: ViewAnswers, scale: float) -> Floats:
    """Mean distance over the answer positions, for each prompt."""
    return np.array([_distance(view, request, scale) for request in requests.prompts])


def _distance(view: ViewAnswers, request: Divergence, scale: float) -> float:
    found = view.get(request, scale)
    return float((found if request.divergence == "log_ratio" else np.sqrt(found)).mean())
