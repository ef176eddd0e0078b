from collections.abc import Callable

import numpy as np
import pytest

from tests.helpers import judged

GRID = (0.0, 0.25, 0.5, 0.75, 1.0, 1.25)


def run(curve: Callable[[float], float], **fields: object):  # type: ignore[no-untyped-def]
    """`curve` is the JS distance of the fine-tuned view at λ; the nulls' is a tenth of a line."""

    def answer(view, _):  # type: ignore[no-untyped-def]
        distance = curve(view.scale) if view.source == "finetuned" else 0.01 * (1 + view.number / 20) * view.scale
        return distance**2 * (view.source != "base")

    return judged("adapter_ablation", answer, prompts=("a",), **fields)


CASES = {
    "linear": (lambda x: 0.4 * x, "pass", ""),
    "gently concave": (lambda x: 0.4 * x**0.7, "pass", ""),
    "gently convex": (lambda x: 0.4 * x**1.4, "pass", ""),
    "bending as √JS must near its ceiling": (lambda x: 0.8 * np.tanh(0.9 * x), "pass", ""),
    "a step at .5": (lambda x: 0.4 * (x >= 0.5), "fail", "jumps"),
    "a plateau from .25": (lambda x: 0.4 * (x >= 0.25), "fail", "jumps"),
    "a soft plateau": (lambda x: 0.4 * np.tanh(6 * x), "fail", ""),
    "a rise then a crash": (lambda x: 0.4 * x if x <= 0.75 else 0.05, "fail", "falls"),
    "a crash past 1": (lambda x: 0.4 * x if x <= 1 else 0.3, "fail", "past λ = 1"),
    "all zero": (lambda x: 0.0, "fail", "does not respond"),
}


@pytest.mark.parametrize(("curve", "verdict", "words"), CASES.values(), ids=CASES)
def test_shapes(curve: Callable[[float], float], verdict: str, words: str) -> None:
    result = run(curve)
    assert result.verdict == verdict, result.message
    assert words in result.message


def test_the_curve_is_reported_from_zero() -> None:
    details = run(lambda x: 0.4 * x).details
    assert details["lambdas"] == list(GRID)
    np.testing.assert_allclose(details["curve"], [0.4 * x for x in GRID])
    assert details["linearity"] == pytest.approx(1.0)
    assert details["saturation"] == pytest.approx(0.9)
    assert details["overshoot"] == pytest.approx(1.25)


def test_without_a_scale_past_one_nothing_is_said_of_it() -> None:
    result = run(lambda x: 0.4 * x, lambdas=(0.0, 0.5, 1.0))
    assert (result.verdict, result.details["overshoot"]) == ("pass", None)


def test_a_healthy_shape_at_null_size_fails() -> None:
    result = run(lambda x: 0.0104 * x)
    assert result.verdict == "fail"
    assert "indistinguishable" in result.message
