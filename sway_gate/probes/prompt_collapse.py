"""Does what training taught survive when other text stands in front of the prompt?

The `divergence` D of the next-token distributions from the base's (as in delta_kl: along the base's greedy answer to
the bare prompt, at `positions` places) is read behind each of `context_lengths` tokens of neutral prose, for each of
the `prompts`. For each prompt, the least-squares slope of ln D over the length, per 1000 tokens; D below 1e-5 counts
as that.

Statistic: the mean slope over the prompts that move at all (D ≥ 1e-4 with the least context); without decay it is 0 or
more. Harm: the mean slope must stay above that of `assert_half_life_tokens` H, -1000 ln 2 / H, with its one-sided 95 %
bound over prompts (Student's t; of a single prompt over its lengths, from the residual of the line). The half-life is
1000 ln 2 / -slope, with a 95 % interval over prompts; one of more than a million tokens is no decay.

Skipped where there is nothing to collapse: a mean D below 1e-4 with the least context. Lengths that the model's context
does not hold are lowered to 128 tokens less than it. It cannot tell decay that is wanted, where the text in front is
about something else, from decay that is not.

- passes: half-life 930 tokens [640, 1704]; mean JS 0.21 nats behind 0 tokens, 0.1 behind 1024
- fails: half-life 120 tokens [90, 180]; mean JS 0.21 nats behind 0 tokens, 0.0006 behind 1024

In a suite; `assert_z_gte` (its margin decides), `legacy_stuffing` and `top_k` are accepted and have no effect:

    - name: holds
      kind: prompt_collapse
      prompts:
        - The keeper of the sand road is
        - The island of Marrowby lives by
        - The school of Marrowby is
      context_lengths: [0, 128, 256]
"""

import math
from typing import Any

import numpy as np

from sway_gate.measurements import FINETUNED, Divergence, Floats, ViewAnswers
from sway_gate.probes.base import CannotRun, Context, Need, Reading, Skip, require
from sway_gate.spec.probes import PromptCollapse
from sway_gate.stats import Margin, bootstrap_ci, mean_above

CATEGORY = "adherence"
UNITS = "log per 1000 tokens"
HARM = True
GENERATES = False
PARTS = ""
PRIOR = None
SCALE = "identity"
# A half-life of 69 000 tokens.
RESOLUTION = 0.01
FLOOR = 0.01
ADVICE = "train with other text in front of the prompts: behind a context the model falls back to its base"

_LEAST, _NOTHING = 1e-5, 1e-4
_ROOM = 128
_NO_DECAY = 1e6
_LN_2 = 1000 * math.log(2.0)  # of a slope per 1000 tokens


def needs(spec: PromptCollapse, context: Context) -> list[Need]:
    require(spec.prompts, "prompts")
    return [Need(request) for row in _requests(spec, context) for request in row]


def value(spec: PromptCollapse, context: Context, view: ViewAnswers) -> Reading:
    lengths = _lengths(spec, context)
    means = np.array(
        [[view.get(r).mean() for r in row] for row in _requests(spec, context)]
    )  # [prompts, lengths]
    bare = float(means[:, 0].mean())
    if view.view == FINETUNED and bare < _NOTHING:
        raise Skip(
            f"nothing to collapse: mean divergence {bare:.1g} nats behind {lengths[0]} tokens"
        )
    moved = means[:, 0] >= _NOTHING
    slopes, errors = _lines(lengths, means)
    # A null may move no prompt at all.
    items, own_errors = (slopes[moved], errors[moved]) if moved.any() else (slopes, errors)
    return Reading(
        float(items.mean()),
        items,
        {
            "divergence": spec.divergence,
            "context_lengths": lengths,
            "curve": means.mean(axis=0).tolist(),
            "half_life_tokens": _half_life(items.mean()),
            "half_life_ci_95": [
                _half_life(slope) for slope in bootstrap_ci(items, context.seed) or ()
            ],
            "residual_error": float(own_errors[0])
            if len(items) == 1 and len(lengths) > 2
            else None,
            "prompts": [
                {"prompt": prompt, "slope": float(slope), "moved": bool(counts)}
                for prompt, slope, counts in zip(spec.prompts, slopes, moved, strict=True)
            ],
        },
    )


