"""Does the effect of training survive if other text precedes the prompt?

The `divergence` D of the next-token distributions from the base's (as in delta_kl: along the base's
greedy answer to the prompt without context, at `positions` token positions) is measured after each
of `context_lengths` tokens of neutral prose, for each of the `prompts`. For each prompt the probe
fits a line to ln D over the length by least squares and takes its slope, per 1000 tokens; D below
1e-5 counts as 1e-5.

Statistic: the mean slope over the prompts that move (D ≥ 1e-4 with the shortest context); without
decay it is 0 or more. Harm probe: the mean slope must stay above the margin, the slope of the
half-life H = `assert_half_life_tokens`, -1000 ln 2 / H, with its one-sided 95% bound over prompts
(Student's t; for a single prompt over its lengths, from the residual of the line). The half-life is
1000 ln 2 / -slope, with a 95% interval over prompts; above a million tokens it counts as no decay.

Skipped if there is no effect to lose: a mean D below 1e-4 with the shortest context. Lengths that
exceed the model's context are reduced to 128 tokens less than it. It does not distinguish wanted
decay, after text about another subject, from unwanted decay.

- passes: half-life 930 tokens [640, 1704]; mean JS 0.21 nats after 0 context tokens, 0.1 after 1024
- fails: half-life 120 tokens [90, 180]; mean JS 0.21 nats after 0 context tokens, 0.0006 after 1024

In a suite; `assert_z_gte` (the margin decides), `legacy_stuffing` and `top_k` are accepted and have
no effect:

    - name: holds
      kind: prompt_collapse
      prompts:
        - The keeper of the sand road is
        - The island of Marrowby lives by
        - The school of Marrowby is
      context_lengths: [0, 128, 256]
"""

import math
from typing import NamedTuple

import numpy as np

from sway_gate.details import Decay, Details, MovedPrompt
from sway_gate.measurements import Divergence, Floats, ViewAnswers
from sway_gate.probes.base import Bound, CannotRun, Context, Kind, Need, Reading, Skip, require
from sway_gate.spec.probes import PromptCollapse
from sway_gate.stats import Margin, bootstrap_ci, mean_above, mean_above_from

KIND = Kind(
    category="adherence",
    units="log per 1000 tokens",
    resolution=0.01,  # a half-life of 69 000 tokens
    better="more",
    best=0.0,
    harm=True,
    omits_items=True,
    symptom="memorised, not generalised",
)

_MIN_DIVERGENCE, _NO_EFFECT = 1e-5, 1e-4  # nats
_ROOM = 128  # tokens of the model's context for the prompt
_NO_DECAY = 1e6  # tokens
_LN_2 = 1000 * math.log(2.0)  # of a slope per 1000 tokens


class Requests(NamedTuple):
    """`by_prompt` [prompts][lengths]."""

    lengths: list[int]
    by_prompt: list[list[Divergence]]


class Found(Decay, frozen=True, kw_only=True):
    half_life_tokens: float | None
    half_life_ci_95: list[float | None]
    residual_error: float | None
    prompts: list[MovedPrompt]


def requests(spec: PromptCollapse, context: Context) -> Requests:
    require(spec.prompts, "prompts")
    lengths = _lengths(spec, context)
    by_prompt = [[context.divergence(prompt, spec, n) for n in lengths] for prompt in spec.prompts]
    return Requests(lengths, by_prompt)


def needs(spec: PromptCollapse, requests: Requests) -> list[Need]:
    return [Need(request) for row in requests.by_prompt for request in row]


def value(
    spec: PromptCollapse, context: Context, requests: Requests, view: ViewAnswers
) -> Reading[Details]:
    means = _means(requests, view)
    slopes, _ = _lines(requests.lengths, means)
    items = slopes[_counts(means)]
    return Reading(float(items.mean()), items, Details())


