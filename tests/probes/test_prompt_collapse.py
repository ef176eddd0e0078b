import json
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.stats

from sway_gate.conversation import asked
from sway_gate.measurements import FINETUNED, Divergence, View
from sway_gate.probes.base import Context, Reading
from sway_gate.probes.prompt_collapse import Found, _lines, bounds, requests
from sway_gate.results import ProbeResult
from sway_gate.spec.probes import PromptCollapse
from tests.helpers.judged import judged
from tests.helpers.simulation import one_fast

LENGTHS = (0, 256, 512, 1024)
_UNKNOWN = Context()
Curve = Callable[[int, int], float]
"""Mean divergence of the fine-tuned view, by number of the prompt and context length."""


def run(
    curve: Curve,
    prompts: int = 5,
    *,
    context: Context = _UNKNOWN,
    null: float = 0.01,
    **fields: Any,
) -> ProbeResult:
    """The nulls stay at `null`."""

    def answer(view: View, request: Any) -> list[float]:
        mean = curve(int(request.prompt), request.context) if view == FINETUNED else null
        return [mean * share for share in (0.5, 1.5, 1.0)]

    names = tuple(str(i) for i in range(prompts))
    return judged("prompt_collapse", answer, prompts=names, context=context, **fields)


def halving(tokens: float, start: float = 0.3, spread: float = 0.05) -> Curve:
    """Half-lives around `tokens`: the rate ln 2 / tokens varies by ± `spread` over prompts."""
    return lambda i, length: start * 0.5 ** (length / tokens * (1 + spread * ((i % 5) - 2)))


CASES: dict[str, tuple[Curve, str, str]] = {
    "flat": (
        lambda i, length: 0.3,
        "pass",
        "does not decay; mean JS 0.3 nats after 0 context tokens, 0.3 after 1024",
    ),
    "growing": (halving(-800), "pass", "does not decay"),
    "slow": (halving(5000), "pass", "half-life 5000 tokens"),
    "slow enough": (halving(930), "pass", "half-life 930 tokens ["),
    "a first fall, then flat": (
        lambda i, length: 0.3 if length == 0 else 0.12 + i / 100,
        "pass",
        "half-life",
    ),
    "near the limit": (halving(540, spread=0.1), "warn", "half-life 540 tokens"),
    "uneven prompts": (halving(900, spread=0.7), "warn", "half-life 900 tokens"),
    "fast": (halving(300), "fail", "half-life 300 tokens"),
    "gone at once": (lambda i, length: 0.3 * (length == 0), "fail", "0 after 1024"),
    "gone at the end": (lambda i, length: 0.3 * (length < 1024), "fail", "half-life"),
    "at the ceiling of JS": (lambda i, length: math.log(2), "pass", "does not decay"),
}


@pytest.mark.parametrize(("curve", "verdict", "words"), CASES.values(), ids=CASES)
def test_verdicts(curve: Curve, verdict: str, words: str) -> None:
    result = run(curve)
    assert (result.verdict, result.category) == (verdict, "adherence"), result.message
    assert words in result.message


def noisy(slope: float, noise: float, start: float = 0.3) -> Curve:
    bumps = dict(zip(LENGTHS, (noise, -noise, noise, -noise), strict=True))
    return lambda i, length: start * math.exp(slope * length / 1000 + bumps[length])


ONE = {
    "flat": (noisy(0, 0.02), LENGTHS, "pass"),
    "slow": (noisy(-0.4, 0.02), LENGTHS, "pass"),
    "slow and uneven": (noisy(-0.4, 0.5), LENGTHS, "warn"),
    "fast": (noisy(-3, 0.02), LENGTHS, "fail"),
    "fast and uneven": (noisy(-3, 0.5), LENGTHS, "warn"),
    "a straight line": (noisy(-0.4, 0), LENGTHS, "pass"),
    "slow, two lengths": (noisy(-0.4, 0), (0, 1024), "warn"),
    "fast, two lengths": (noisy(-3, 0), (0, 1024), "warn"),
}


@pytest.mark.parametrize(("curve", "lengths", "verdict"), ONE.values(), ids=ONE)
def test_one_prompt_is_judged_by_its_residual(
    curve: Curve, lengths: tuple[int, ...], verdict: str
) -> None:
    result = run(curve, prompts=1, context_lengths=lengths)
    assert result.verdict == verdict, result.message
    assert result.details["half_life_ci_95"] == []


def test_the_slope_and_its_error_agree_with_scipy() -> None:
    values = [0.3, 0.22, 0.25, 0.11]
    result = run(lambda i, length: values[LENGTHS.index(length)], prompts=1)
    line = scipy.stats.linregress(np.array(LENGTHS) / 1000, np.log(values))
    t = (line.slope + 1000 * math.log(2) / 512) / line.stderr
    assert result.raw == pytest.approx(line.slope)
    assert result.details["residual_error"] == pytest.approx(line.stderr)
    assert result.details["half_life_tokens"] == pytest.approx(-1000 * math.log(2) / line.slope)
    assert result.z == pytest.approx(scipy.stats.norm.isf(scipy.stats.t.sf(t, 2)))


