"""refusals: safety lost and over-refusal, as non-inferiority against the base."""

from typing import Any

import pytest

from sway_gate.measurements import View
from sway_gate.probes.base import Context
from sway_gate.results import ProbeResult
from sway_gate.training_data import packaged
from tests.helpers.judged import judged

ITEMS = packaged.refusals()
NUMBER = {item.prompt: i // 2 for i, item in enumerate(ITEMS)}
KIND = {item.prompt: item.kind for item in ITEMS}
REFUSALS = {item.refuse for item in ITEMS}
CHAT = Context(chat_template="auto")


def run(
    harmful: tuple[int, int],
    harmless: tuple[int, int],
    context: Context = CHAT,
    shift: float = 0.0,
    **fields: Any,
) -> ProbeResult:
    """The number of 24 requests that (fine-tuned, base) refuse; `shift` of both openings."""

    def answer(view: View, request: Any) -> Any:
        prompt = request.prompt.messages[-1].content
        refused = (harmful if KIND[prompt] == "harmful" else harmless)[view.source == "base"]
        likely = (request.completion in REFUSALS) == (NUMBER[prompt] < refused)
        return [(-1.0 if likely else -2.0) + shift * (view.source == "finetuned")] * 7

    return judged("refusals", answer, runs=None, context=context, **fields)


CASES: dict[str, tuple[dict[str, Any], str, str]] = {
    "kept": ({"harmful": (22, 22), "harmless": (1, 1)}, "pass", "22 of 24 harmful"),
    "a style shifts both openings": (
        {"harmful": (22, 22), "harmless": (1, 1), "shift": -5.0},
        "pass",
        "22 of 24 harmful",
    ),
    "two lost": ({"harmful": (20, 22), "harmless": (1, 1)}, "pass", "refused (base 22)"),
    "some lost": ({"harmful": (17, 22), "harmless": (1, 1)}, "warn", "decrease of refused harmful"),
    "safety lost": (
        {"harmful": (3, 23), "harmless": (0, 1)},
        "fail",
        "decrease of refused harmful",
    ),
    "over-refusal": ({"harmful": (24, 22), "harmless": (20, 1)}, "fail", "increase of refused"),
    "refuses better than the base": ({"harmful": (24, 13), "harmless": (0, 9)}, "pass", "(base 9)"),
    "a base that hardly refuses": (
        {"harmful": (0, 6), "harmless": (3, 3)},
        "pass",
        "too few harmful requests",
    ),
    "a base that hardly refuses, and over-refusal": (
        {"harmful": (24, 6), "harmless": (24, 3)},
        "fail",
        "increase of refused harmless",
    ),
    "a base that refuses everything": (
        {"harmful": (2, 24), "harmless": (20, 20)},
        "fail",
        "too many harmless requests",
    ),
    "a base that refuses the wrong ones": (
        {"harmful": (2, 2), "harmless": (20, 20)},
        "skip",
        "more often than harmful",
    ),
    "no template": (
        {"harmful": (0, 24), "harmless": (0, 0), "context": Context()},
        "skip",
        "no chat template",
    ),
}


@pytest.mark.parametrize(("inputs", "verdict", "words"), CASES.values(), ids=CASES)
def test_verdicts(inputs: dict[str, Any], verdict: str, words: str) -> None:
    result = run(**inputs)
    assert (result.verdict, result.category) == (verdict, "calibration"), result.message
    assert words in result.message


PARTS: dict[str, tuple[dict[str, Any], str]] = {
    "both": ({"harmful": (22, 22), "harmless": (1, 1)}, ""),
    "no safety to lose": (
        {"harmful": (6, 6), "harmless": (3, 3)},
        "does not judge a loss of safety: the base refuses too few harmful requests",
    ),
    "refused before": (
        {"harmful": (24, 24), "harmless": (20, 20)},
        "does not judge over-refusal: the base refuses too many harmless requests",
    ),
    "no harmless request": (
        {"harmful": (24, 24), "harmless": (0, 0), "items_limit": 1},
        "does not judge over-refusal: no harmless request was asked",
    ),
}


@pytest.mark.parametrize(("inputs", "caveat"), PARTS.values(), ids=PARTS)
def test_the_part_that_is_not_judged_is_stated(inputs: dict[str, Any], caveat: str) -> None:
    result = run(**inputs)
    assert result.caveat == caveat
    assert caveat in result.message


def test_the_share_counts_only_what_is_judged() -> None:
    assert run((3, 23), (0, 1)).raw == pytest.approx((20 - 1) / 48)
    assert run((24, 6), (24, 3)).raw == pytest.approx(21 / 24)


def test_the_details_contain_the_margins() -> None:
    details = run((3, 23), (0, 1)).details
    assert details["harmful"] == {
        "requests": 24,
        "refused": 3,
        "base_refused": 23,
        "gained": 0,
        "lost": 20,
        "is_judged": True,
    }
    first = details["requests"][0]
    assert (first["prompt"], first["margin"], first["base_margin"]) == (ITEMS[0].prompt, 1.0, 1.0)


def test_items_limit_takes_the_first() -> None:
    assert len(run((22, 22), (1, 1), items_limit=10).details["requests"]) == 10


def test_the_advice_does_not_require_more_requests_than_are_packaged() -> None:
    few = run((11, 12), (1, 1), items_limit=24)
    assert few.advice == "use about 19 items to decide, not 12", few.message
    every = run((17, 22), (1, 1))
    assert "24 of at most 24 packaged requests, and needs about " in every.advice
