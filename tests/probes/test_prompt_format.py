"""prompt_format: the lead of the served format over the others, in likelihood and in gain."""

from typing import Any

import pytest

from sway_gate.conversation import Conversation
from sway_gate.measurements import TeacherForced
from sway_gate.probes.base import Context
from sway_gate.results import ProbeResult
from sway_gate.spec.schema import Pair, Section
from tests.helpers.judged import judged, spread

ROWS = 8
DATA = Section(
    kind="instruction",
    id="s",
    pairs=tuple(Pair(prompt=f"q{i}", gold=f"a{i}") for i in range(40)),
)
CONTEXT = Context(sections=(DATA,), chat_template="auto")
Numbers = dict[str, tuple[float, float]]
"""By format: the likelihood under the base and under the fine-tuned view."""


def format_of(request: TeacherForced) -> str:
    if isinstance(request.prompt, Conversation):
        return "template"
    return "alpaca" if "### Response:" in request.prompt else "plain"


def fit(numbers: Numbers, sd: float = 0.05, context: Context = CONTEXT) -> ProbeResult:
    """Two tokens with the given likelihood, and an end that must not count."""
    noise: dict[Any, float] = {}
    draws = iter(spread(0.0, sd, 3 * ROWS))

    def answer(view: Any, request: TeacherForced) -> Any:
        if request not in noise:
            noise[request] = next(draws)
        base, own = numbers[format_of(request)]
        number = base if view.source == "base" else own + noise[request]
        return [[number, 1.0, 0.0], [number, 0.0, 0.0], [-99.0, 0.0, 1.0], [-99.0, 0.0, 0.0]]

    return judged("prompt_format", answer, runs=None, context=context)


SMALL = {"template": (-2.6, -0.1), "plain": (-3.1, -0.6), "alpaca": (-2.5, -0.2)}
CASES = {
    "trained in the template": (SMALL, "pass"),
    "untrained": ({f: (b, b) for f, (b, _) in SMALL.items()}, "skip"),
    "worse in each format": ({f: (b, b - 1.0) for f, (b, _) in SMALL.items()}, "skip"),
    "other data": (
        {"template": (-2.6, -4.5), "plain": (-4.5, -3.4), "alpaca": (-2.5, -4.0)},
        "skip",
    ),
    "better before training": (SMALL | {"alpaca": (-1.0, -0.1)}, "pass"),
    "gains most where it was worst": (SMALL | {"plain": (-9.0, -0.6)}, "pass"),
    "trained in another format": (SMALL | {"template": (-2.6, -1.5)}, "fail"),
    "untrained, and far from the template": (SMALL | {"template": (-9.0, -2.0)}, "pass"),
}


@pytest.mark.parametrize(("numbers", "verdict"), CASES.values(), ids=CASES)
def test_verdicts(numbers: Numbers, verdict: str) -> None:
    result = fit(numbers)
    assert result.verdict == verdict, result.message


def test_the_number_is_the_lead_over_the_closest_format() -> None:
    result = fit(CASES["trained in another format"][0], sd=1e-6)
    # alpaca: max(-1.5 + 0.2, 1.1 - 2.3); plain: max(-1.5 + 0.6, 1.1 - 2.5)
    assert result.raw == pytest.approx(-1.2, abs=1e-4)
    assert (
        "-1.2, must be at least -0.3; trained in the format alpaca, served in template"
        in result.message
    )
    assert (result.details["best"], result.details["rows"]) == ("alpaca", ROWS)
    leads = {one["format"]: one["lead"] for one in result.details["formats"]}
    assert leads == pytest.approx({"template": 0.0, "plain": -0.9, "alpaca": -1.2}, abs=1e-4)


def test_the_setting_names_the_served_format() -> None:
    trained = CASES["trained in another format"][0]
    result = fit(trained, context=CONTEXT._replace(prompt_format="alpaca"))
    assert (result.verdict, result.details["served"]) == ("pass", "alpaca")


PLAIN = SMALL | {"template": (-2.6, -1.5), "plain": (-3.1, -0.1)}
FORMS = {
    "plain rows": ("plain", 40),
    "most rows plain": ("plain", 30),
    "most rows not": ("chat", 10),
}


@pytest.mark.parametrize(("form", "plain"), FORMS.values(), ids=FORMS)
def test_the_served_format_is_the_one_of_most_rows(form: str, plain: int) -> None:
    pairs = tuple(
        Pair(prompt=f"q{i}", gold=f"a{i}", form="plain" if i < plain else "chat") for i in range(40)
    )
    data = Section(kind="instruction", id="s", pairs=pairs)
    result = fit(PLAIN, sd=1e-6, context=CONTEXT._replace(sections=(data,)))
    is_plain = form == "plain"
    assert result.details["served"] == ("plain" if is_plain else "template")
    assert result.verdict == ("pass" if is_plain else "fail")
    assert ("there the answers lose 1.4 nats per token" in result.message) == is_plain
    served = fit(PLAIN, context=CONTEXT._replace(sections=(data,), prompt_format="template"))
    assert served.verdict == "fail"


@pytest.mark.parametrize(
    ("context", "why"),
    [
        (CONTEXT._replace(chat_template="off"), "no chat template"),
        (CONTEXT._replace(sections=()), "no prompts with answers"),
    ],
)
def test_without_a_choice_it_is_skipped(context: Context, why: str) -> None:
    result = fit(SMALL, context=context)
    assert (result.verdict, why in result.message) == ("skip", True)
