"""Does the model respond to the adapter's scale λ as to a change that was learned, or by a step, a plateau, a crash?

The response curve: for each λ the mean Jensen-Shannon *distance* (√JS, a metric: Endres & Schindelin 2003; linear in λ
for small changes) of the model with λ times the adapter from the base, after each prompt and along the base's own
greedy answer, at `positions` places.

Statistic: the curve at λ = 1; compared with the nulls' on the logarithm. The curve's shape must hold too:

- it responds at all (a distance of .02 at some λ), and does not fall by more than 5 % of its height up to λ = 1;
- linearity: R² of the straight line ≥ `assert_linearity_gte`, and no single step steeper than 3 times the mean slope;
- saturation: the λ at which it first reaches 90 % of its value at λ = 1 lies in `assert_saturation_between`;
- past 1: its value at the largest λ over that at λ = 1 is ≥ `assert_overshoot_gte`: no crash.

Linear, gently concave and gently convex curves are healthy. It cannot tell what was learned.

- passes: 0, .14, .27, .38, .47, .54: R² .99, reaches 90 % at λ = .85, still rising at 1.25
- fails: 0, .45, .46, .46, .46, .46: saturated at a quarter of its scale
"""

import numpy as np

from sway_gate.measure import FINETUNED, Divergence, Floats, ViewAnswers
from sway_gate.probes import Context, Need, Reading, require
from sway_gate.spec import AdapterAblation

CATEGORY = "ablation"
UNITS = "√nats"
HARM = False
SCALE = "log"
RESOLUTION = 1e-5
FLOOR = 0.02
ADVICE = "lower the learning rate or the rank, or serve the adapter at a smaller scale; see the response curve"

# A distance of .02 is a divergence of .0004 nats: no reader would see the difference.
_RESPONSE = 0.02
_FALL, _STEP, _REACHED = 0.05, 3.0, 0.9


def needs(spec: AdapterAblation, context: Context) -> list[Need]:
    require(spec.prompts, "prompts")
    return [Need(request, _lambdas(spec)) for request in _requests(spec)]


def value(spec: AdapterAblation, context: Context, view: ViewAnswers) -> Reading:
    items = _distances(spec, view, 1.0)
    if view.view != FINETUNED:
        return Reading(float(items.mean()), items, {})
    x = np.array([0.0, *_lambdas(spec)])
    curve = np.array([0.0, *(_distances(spec, view, scale).mean() for scale in x[1:])])
    return Reading(float(items.mean()), items, {"lambdas": x.tolist(), "curve": curve.tolist(), **_shape(x, curve)})


def rule(spec: AdapterAblation, reading: Reading) -> str:
    shape = reading.details
    low, high = spec.assert_saturation_between
    if (height := max(shape["curve"])) < _RESPONSE:
        return f"the model does not respond to the adapter: distance {height:.1g} at most, {_RESPONSE:g} is asked for"
    if shape["largest_fall"] > _FALL:
        return f"the curve falls by {shape['largest_fall']:.0%} of its height before λ = 1"
    if shape["largest_step"] > _STEP:
        return f"the curve jumps: its steepest step is {shape['largest_step']:.1f} times the mean slope"
    if not low <= shape["saturation"] <= high:
        return f"saturated: 90 % of the response is there at λ = {shape['saturation']:.2f}, outside {low:g} to {high:g}"
    if shape["overshoot"] is not None and shape["overshoot"] < spec.assert_overshoot_gte:
        kept = f"{shape['overshoot']:.2f} of its value there"
        return f"past λ = 1 the response stops: {kept}, below {spec.assert_overshoot_gte:g}"
    if shape["linearity"] < spec.assert_linearity_gte:
        return f"the curve is not smooth: R² {shape['linearity']:.2f} of a line, below {spec.assert_linearity_gte:g}"
    return ""


def describe(spec: AdapterAblation, reading: Reading) -> str:
    shape = reading.details
    reached = f"90 % reached at λ = {shape['saturation']:.2f}"
    return f"R² {shape['linearity']:.2f}, {reached}, distance {reading.value:.3g} at λ = 1"


def _lambdas(spec: AdapterAblation) -> tuple[float, ...]:
    return tuple(sorted({*spec.lambdas, 1.0} - {0.0}))


def _distances(spec: AdapterAblation, view: ViewAnswers, scale: float) -> Floats:
    """Mean JS distance over the answer positions, for each prompt."""
    return np.array([np.sqrt(view.get(request, scale)).mean() for request in _requests(spec)])


def _requests(spec: AdapterAblation) -> list[Divergence]:
    return [Divergence(prompt, spec.divergence, spec.positions) for prompt in spec.prompts]


def _shape(x: Floats, curve: Floats) -> dict[str, float | None]:
    """Of a curve that starts at (0, 0); x ascending."""
    height = max(float(curve.max()), RESOLUTION)
    at_one = float(np.interp(1.0, x, curve))
    slopes = np.diff(curve) / np.diff(x)
    mean_slope = height / float(x[-1])
    up_to_one = curve[x <= 1.0]
    return {
        "linearity": _r_squared(x, curve),
        "largest_step": float(slopes.max()) / mean_slope,
        "largest_fall": float((np.maximum.accumulate(up_to_one) - up_to_one).max()) / height,
        "saturation": _first_reaching(x, curve, _REACHED * at_one),
        "overshoot": float(curve[-1]) / max(at_one, RESOLUTION) if x[-1] > 1.0 else None,
    }


def _r_squared(x: Floats, y: Floats) -> float:
    """Squared Pearson correlation: the share of variance that the least-squares line explains."""
    if np.ptp(y) == 0:
        return 0.0
    return float(np.corrcoef(x, y)[0, 1] ** 2)


def _first_reaching(x: Floats, curve: Floats, level: float) -> float:
    """Where the curve, straight between its points, first reaches `level`; 0 for a level of 0."""
    after = int(np.argmax(curve >= level))
    if after == 0:
        return 0.0
    before = after - 1
    share = (level - curve[before]) / (curve[after] - curve[before])
    return float(x[before] + share * (x[after] - x[before]))
