"""calibration_drift: known items that are lost, by two margins in each register."""

from collections.abc import Sequence
from itertools import chain
from typing import Any

import numpy as np
import pytest

from sway_gate.conversation import Conversation, Message, prompt_text
from sway_gate.measurements import FINETUNED, View, ViewAnswers
from sway_gate.probes import calibration_drift
from sway_gate.probes._choice import chosen
from sway_gate.probes.base import Context
from sway_gate.results import ProbeResult
from sway_gate.spec.probes import CalibrationDrift, Item
from sway_gate.stats import Z_95
from sway_gate.training_data import packaged
from tests.helpers.judged import Answer, answers_to, judged, spread

Rows = Sequence[Sequence[float]] | np.ndarray
CHAT = Context(chat_template="on")
ENDINGS = (" true", " false", " wrong", " other")
ITEMS = tuple(Item(f"s{i} is", ENDINGS[0], ENDINGS[1:], f"s{i}?") for i in range(100))


def drift(
    base: Rows,
    text: Rows,
    chat: Rows | None = None,
    context: Context = CHAT,
    **fields: Any,
) -> ProbeResult:
    """Log-likelihoods [items, 4 endings]: of the base, and of the fine-tuned in both registers."""
    items = ITEMS[: len(base)]
    answer = answers(base, text, chat)
    return judged("calibration_drift", answer, runs=None, context=context, items=items, **fields)


def worst_bound(base: Rows, text: Rows, chat: Rows | None = None) -> float:
    """The smallest z of the bounds."""
    spec = CalibrationDrift(name="k", items=ITEMS[: len(base)])
    given = answers_to(spec, CHAT, None, answers(base, text, chat))
    requests = calibration_drift.requests(spec, CHAT)
    reading = calibration_drift.value(spec, CHAT, requests, ViewAnswers(given, FINETUNED))
    return min(bound.test.z for bound in calibration_drift.bounds(spec, reading))


def answers(base: Rows, text: Rows, chat: Rows | None) -> Answer:
    def answer(view: View, request: Any) -> list[float]:
        if isinstance(request.completion, Message):
            return [-30.0, 0.0]
        words = request.completion.split()
        in_chat = isinstance(request.prompt, Conversation)
        item = int((words[0] if in_chat else request.prompt.split()[0])[1:])
        own = text if chat is None or not in_chat else chat
        rows = own if view == FINETUNED else base
        return [-1.0] * (len(words) - 1) + [rows[item][ENDINGS.index(f" {words[-1]}")]]

    return answer


def rows(*margins: tuple[int, float]) -> Rows:
    """Log-likelihoods of items by their log-odds: (count, log-odds) pairs."""
    return [[-2.0, *[-2.0 - margin] * 3] for count, margin in margins for _ in range(count)]


def test_a_case_by_hand() -> None:
    """Three items: known and kept, known and lost, unknown."""
    base = np.log([[0.6, 0.1, 0.1, 0.1], [0.4, 0.1, 0.05, 0.05], [0.2, 0.1, 0.1, 0.1]]).tolist()
    own = np.log([[0.3, 0.1, 0.1, 0.1], [0.1, 0.2, 0.1, 0.1], [0.01, 0.1, 0.1, 0.1]]).tolist()
    result = drift(base, own, context=Context())
    changes = [np.log(0.3 / 0.6) - np.log(0.6 / 0.9), np.log(0.1 / 0.5) - np.log(0.4 / 0.6)]
    assert result.items == pytest.approx(changes)
    assert result.raw == pytest.approx(np.mean(changes))
    (kept,) = result.details["registers"]
    assert (kept["known"], kept["lost"], kept["items"]) == (2, 1, 3)
    assert kept["se"] == pytest.approx(np.std(changes, ddof=1) / np.sqrt(2))
    assert "; known items as text 2 → 1 of 3" in result.message
    worst = result.details["worst"][0]
    assert (worst["prompt"], worst["gold"], worst["now"]) == ("s1 is", "true", "false")


def test_an_endings_likelihood_is_the_sum_over_its_tokens() -> None:
    """Two tokens at -1 are likelier than one at -3.5, and than their own mean suggests."""
    items = (Item("a", " b", (" c",)),)

    def answer(view: View, request: Any) -> list[float]:
        return [-1.0, -1.0] if request.completion == " b" else [-3.5]

    result = judged("calibration_drift", answer, runs=None, items=items)
    assert result.details["registers"][0]["known"] == 1