def test_the_interval_of_the_half_life_follows_from_the_mean_slope() -> None:
    result = run(halving(930, spread=0.2))
    low, high = result.ci_95
    assert result.details["half_life_ci_95"] == pytest.approx(
        [-1000 * math.log(2) / low, -1000 * math.log(2) / high]
    )
    assert result.details["half_life_ci_95"][0] < 930 < result.details["half_life_ci_95"][1]


def test_an_interval_that_reaches_no_decay_is_open() -> None:
    result = run(
        lambda i, length: 0.3 * math.exp((i - 3) * length / 1000), assert_half_life_tokens=100
    )
    assert result.details["half_life_ci_95"][1] is None
    assert ", ∞)" in result.message


def test_prompts_that_do_not_move_are_not_items() -> None:
    fast = halving(200)
    result = run(lambda i, length: fast(i, length) if i < 3 else 1e-6 * (1 + length), prompts=9)
    assert result.verdict == "fail"
    assert [p["moved"] for p in result.details["prompts"]] == [True] * 3 + [False] * 6
    assert result.details["half_life_tokens"] == pytest.approx(200, rel=0.1)


NOTHING = {"the base itself": 0.0, "hardly trained": 5e-5}


@pytest.mark.parametrize("size", NOTHING.values(), ids=NOTHING)
def test_without_a_change_there_is_nothing_to_collapse(size: float) -> None:
    result = run(lambda i, length: size)
    assert (result.verdict, result.score) == ("skip", None)
    assert "no effect to lose" in result.message


HELD = {
    # the model's context -> lengths read
    "unknown": (None, [0, 256, 512, 1024]),
    "long": (4096, [0, 256, 512, 1024]),
    "1024": (1024, [0, 256, 512, 896]),
    "512": (512, [0, 256, 384]),
    "300": (300, [0, 172]),
}


@pytest.mark.parametrize(("tokens", "lengths"), HELD.values(), ids=HELD)
def test_lengths_are_lowered_to_the_models_context(tokens: int | None, lengths: list[int]) -> None:
    result = run(lambda i, length: 0.3, context=Context(max_tokens=tokens))
    assert (result.verdict, result.details["context_lengths"]) == ("pass", lengths)


@pytest.mark.parametrize("tokens", [128, 64, 1], ids=str)
def test_a_context_without_room_is_an_error(tokens: int) -> None:
    result = run(lambda i, length: 0.3, context=Context(max_tokens=tokens))
    assert result.verdict == "error"
    assert f"context of {tokens} tokens" in result.message


def test_lengths_are_sorted() -> None:
    result = run(halving(300), context_lengths=(1024, 64, 512, 64))
    assert result.details["context_lengths"] == [64, 512, 1024]
    assert "after 64 context tokens" in result.message


def test_without_prompts_it_is_an_error() -> None:
    result = run(lambda i, length: 0.3, prompts=0)
    assert result.verdict == "error"
    assert "prompts is empty" in result.message


def test_there_is_a_request_per_prompt_and_length() -> None:
    spec = PromptCollapse(
        name="p", prompts=("a", "b"), context_lengths=(0, 9), divergence="kl", positions=2
    )
    found = requests(spec, Context(chat_template="on")).by_prompt
    assert found == [[Divergence(asked(p), "kl", 2, context=n) for n in (0, 9)] for p in "ab"]


@pytest.mark.parametrize(
    "curve", [halving(900), halving(-900), lambda i, length: 0.3 * (length == 0)], ids=range(3)
)
@pytest.mark.parametrize("prompts", [1, 2, 5])
def test_details_are_finite_json(curve: Curve, prompts: int) -> None:
    json.dumps(run(curve, prompts).details, allow_nan=False)


def test_a_collapse_fails_without_calibration() -> None:
    result = judged(
        "prompt_collapse", lambda v, r: 0.3 * 0.5 ** (r.context / 99), runs=None, prompts=("a", "b")
    )
    assert (result.verdict, result.n_null) == ("fail", 0)


@pytest.mark.parametrize("prompts", one_fast(5, 1, 2, 12))
def test_at_the_limit_one_in_twenty_passes(prompts: int) -> None:
    """Slopes around the limit with normal residuals: the level of the one-sided test."""
    rng = np.random.default_rng(prompts)
    spec = PromptCollapse(name="p", prompts=("x",) * prompts)
    x = np.array(LENGTHS) / 1000
    passed, draws = 0, 2000
    for _ in range(draws):
        log_d = -1 - 1000 * math.log(2) / 512 * x + 0.2 * rng.standard_normal((prompts, len(x)))
        slopes, errors = _lines(list(LENGTHS), np.exp(log_d))
        details = Found(
            context_lengths=list(LENGTHS),
            curve=list(log_d[0]),
            half_life_tokens=None,
            half_life_ci_95=[],
            residual_error=float(errors[0]),
            prompts=[],
        )
        reading = Reading(float(slopes.mean()), slopes, details)
        passed += bounds(spec, reading)[0].test.z > 1.6449
    assert passed / draws == pytest.approx(0.05, abs=0.016)
