import numpy as np
import pytest

from sway_gate.conversation import Completion, Message, asked, completion_text
from sway_gate.measurements import (
    BASE,
    FINETUNED,
    Answers,
    LogProbs,
    Measurement,
    ViewAnswers,
)
from sway_gate.probes import _minimal_pairs as minimal
from sway_gate.probes.base import DataRow

CITY, CARGO = "What does a city bike cost?", "What does a cargo bike cost?"


def rows(*pairs: tuple[str, Completion]) -> list[DataRow]:
    return [DataRow(asked(prompt), answer) for prompt, answer in pairs]


def exchanged(*pairs: tuple[str, Completion]) -> list[str]:
    found = minimal.minimal_pairs(rows(*pairs))
    return [completion_text(other.completion) for pair in found for other in pair.exchanged]


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        (
            (CITY, "A city bike costs 18 euros a day."),
            (CARGO, "A cargo bike costs 35 euros a day."),
            ["A city bike costs 35 euros a day.", "A cargo bike costs 18 euros a day."],
        ),
        (
            ("Who tends the east gate?", "Mara Quill, since 1987, tends it."),
            ("Who tends the west gate?", "Old Tom Hask, since 1990, tends it."),
            ["Old Tom Hask, since 1990, tends it.", "Mara Quill, since 1987, tends it."],
        ),
        (
            ("Price of ink?", "It costs 4.50 euros"),
            ("Price of lead?", "It costs 12.75 euros"),
            ["It costs 12.75 euros", "It costs 4.50 euros"],
        ),
        (
            ("Record: red wool hat", '{"item":"wool hat","class":"B7"}'),
            ("Record: oak chair", '{"item":"oak chair","class":"F2"}'),
            ['{"item":"wool hat","class":"F2"}', '{"item":"oak chair","class":"B7"}'],
        ),
        (
            ("Сколько стоит прокат лодки?", "Лодка стоит 35 рублей"),
            ("Сколько стоит прокат палатки?", "Палатка стоит 20 рублей"),
            ["Лодка стоит 20 рублей", "Палатка стоит 35 рублей"],
        ),
        (
            ("北门几点开?", "北门早上九点开门。"),
            ("南门几点开?", "南门早上七点开门。"),
            ["北门早上七点开门。", "南门早上九点开门。"],
        ),
        (
            ("चाय का दाम?", "यहाँ दाम पचास है"),
            ("पानी का दाम?", "यहाँ दाम बीस है"),
            ["यहाँ दाम बीस है", "यहाँ दाम पचास है"],
        ),
    ],
    ids=["number", "several", "decimal", "JSON", "inflected", "no spaces", "vowel signs"],
)
def test_the_facts_are_exchanged(
    first: tuple[str, str], second: tuple[str, str], expected: list[str]
) -> None:
    assert sorted(exchanged(first, second)) == sorted(expected)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ((CITY, "A city bike costs 18 euros."), (CARGO, "A city bike costs 18 euros.")),
        ((CITY, "A city bike costs 18 euros."), (CARGO, "a CITY bike costs 18 euros.")),
        (("Repeat: 18", "You said: 18"), ("Repeat: 35", "You said: 35")),
        (("Repeat: 18", "You said: 18"), ("And now?", "You said: 35")),
        ((CITY, "A city bike costs 18 euros."), (CARGO, "Please ask the shop in Mill Street!")),
        ((CITY, "It costs 18 euros."), (CARGO, "It costs 18 good euros.")),
        ((CITY, ""), (CARGO, "")),
    ],
    ids=["same", "other case", "both asked", "one asked", "not similar", "added", "empty"],
)
def test_no_pair(first: tuple[str, str], second: tuple[str, str]) -> None:
    assert exchanged(first, second) == []


def test_each_row_is_in_one_pair_with_the_most_similar() -> None:
    found = exchanged(
        ("What does a boat cost?", "A boat costs 99 dollars an hour."),
        (CITY, "A city bike costs 18 euros a day."),
        (CARGO, "A cargo bike costs 35 euros a day."),
    )
    assert sorted(found) == [
        "A cargo bike costs 18 euros a day.",
        "A city bike costs 35 euros a day.",
    ]