KNOWN = rows((50, 3.0), (50, 0.5))
DRIFT = {
    # text, chat -> verdict, words
    "untouched": (KNOWN, KNOWN, "pass", "in the chat template 50 → 50 of 100, as text 50 → 50"),
    "guesses are free": (rows((50, 3.0), (50, -4.0)), None, "pass", "→ 50 of 100"),
    "nothing is learned for it": (rows((50, 3.0), (50, 9.0)), None, "pass", "50 → 50 of 100"),
    "less sure": (rows((50, 1.5), (50, 0.1)), None, "pass", "as text 50 → 50"),
    "a few are lost": (rows((2, -1.0), (98, 3.0)), None, "pass", "as text 50 → 48"),
    "near the margin": (rows((7, -0.1), (93, 3.0)), None, "warn", "as text 50 → 43"),
    "many are lost": (rows((25, -1.0), (75, 3.0)), None, "fail", "as text 50 → 25"),
    "in the template only": (KNOWN, rows((22, -1.0), (78, 3.0)), "fail", "→ 28 of 100, as text 50"),
    "as text only": (rows((22, -1.0), (78, 3.0)), KNOWN, "fail", "→ 50 of 100, as text 50 → 28"),
}


@pytest.mark.parametrize(("text", "chat", "verdict", "words"), DRIFT.values(), ids=DRIFT)
def test_verdicts(text: Rows, chat: Rows | None, verdict: str, words: str) -> None:
    result = drift(KNOWN, text, chat)
    assert result.verdict == verdict, result.message
    assert words in result.message


THREE_WAY = {
    # number lost of 50, log-odds of the lost -> where the interval of the worst bound is
    "none": (0, -1.0, "inside"),
    "two": (2, -1.0, "inside"),
    "six": (6, -1.0, "between"),
    "eleven": (11, -1.0, "between"),
    "thirteen": (13, -1.0, "outside"),
    "four, far": (4, -8.0, "between"),
    "all": (50, -1.0, "outside"),
}


@pytest.mark.parametrize(("lost", "log_odds", "expected"), THREE_WAY.values(), ids=THREE_WAY)
def test_intervals(lost: int, log_odds: float, expected: str) -> None:
    found = worst_bound(KNOWN, rows((lost, log_odds), (100 - lost, 3.0)))
    position = "inside" if found > Z_95 else "outside" if found < -Z_95 else "between"
    assert position == expected


def test_the_worse_register_decides() -> None:
    lost = rows((22, -1.0), (78, 3.0))
    assert "in the chat template: 0.44, must be below" in drift(KNOWN, KNOWN, lost).message
    assert "as text: 0.44, must be below" in drift(KNOWN, lost, KNOWN).message


@pytest.mark.parametrize("shift", [-5.0, -0.7, 4.0])
def test_a_style_that_shifts_all_likelihoods_costs_nothing(shift: float) -> None:
    styled = (np.array(KNOWN) + shift).tolist()
    result = drift(KNOWN, styled)
    assert (result.verdict, result.raw) == ("pass", pytest.approx(0.0))


def test_a_model_that_is_less_sure_of_everything_loses_nothing() -> None:
    """At twice the temperature, log-odds of 2 to 8 nats halve; none changes sign."""
    base = [row for i in range(50) for row in rows((1, 2 + 6 * i / 49))]
    result = drift(base, (np.array(base) / 2).tolist())
    assert result.verdict == "pass"
    assert -0.25 < result.raw < 0


@pytest.mark.parametrize(("nats", "known"), [(0.0, 30), (0.4, 20), (1.0, 10), (2.5, 0)])
def test_known_is_what_the_base_prefers_by_regression_nats(nats: float, known: int) -> None:
    base = rows((10, 2.0), (10, 0.7), (10, 0.1), (10, -1.0))
    result = drift(base, base, regression_nats=nats)
    if known:
        assert result.details["registers"][0]["known"] == known
    else:
        assert (result.verdict, result.message) == ("skip", "the base knows none of the 40 items")