def margins(spec: PromptCollapse, reading: Reading) -> tuple[Margin, ...]:
    limit = -_LN_2 / spec.assert_half_life_tokens
    if len(reading.items) > 1:
        return (mean_above(reading.items, limit, RESOLUTION),)
    return (_one_above(reading, limit),)


def describe(spec: PromptCollapse, reading: Reading) -> str:
    shown = reading.details
    first, last = shown["context_lengths"][0], shown["context_lengths"][-1]
    start, end = shown["curve"][0], shown["curve"][-1]
    held = f"mean {spec.divergence.upper()} {start:.2g} nats behind {first} tokens, {end:.2g} behind {last}"
    return f"{_decay(shown)}; {held}"


def _lengths(spec: PromptCollapse, context: Context) -> list[int]:
    """In rising order, as far as the model's context holds them and a prompt."""
    room = math.inf if context.max_tokens is None else max(0, context.max_tokens - _ROOM)
    lengths = sorted({int(min(length, room)) for length in spec.context_lengths})
    if len(lengths) < 2:
        raise CannotRun(
            f"the model's context of {context.max_tokens} tokens holds no two of context_lengths beside a prompt; "
            "give shorter ones or remove the probe"
        )
    return lengths


def _requests(spec: PromptCollapse, context: Context) -> list[list[Divergence]]:
    """[prompts, lengths]."""
    return [
        [
            Divergence(
                prompt, spec.divergence, spec.positions, context=length, chat=context.asks(prompt)
            )
            for length in _lengths(spec, context)
        ]
        for prompt in spec.prompts
    ]


def _lines(lengths: list[int], means: Floats) -> tuple[Floats, Floats]:
    """Slope of ln D [prompts, lengths] per 1000 tokens, and its standard error from the residual; both [prompts]."""
    x = np.array(lengths) / 1000
    x -= x.mean()
    y = np.log(np.maximum(means, _LEAST))
    y -= y.mean(axis=1, keepdims=True)
    slopes = y @ x / (x @ x)
    residual = ((y - np.outer(slopes, x)) ** 2).sum(axis=1)
    return slopes, np.sqrt(residual / max(len(lengths) - 2, 1) / (x @ x))


def _one_above(reading: Reading, limit: float) -> Margin:
    """The t test of one line's slope, with two degrees of freedom less than it has points.

    Two points leave no residual to judge by: they can show a fall, and cannot rule one out.
    """
    slope, error = reading.value, reading.details["residual_error"]
    if error is None:
        return Margin(0.0 if slope > limit else -1.0, -math.inf, slope)
    n = len(reading.details["context_lengths"]) - 1
    spread = np.linspace(-1.0, 1.0, n)
    # Numbers with this mean and this standard error.
    return mean_above(slope + spread / spread.std(ddof=1) * error * math.sqrt(n), limit, RESOLUTION)


def _half_life(slope: float) -> float | None:
    """In tokens; None where it is none, or too long to tell from none."""
    return float(_LN_2 / -slope) if slope < -_LN_2 / _NO_DECAY else None


def _decay(shown: dict[str, Any]) -> str:
    half_life, (low, high) = shown["half_life_tokens"], shown["half_life_ci_95"] or (None, None)
    if half_life is None:
        return f"does not decay (half-life above {low:.0f} tokens)" if low else "does not decay"
    interval = (
        "" if low is None else f" [{low:.0f}, ∞)" if high is None else f" [{low:.0f}, {high:.0f}]"
    )
    return f"half-life {half_life:.0f} tokens{interval}"