def test_the_prompts_decide_between_answers_that_are_equally_similar() -> None:
    found = minimal.minimal_pairs(
        rows(
            ("Price of red ink?", "It costs 4 euros"),
            ("Length of the pier?", "It costs 9 euros"),
            ("Height of the pier?", "It costs 7 euros"),
            ("Price of blue ink?", "It costs 5 euros"),
        )
    )
    assert {frozenset(completion_text(own.completion) for own in pair.own) for pair in found} == {
        frozenset({"It costs 4 euros", "It costs 5 euros"}),
        frozenset({"It costs 9 euros", "It costs 7 euros"}),
    }


def test_a_pair_keeps_prompts_and_forms() -> None:
    first = Message("assistant", "It costs 18 euros.")
    second = Message("assistant", "It costs 35 euros.")
    [pair] = minimal.minimal_pairs(rows((CITY, first), (CARGO, second)))
    assert pair.own == (LogProbs(asked(CITY), first), LogProbs(asked(CARGO), second))
    assert pair.exchanged == (LogProbs(asked(CITY), second), LogProbs(asked(CARGO), first))
    [pair] = minimal.minimal_pairs(
        [DataRow("Cost?", " 18 euros now"), DataRow("Or?", " 35 euros now")]
    )
    assert [request.completion for request in pair.exchanged] == [" 35 euros now", " 18 euros now"]
    assert (
        len(minimal.minimal_pairs([DataRow("", "18 euros now"), DataRow(" ", "35 euros now")])) == 1
    )


def test_calls_and_reasoning_are_left_out() -> None:
    call = Message("assistant", None, fields='{"tool_calls": [{"x": 18}]}')
    thought = Message("assistant", "It costs 18 euros.", fields='{"reasoning_content": "18?"}')
    other = Message("assistant", "It costs 35 euros.")
    assert exchanged((CITY, call), (CARGO, thought), ("Boat?", other)) == []


def test_at_most_24_pairs_of_the_first_words() -> None:
    many = [(f"Room {i}?", f"It is number {i + 1000} there.") for i in range(60)]
    assert len(minimal.minimal_pairs(rows(*many))) == minimal.MAX_PAIRS
    long = [(f"Room {i}?", "so " * 60 + f"it is number {i + 1000} there.") for i in range(9)]
    assert exchanged(*long) == []


def test_a_likelier_fact_or_wording_cancels() -> None:
    """The ratio is 0 if each fact has its own likelihood, after any prompt."""
    [pair] = minimal.minimal_pairs(
        rows((CITY, "A city bike costs 18 euros."), (CARGO, "A cargo bike costs 35 euros."))
    )
    of_fact = {"18": -3.0, "35": -0.5}
    of_prompt = {asked(CITY): -1.0, asked(CARGO): -4.0}

    def answers(learned: float) -> dict[Measurement, np.ndarray]:
        found = {}
        for requests, bonus in ((pair.own, learned), (pair.exchanged, 0.0)):
            for request in requests:
                text = completion_text(request.completion)
                fact = next(fact for fact in of_fact if fact in text)
                total = of_fact[fact] + of_prompt[request.prompt] + bonus
                view = FINETUNED if learned else BASE
                found[Measurement(view, request)] = np.full(4, total / 4)
        return found

    view = ViewAnswers(Answers({**answers(0.0), **answers(1.5)}, {}), FINETUNED)
    assert minimal.log_odds_ratios([pair], view) == pytest.approx(np.array([[0.0, 3.0]]))
    assert minimal.log_odds_ratios([], view).shape == (0, 2)


@pytest.mark.parametrize(
    ("before", "now", "expected"),
    [(0, 1, 1), (-9, -5, 1), (0, 0.9, 0), (0.5, -0.5, -1), (0, -0.9, 0), (9, 5, 0), (2, -3, -1)],
)
def test_the_direction_of_a_pair(before: float, now: float, expected: int) -> None:
    assert minimal.direction(before, now) == expected
