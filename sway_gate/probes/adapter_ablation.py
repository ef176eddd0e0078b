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

import numpy as np

from sway_gate.measurements import FINETUNED, Divergence, Floats, ViewAnswers
from sway_gate.probes._curve import QUARTERS, overshoot_asked, shape
from sway_gate.probes._target import losses, overcooked, target
from sway_gate.probes.base import Context, Need, Reading, require
from sway_gate.spec.probes import AdapterAblation

CATEGORY = "ablation"
UNITS = "√nats"
HARM = False
GENERATES = False
PARTS = ""
PRIOR = None
SCALE = "log"
RESOLUTION = 1e-5
FLOOR = 0.02
ADVICE = "lower the learning rate or the rank, or serve the adapter at a smaller scale; see the response curve"

# A distance of .02 is a divergence of .0004 nats: no reader would see the difference.
_RESPONSE = 0.02
_FALL, _STEP = 0.05, 3.0


def needs(spec: AdapterAblation, context: Context) -> list[Need]:
    require(spec.prompts, "prompts")
    curve = [Need(request, _lambdas(spec)) for request in _prompts(spec, context)]
    served = target(spec, context)
    return curve + [
        Need(r, _lambdas(spec), of_nulls=False) for r in (served.requests() if served else ())
    ]


def value(spec: AdapterAblation, context: Context, view: ViewAnswers) -> Reading:
    prompts = _prompts(spec, context)
    items = _distances(prompts, view, 1.0)
    if view.view != FINETUNED:
        return Reading(float(items.mean()), items, {})
    x = np.array([0.0, *_lambdas(spec)])
    curve = np.array([0.0, *(_distances(prompts, view, scale).mean() for scale in x[1:])])
    details = {"lambdas": x.tolist(), "curve": curve.tolist(), **shape(x, curve)}
    if served := target(spec, context):
        details["target"] = losses(served, view, x)
    return Reading(float(items.mean()), items, details)


def rule(spec: AdapterAblation, reading: Reading) -> str:
    curve = reading.details
    x, low, high = np.array(curve["lambdas"]), *spec.assert_saturation_between
    if (
        height := max(y for y, scale in zip(curve["curve"], x, strict=True) if scale <= 1)
    ) < _RESPONSE:
        return f"the model does not respond to the adapter: distance {height:.1g} at most, {_RESPONSE:g} is asked for"
    if "target" in curve and (
        why := overcooked(curve["target"]["best"], curve["target"]["excess"])
    ):
        return why
    if curve["largest_fall"] > _FALL:
        return f"the curve falls by {curve['largest_fall']:.0%} of its height before λ = 1"
    if curve["largest_step"] > _STEP:
        return f"the curve jumps: its steepest step is {curve['largest_step']:.1f} times the mean slope"
    if not low <= curve["saturation"] <= high:
        return f"saturated: 90 % of the response is there at λ = {curve['saturation']:.2f}, outside {low:g} to {high:g}"
    if curve["overshoot"] is not None and curve["overshoot"] < (
        asked := overshoot_asked(x, spec.assert_overshoot_gte)
    ):
        return f"past λ = 1 the response stops: {curve['overshoot']:.4g} of its value there, below {asked:.4g}"
    if curve["linearity"] < spec.assert_linearity_gte:
        return f"the curve is not smooth: R² {curve['linearity']:.2f} of a line, below {spec.assert_linearity_gte:g}"
    return ""


def describe(spec: AdapterAblation, reading: Reading) -> str:
    curve = reading.details
    reached = f"90 % reached at λ = {curve['saturation']:.2f}"
    served = f", text served best at λ = {curve['target']['best']:g}" if "target" in curve else ""
    return f"R² {curve['linearity']:.2f}, {reached}, distance {reading.value:.3g} at λ = 1{served}"


def _lambdas(spec: AdapterAblation) -> tuple[float, ...]:
    return tuple(sorted({*spec.lambdas, *QUARTERS} - {0.0}))


def _prompts(spec: AdapterAblation, context: Context) -> list[Divergence]:
    return [
        Divergence(prompt, spec.divergence, spec.positions, chat=context.asks(prompt))
        for prompt in spec.prompts
    ]


def _distances(prompts: list[Divergence], view: ViewAnswers, scale: float) -> Floats:
    """Mean JS distance over the answer positions, for each prompt."""
    return np.array([np.sqrt(view.get(request, scale)).mean() for request in prompts])