def test_an_item_that_one_register_knows_is_measured_there() -> None:
    """Known in the template only: no bound and no change as text."""

    def answer(view: View, request: Any) -> list[float]:
        if isinstance(request.completion, Message):
            return [-30.0]
        in_chat = isinstance(request.prompt, Conversation)
        return [-1.0 if request.completion.endswith(" true") else -4.0 if in_chat else -1.0]

    result = judged("calibration_drift", answer, runs=None, context=CHAT, items=ITEMS[:40])
    assert [kept["known"] for kept in result.details["registers"]] == [40, 0]
    assert "as text 0 → 0 of 40" in result.message
    assert (len(result.items), result.verdict) == (40, "pass")


def test_the_registers_of_an_item_are_averaged() -> None:
    result = drift(KNOWN, KNOWN, rows((50, 3.0 - 1.0), (50, 0.5)))
    one = np.log1p(3 * np.exp(-3.0)) - np.log1p(3 * np.exp(-2.0))
    assert result.items == pytest.approx([one / 2] * 50)


SILENCE = {
    # probability of an empty turn: base, fine-tuned -> verdict, words
    "never": (1e-9, 1e-9, "pass", "50 → 50 of 60"),
    "rarely": (1e-9, 0.1, "pass", "50 → 50 of 60"),
    "mostly": (1e-9, 0.6, "fail", "in the chat template 50 → 0 of 60, as text 50 → 50"),
    "always": (1e-9, 1.0, "fail", "in the chat template 50 → 0 of 60, as text 50 → 50"),
    "the base as well": (0.6, 0.6, "pass", "in the chat template 0 → 0 of 60, as text 50 → 50"),
}


@pytest.mark.parametrize(("base", "own", "verdict", "words"), SILENCE.values(), ids=SILENCE)
def test_no_answer_in_the_template(base: float, own: float, verdict: str, words: str) -> None:
    choose = answers(KNOWN, KNOWN, None)

    def answer(view: View, request: Any) -> list[float]:
        if isinstance(request.completion, Message):
            return [np.log(own if view == FINETUNED else base), 0.0]
        return choose(view, request)

    items = (*ITEMS[:50], *ITEMS[50:60])
    result = judged("calibration_drift", answer, runs=None, context=CHAT, items=items)
    assert result.verdict == verdict, result.message
    assert words in result.message
    assert np.isfinite(result.items).all()


def test_no_answer_by_hand() -> None:
    """Ending shares .6 of .9, an empty turn with probability .25."""
    requests = calibration_drift.requests(CalibrationDrift(name="k", items=ITEMS[:1]), CHAT)
    choice = requests["in the chat template"][0]
    probabilities = dict(zip(choice.all_requests(), [0.6, 0.1, 0.1, 0.1, 0.25], strict=True))
    found = chosen(lambda request: np.log([probabilities[request]]), choice)
    assert found.log_share == pytest.approx(np.log(0.6 / 0.9 * 0.75))
    assert found.log_odds == pytest.approx(np.log(0.75 / 0.25))
    assert found.likeliest == "true"


def test_the_template_asks_the_question_and_starts_the_answer() -> None:
    spec = CalibrationDrift(
        name="k", items=(Item("The sky is", " blue", (" red",), "Its colour?"),)
    )
    found = calibration_drift.requests(spec, CHAT)
    assert list(found) == ["in the chat template", "as text"]
    ending = found["in the chat template"][0].requests[0]
    assert isinstance(ending.prompt, Conversation)
    assert (prompt_text(ending.prompt), ending.completion) == ("Its colour?", "The sky is blue")
    assert found["as text"][0].requests[1].completion == " red"


@pytest.mark.parametrize(
    ("template", "endings", "registers"),
    [
        ("on", ENDINGS[1:], ["in the chat template"]),
        ("off", ENDINGS[1:], ["as text"]),
        ("on", (), ["as text"]),
    ],
)
def test_served_is_the_register_in_which_the_model_is_served(
    template: Any, endings: tuple[str, ...], registers: list[str]
) -> None:
    items = tuple(item._replace(wrong=endings) for item in ITEMS[:3])
    spec = CalibrationDrift(name="k", items=items, registers="served")
    found = calibration_drift.requests(spec, Context(chat_template=template))
    assert list(found) == registers