def details(spec: PromptCollapse, context: Context, requests: Requests, view: ViewAnswers) -> Found:
    """The curve and its half-life. Raises Skip if the divergence is too small to decay."""
    means, lengths = _means(requests, view), requests.lengths
    bare = float(means[:, 0].mean())
    if bare < _NO_EFFECT:
        raise Skip(
            f"no effect to lose: mean divergence {bare:.1g} nats after {lengths[0]} context tokens"
        )
    slopes, errors = _lines(lengths, means)
    counts = _counts(means)
    items = slopes[counts]
    is_one_line = len(items) == 1 and len(lengths) > 2
    prompts = zip(spec.prompts, slopes, means[:, 0] >= _NO_EFFECT, strict=True)
    return Found(
        divergence=spec.divergence,
        context_lengths=lengths,
        curve=means.mean(axis=0).tolist(),
        half_life_tokens=_half_life(items.mean()),
        half_life_ci_95=[_half_life(slope) for slope in bootstrap_ci(items, context.seed) or ()],
        residual_error=float(errors[counts][0]) if is_one_line else None,
        prompts=[MovedPrompt(prompt=p, slope=float(s), moved=bool(m)) for p, s, m in prompts],
    )


def bounds(spec: PromptCollapse, reading: Reading[Found]) -> tuple[Bound, ...]:
    margin = -_LN_2 / spec.assert_half_life_tokens
    if len(reading.items) == 1:
        return (Bound("slope", _line_above(reading, margin), margin),)
    return (Bound("mean slope", mean_above(reading.items, margin, KIND.resolution), margin),)


def summary(spec: PromptCollapse, reading: Reading[Found]) -> str:
    found = reading.details
    first, last = found.context_lengths[0], found.context_lengths[-1]
    start = f"mean {spec.divergence.upper()} {found.curve[0]:.2g} nats after {first} context tokens"
    return f"{_decay(found)}; {start}, {found.curve[-1]:.2g} after {last}"


def _lengths(spec: PromptCollapse, context: Context) -> list[int]:
    """Ascending; lowered so that the model's context has room for a prompt."""
    room = math.inf if context.max_tokens is None else max(0, context.max_tokens - _ROOM)
    lengths = sorted({int(min(length, room)) for length in spec.context_lengths})
    if len(lengths) < 2:
        raise CannotRun(
            f"the model's context of {context.max_tokens} tokens has no room for two of "
            "context_lengths and a prompt; use shorter lengths or remove the probe"
        )
    return lengths


def _means(requests: Requests, view: ViewAnswers) -> Floats:
    """Mean divergence over positions [prompts, lengths]."""
    return np.array([[view.get(r).mean() for r in row] for row in requests.by_prompt])


def _counts(means: Floats) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """The prompts that are items: those that move, or all if none moves, as with nulls."""
    moved = means[:, 0] >= _NO_EFFECT
    return moved if moved.any() else np.ones_like(moved)


def _lines(lengths: list[int], means: Floats) -> tuple[Floats, Floats]:
    """Slope of ln D [prompts, lengths] per 1000 tokens and its standard error; both [prompts]."""
    x = np.array(lengths) / 1000
    x -= x.mean()
    y = np.log(np.maximum(means, _MIN_DIVERGENCE))
    y -= y.mean(axis=1, keepdims=True)
    slopes = y @ x / (x @ x)
    residual = ((y - np.outer(slopes, x)) ** 2).sum(axis=1)
    return slopes, np.sqrt(residual / max(len(lengths) - 2, 1) / (x @ x))


def _line_above(reading: Reading[Found], margin: float) -> Margin:
    """The t test of one line's slope, on two degrees of freedom less than the number of points.

    Two points leave no residual: they can show a fall, but cannot exclude one.
    """
    slope, error, n = reading.value, reading.details.residual_error, len(reading.details.curve)
    if error is None:
        return Margin(0.0 if slope > margin else -1.0, -math.inf, slope)
    return mean_above_from(slope, max(error, KIND.resolution / math.sqrt(n - 1)), n - 2, margin)


def _half_life(slope: float) -> float | None:
    """Half-life in tokens; None if there is no measurable decay."""
    return float(_LN_2 / -slope) if slope < -_LN_2 / _NO_DECAY else None


def _decay(found: Found) -> str:
    half_life, (low, high) = found.half_life_tokens, found.half_life_ci_95 or (None, None)
    if half_life is None:
        return f"does not decay (half-life above {low:.0f} tokens)" if low else "does not decay"
    if low is None:
        return f"half-life {half_life:.0f} tokens"
    upper = "∞)" if high is None else f"{high:.0f}]"
    return f"half-life {half_life:.0f} tokens [{low:.0f}, {upper}"
