"""calibration_drift: non-inferiority over items, by two margins."""

import pytest

from sway_gate.spec.probes import Item
from tests.helpers.judged import judged, spread

ITEMS = tuple(Item(f"q{i}", f" a{i}") for i in range(100))


def drift(deltas: list[float], **fields: object):  # type: ignore[no-untyped-def]
    def answer(view, request):  # type: ignore[no-untyped-def]
        change = deltas[int(request.prompt[1:])] if view.source == "finetuned" else 0.0
        return [-3.0 + change] * 2

    return judged("calibration_drift", answer, items=ITEMS[: len(deltas)], **fields)


DRIFT = {
    "untouched": ([0.0] * 100, "pass", "0 of 100"),
    "healthy": (spread(-0.05, 0.2, 100), "pass", "(95% bound), margin 0.15"),
    "a few regress": ([-2.0] * 5 + [0.0] * 95, "pass", "5 of 100"),
    "too many regress": ([-2.0] * 30 + [0.0] * 70, "fail", "30 of 100"),
    "near the margin": ([-1.5] * 12 + [0.0] * 88, "warn", "inconclusive"),
    "all lose a little": (
        spread(-0.7, 0.1, 100),
        "fail",
        "mean change: -0.7, outside the margin -0.5",
    ),
    "few items": ([0.0] * 8, "warn", "inconclusive"),
}


@pytest.mark.parametrize(("deltas", "verdict", "words"), DRIFT.values(), ids=DRIFT)
def test_calibration_drift(deltas: list[float], verdict: str, words: str) -> None:
    result = drift(deltas)
    assert result.verdict == verdict, result.message
    assert words in result.message


def test_the_details_list_the_worst_items() -> None:
    worst = drift([0.0] * 50 + [-4.0] + [0.0] * 20).details["worst"][0]
    assert (worst["prompt"], worst["delta_nats"]) == ("q50", -4.0)


def test_items_limit_takes_the_first() -> None:
    assert drift([0.0] * 60, items_limit=20).details["items"] == 20