def test_without_a_question_the_user_asks_for_the_end_of_the_sentence() -> None:
    spec = CalibrationDrift(name="k", items=(Item("The sky is", " blue", (" red",)),))
    request = calibration_drift.requests(spec, CHAT)["in the chat template"][0].requests[0]
    assert prompt_text(request.prompt) == "Complete this sentence: The sky is ..."


@pytest.mark.parametrize(("limit", "count"), [(None, 60), (20, 20), (500, 195)])
def test_number_of_packaged_items(limit: int | None, count: int) -> None:
    found = calibration_drift.requests(CalibrationDrift(name="k", items_limit=limit), CHAT)
    assert [len(choices) for choices in found.values()] == [count, count]
    endings = [choice.endings for choice in chain(*found.values())]
    assert all(len(set(each)) == 4 for each in endings)


@pytest.mark.parametrize(("limit", "count"), [(None, 100), (20, 20)])
def test_all_own_items_are_used_unless_they_are_limited(limit: int | None, count: int) -> None:
    spec = CalibrationDrift(name="k", items=ITEMS, items_limit=limit)
    assert len(calibration_drift.requests(spec, CHAT)["as text"]) == count


# ------------------------------------------------------------------------- without false endings

PLAIN = {
    "untouched": ([0.0] * 100, "pass", "0 of 100 items lost more than 1 nat per token as text"),
    "healthy": (spread(-0.05, 0.2, 100), "pass", "(95% bound), margin 0.15"),
    "a few regress": ([-2.0] * 5 + [0.0] * 95, "pass", "5 of 100"),
    "too many regress": ([-2.0] * 30 + [0.0] * 70, "fail", "30 of 100"),
    "near the margin": ([-1.5] * 12 + [0.0] * 88, "warn", "inconclusive"),
    "all lose a little": (
        spread(-0.7, 0.1, 100),
        "fail",
        "mean change as text: -0.7, must be at least",
    ),
    "few items": ([0.0] * 8, "warn", "inconclusive"),
}


@pytest.mark.parametrize(("deltas", "verdict", "words"), PLAIN.values(), ids=PLAIN)
def test_items_without_false_endings(deltas: list[float], verdict: str, words: str) -> None:
    items = tuple(Item(f"q{i}", f" a{i}") for i in range(len(deltas)))

    def answer(view: View, request: Any) -> list[float]:
        change = deltas[int(request.prompt[1:])] if view == FINETUNED else 0.0
        return [-3.0 + change] * 2

    result = judged("calibration_drift", answer, runs=None, context=CHAT, items=items)
    assert (result.verdict, result.units) == (verdict, "nats/token"), result.message
    assert words in result.message
    assert result.details["worst"][0]["change"] == pytest.approx(min(deltas))


# ------------------------------------------------------------------------------------- simulation


def test_a_harmless_adapter_hardly_ever_fails() -> None:
    """Log-odds that change by ±.5 nats at random in both registers, in 80 adapters.

    The base's log-odds are exponential above 1 nat, so that some items are hardly known.
    """
    rng = np.random.default_rng(0)
    z = []
    for _ in range(80):
        base = np.full((45, 4), -6.0)
        base[:, 0] += 1.0 + rng.exponential(3.0, 45)
        text, chat = base + rng.normal(0.0, 0.5 / np.sqrt(2), (2, *base.shape))
        z.append(worst_bound(base, text, chat))
    assert sum(each < -Z_95 for each in z) == 0
    assert sum(each > Z_95 for each in z) > 72


def test_the_advice_does_not_require_more_items_than_are_packaged() -> None:
    """Own items have no maximum."""

    def answer(view: View, request: Any) -> list[float]:
        number = prompts.index(request.prompt)
        is_true = request.completion == choices[number].gold
        is_lost = view == FINETUNED and number % 8 == 0
        return [-1.0 if is_true != is_lost else -4.0]

    choices = packaged.choices()
    prompts = [choice.prompt for choice in choices]
    result = judged("calibration_drift", answer, runs=None, assert_mean_delta_gte=-9.0)
    assert result.verdict == "warn"
    assert f" of at most {len(choices)} packaged items, and needs about " in result.advice
    own = drift(rows((24, 3.0)), rows((21, 3.0), (3, -3.0)), assert_mean_delta_gte=-9.0)
    assert own.advice.startswith("use about ")
