"""Does the model respond to the adapter's scale λ as to a change that was learned, or by a step, a plateau, a crash?

The response curve: for each λ the mean Jensen-Shannon *distance* (√JS, a metric: Endres & Schindelin 2003; linear in λ
for small changes; √KL by `divergence`) of the model with λ times the adapter from the base, after each of the `prompts`
and along the base's own greedy answer, at `positions` places. The quarters up to λ = 1 are always measured, beside
`lambdas`.

Statistic: the curve at λ = 1; compared with the nulls' on the logarithm. The curve's shape must hold too:

- it responds at all (a distance of .02 at some λ ≤ 1), and does not fall by more than 5 % of its height up to λ = 1;
- no step: no stretch of .25 in λ rises more than 3 times as much as a straight line would;
- saturation: the λ at which it first reaches 90 % of its value at λ = 1 lies in `assert_saturation_between`;
- past 1: its value at the largest λ over that at λ = 1 is ≥ `assert_overshoot_gte` (less is asked short of λ = 1.25);
- linearity: R² of the straight line over the quarters ≥ `assert_linearity_gte`.

Where there is text to serve, the loss on it (nats per token) is followed over λ too, beside that on control prose: on
`held_out` text of the same kind that training did not see or, without it, on prose and instruction sections. An adapter
is overcooked when a λ ≤ .75 serves that text better than λ = 1 by more than .05 nats per token.

Passes when z ≥ `assert_z_gte` and all of this holds. Linear, gently concave and gently convex curves are healthy.
Without text it cannot tell what was learned; with sections alone it cannot tell learning from learning by heart.

- passes: 0, .14, .27, .38, .47, .54: R² .99, reaches 90 % at λ = .85, still rising at 1.25
- fails: 0, .45, .46, .46, .46, .46: saturated at a quarter of its scale
- fails: a straight curve, with losses 4.1, 1.8, 1.6, 2.1, 3.2: overcooked, λ = .5 serves its text best

In a suite; `top_k` is accepted and has no effect:

    - name: responds
      kind: adapter_ablation
      prompts: [The keeper of the sand road is, The island lives by]
"""

from typing import NamedTuple

import numpy as np
from msgspec import UNSET, UnsetType

from sway_gate.details import Details, Losses, Response
from sway_gate.measurements import Divergence, Floats, ViewAnswers
from sway_gate.probes._curve import QUARTERS, min_overshoot, shape
from sway_gate.probes._target import Target, losses, overcooked, target
from sway_gate.probes.base import Context, Kind, Need, Reading, require
from sway_gate.spec.probes import AdapterAblation

KIND = Kind(
    category="ablation",
    units="√nats",
    scale="log",
    resolution=1e-5,
    min_null_sd=0.02,
    # The size of the response says nothing about its shape, which the verdict tests.
    better="neither",
    advice="lower the learning rate or the rank, or serve the adapter at a smaller scale; see the response curve",
)

# A distance of .02 is a divergence of .0004 nats: no reader would see the difference.
_RESPONSE = 0.02
_FALL, _STEP = 0.05, 3.0


class Requests(NamedTuple):
    prompts: list[Divergence]
    target: Target | None
    lambdas: tuple[float, ...]
    """Ascending, without 0."""


class Found(Response, frozen=True, kw_only=True):
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
    return Reading(float(items.mean()), items, Details())


def details(
    spec: AdapterAblation, context: Context, requests: Requests, view: ViewAnswers
) -> Found:
    x = np.array([0.0, *requests.lambdas])
    y = np.array([0.0, *(_distances(requests, view, scale).mean() for scale in x[1:])])
    served = losses(requests.target, view, x) if requests.target else UNSET
    return Found(lambdas=x.tolist(), curve=y.tolist(), target=served, **shape(x, y)._asdict())


def minimum_effect(spec: AdapterAblation, reading: Reading[Found]) -> str:
    found, (low, high) = reading.details, spec.assert_saturation_between
    if found.height < _RESPONSE:
        return f"the model does not respond to the adapter: distance {found.height:.1g} at most, {_RESPONSE:g} is asked for"
    if found.target and (why := overcooked(found.target.best, found.target.excess)):
        return why
    if found.largest_fall > _FALL:
        return f"the curve falls by {found.largest_fall:.0%} of its height before λ = 1"
    if found.largest_step > _STEP:
        return (
            f"the curve jumps: its steepest step is {found.largest_step:.1f} times the mean slope"
        )
    if not low <= found.saturation <= high:
        return f"saturated: 90 % of the response is there at λ = {found.saturation:.2f}, outside {low:g} to {high:g}"
    least = min_overshoot(found.lambdas[-1], spec.assert_overshoot_gte)
    if found.overshoot is not None and found.overshoot < least:
        return f"past λ = 1 the response stops: {found.overshoot:.4g} of its value there, below {least:.4g}"
    if found.linearity < spec.assert_linearity_gte:
        return f"the curve is not smooth: R² {found.linearity:.2f} of a line, below {spec.assert_linearity_gte:g}"
    return ""


def summary(spec: AdapterAblation, reading: Reading[Found]) -> str:
    found = reading.details
    reached = f"90 % reached at λ = {found.saturation:.2f}"
    served = f", text served best at λ = {found.target.best:g}" if found.target else ""
    return f"R² {found.linearity:.2f}, {reached}, distance {reading.value:.3g} at λ = 1{served}"


def _distances(requests: Requests, view: ViewAnswers, scale: float) -> Floats:
    """Mean JS distance over the answer positions, for each prompt."""
    return np.array([np.sqrt(view.get(request, scale)).mean() for request in requests.prompts])
