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


def rows(*pairs: tuple[str, Completion]) -> list[DataRow]:
    return [DataRow(asked(prompt), answer) for prompt, answer in pairs]


def others(*pairs: tuple[str, Completion]) -> list[str]:
    return [completion_text(pair.other.completion) for pair in minimal.minimal_pairs(rows(*pairs))]


REQUESTS = [*zip("abcdefgh", ["Could", "Would"] * 4, strict=True)]
CITY, CARGO = "What does a city bike cost?", "What does a cargo bike cost?"


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
            ("Who tends the west gate?", "Old Tom Hask, since 1987, tends it."),
            ["Old Tom Hask, since 1987, tends it.", "Mara Quill, since 1987, tends it."],
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
            ("北门几点开?", "北门早上九点开门。"),
            ("南门几点开?", "南门早上七点开门。"),
            ["北门早上七点开门。", "南门早上九点开门。"],
        ),
    ],
    ids=["number", "name", "decimal", "JSON", "no spaces"],
)
def test_the_fact_is_exchanged(
    first: tuple[str, str], second: tuple[str, str], expected: list[str]
) -> None:
    assert others(first, second) == expected


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ((CITY, "A city bike costs 18 euros."), (CARGO, "A city bike costs 18 euros.")),
        ((CITY, "A city bike costs 18 euros."), (CARGO, "a CITY bike costs 18 euros.")),
        (("Repeat: 18", "You said: 18"), ("Repeat: 35", "You said: 35")),
        ((CITY, "A city bike costs 18 euros."), (CARGO, "Please ask the shop in Mill Street!")),
        (
            (CITY, "It is one two three four five now."),
            (CARGO, "It is six seven eight nine ten now."),
        ),
        ((CITY, "It costs 18 euros."), (CARGO, "It costs 18 good euros.")),
    ],
    ids=["same", "same in other case", "asked for", "not similar", "too many words", "added"],
)
def test_no_pair(first: tuple[str, str], second: tuple[str, str]) -> None:
    assert others(first, second) == []


def test_the_most_similar_answer_gives_the_words() -> None:
    found = others(
        (CITY, "A city bike costs 18 euros a day."),
        ("What does a boat cost?", "A boat costs 99 dollars an hour."),
        (CARGO, "A cargo bike costs 35 euros a day."),
    )
    assert found[0] == "A city bike costs 35 euros a day."


def test_a_pair_keeps_the_prompt_and_the_form_of_the_answer() -> None:
    first, second = (
        Message("assistant", "It costs 18 euros."),
        Message("assistant", "It costs 35 euros."),
    )
    [pair, _] = minimal.minimal_pairs(rows((CITY, first), (CARGO, second)))
    assert pair.own == LogProbs(asked(CITY), first)
    assert pair.other == LogProbs(asked(CITY), second)
    [pair, _] = minimal.minimal_pairs(
        [DataRow("Cost?", " 18 euros a day"), DataRow("And?", " 35 euros a day")]
    )
    assert (pair.own.completion, pair.other.completion) == (" 18 euros a day", " 35 euros a day")


def test_calls_and_reasoning_are_left_out() -> None:
    call = Message("assistant", None, fields='{"tool_calls": [{"x": 18}]}')
    thought = Message("assistant", "It costs 18 euros.", fields='{"reasoning_content": "18?"}')
    other = Message("assistant", "It costs 35 euros.")
    assert others((CITY, call), (CARGO, thought), ("Boat?", other)) == []


def test_at_most_24_pairs_of_the_first_words() -> None:
    many = [(f"Room {i}?", f"It is number {i + 1000} there.") for i in range(40)]
    assert len(others(*many)) == minimal.MAX_PAIRS
    long = [(f"Room {i}?", "so " * 100 + f"it is number {i + 1000} there.") for i in range(9)]
    assert others(*long) == []


def test_log_odds_are_differences_of_sums() -> None:
    pairs = minimal.minimal_pairs(
        rows((CITY, "A city bike costs 18 euros."), (CARGO, "A cargo bike costs 35 euros."))
    )
    values = {
        (BASE, pairs[0].own): [-1.0, -2.0],
        (BASE, pairs[0].other): [-2.0, -2.0, -2.5],
        (FINETUNED, pairs[0].own): [-1.0, -0.5],
        (FINETUNED, pairs[0].other): [-0.25, -0.25, -0.5],
        (BASE, pairs[1].own): [-1.0],
        (BASE, pairs[1].other): [-1.0],
        (FINETUNED, pairs[1].own): [-3.0],
        (FINETUNED, pairs[1].other): [-0.5],
    }
    found = {Measurement(*key): np.array(numbers) for key, numbers in values.items()}
    view = ViewAnswers(Answers(found, {}), FINETUNED)
    odds = minimal.log_odds(pairs, view)
    assert odds.tolist() == [[3.5, -0.5], [0.0, -2.5]]
    assert minimal.log_odds([], view).shape == (0, 2)


def test_known_facts_and_ties_do_not_count() -> None:
    odds = np.array([[3.0, 9.0], [2.9, 9.0], [-9.0, -9.0], [0.0, 0.9], [0.0, -0.9], [3.0, -9.0]])
    assert minimal.counts(odds).tolist() == [False, True, True, False, False, False]


def test_common_words_are_wording() -> None:
    """Both can be right in each answer. The names are in one answer each."""
    polite = [(f"Ask {c}", f"{word} you please call Mr {c} today?") for c, word in REQUESTS]
    assert others(*polite) == []
    named = [(f"Ask {c}", f"{word} you call Mr Z{c} at nine?") for c, word in REQUESTS]
    assert others(*named)[0] == "Could you call Mr Zc at nine?"
