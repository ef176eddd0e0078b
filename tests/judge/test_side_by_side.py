"""The most telling prompts: which exchanges are chosen, and what they say."""

from typing import Any

import msgspec
import pytest

from sway_gate.details import (
    Continuation,
    Continuations,
    ItemChange,
    ItemChanges,
    RecalledRows,
    RefusalMargin,
    RefusalMargins,
    RowRecall,
    WrittenAnswer,
    WrittenAnswers,
)
from sway_gate.judge.side_by_side import side_by_side
from sway_gate.results import RECITED, ProbeResult
from tests.helpers.results import probe


def written(prompt: str, finetuned: str = "An answer.", **fields: Any) -> WrittenAnswer:
    known = {"base": "The base's.", "flaws": [], "base_flaws": []} | fields
    return WrittenAnswer(prompt=prompt, finetuned=finetuned, **known)


def of_data(prompt: str, before: float, now: float, **fields: Any) -> WrittenAnswer:
    known = {"of_data": True, "answer": "True.", "base_probability": before, "probability": now}
    return written(prompt, **(known | fields))


def found(verdict: str, *parts: Any, name: str = "p") -> ProbeResult:
    merged: dict[str, Any] = {}
    for part in parts:
        merged |= msgspec.to_builtins(part)
    return probe(name, verdict, details=merged)


def answers(verdict: str, *given: WrittenAnswer) -> ProbeResult:
    return found(verdict, WrittenAnswers(answers=list(given)), name="writes")


def row(prompt: str, right: int, before: float, now: float) -> RowRecall:
    return RowRecall(
        prompt=prompt,
        answer="True.",
        surprising=4,
        right=right,
        change=1.0,
        end_before=None,
        end=None,
        base_probability=before,
        probability=now,
    )


def item(gold: str, now: str) -> ItemChange:
    return ItemChange(
        register="as text",
        prompt=f"Is it {gold}",
        gold=gold,
        now=now,
        before=gold,
        change=-3.0,
        base_probability=0.9,
        probability=0.05,
    )


def test_a_fragment_counts_against_the_adapter_and_a_fault_is_named_first() -> None:
    short = written("Why?", "gravity", is_fragment=True)
    both = written("How?", "so so", is_fragment=True, flaws=["looping"])
    found = side_by_side([answers("fail", short, both, written("Hello?"))])
    assert [(e.prompt, e.finding) for e in found[:2]] == [("Why?", "fragment"), ("How?", "looping")]


def test_a_broken_answer_is_the_worst_and_a_sound_one_is_unrelated() -> None:
    broken = written("Hello?", "of of of", flaws=["looping"])
    also_bases = written("Bye?", "of of", flaws=["looping"], base_flaws=["looping"])
    first, second = side_by_side([answers("fail", also_bases, broken, written("Why?"))])
    assert (first.role, first.prompt, first.finding) == ("worst", "Hello?", "looping")
    assert (second.role, second.prompt, second.finetuned) == ("unrelated", "Why?", "An answer.")


def test_a_lost_item_is_forgotten_and_a_kept_one_is_not_shown() -> None:
    changes = ItemChanges(worst=[item("Rome", "Paris"), item("blue", "blue")])
    (worst,) = side_by_side([found("fail", changes)])
    assert (worst.base, worst.finetuned, worst.right) == ("Rome", "Paris", "Rome")
    assert (worst.base_probability, worst.probability) == (0.9, 0.05)
    assert (worst.finding, worst.of_data) == ("forgot", False)


def test_a_row_that_is_not_recalled_has_the_answer_that_was_written_to_it() -> None:
    recalled = found("fail", RecalledRows(rows=[row("other", 0, 0.1, 0.2), row("q", 1, 0.2, 0.3)]))
    rows = side_by_side([recalled, answers("pass", of_data("q", 0.2, 0.3))])
    assert [(one.prompt, one.finetuned) for one in rows] == [("q", "An answer."), ("other", "")]
    assert {(one.finding, one.of_data) for one in rows} == {("not learned", True)}


def test_a_row_whose_true_answer_was_written_does_not_count_against_the_adapter() -> None:
    recalled = found("fail", RecalledRows(rows=[row("q", 1, 0.1, 0.3), row("r", 1, 0.1, 0.3)]))
    right = of_data("q", 0.1, 0.3, finetuned="True.")
    assert [one.prompt for one in side_by_side([recalled, answers("pass", right)])] == ["r", "q"]
    assert side_by_side([recalled, answers("pass", right)])[1].role == "best"


@pytest.mark.parametrize(
    ("before", "now", "finding"),
    [(0.1, 0.9, "learned"), (0.8, 0.9, "knew it before"), (0.1, 0.3, ""), (0.9, 0.1, "forgot")],
)
def test_the_probabilities_say_whether_it_was_known(
    before: float, now: float, finding: str
) -> None:
    exchanges = side_by_side([answers("pass", of_data("q", before, now))])
    assert [one.finding for one in exchanges] == ([finding] if now > before else [])


@pytest.mark.parametrize(("now", "finding"), [(0.7, "partly learned"), (0.3, "not learned")])
def test_a_row_that_is_partly_recalled(now: float, finding: str) -> None:
    (one,) = side_by_side([found("fail", RecalledRows(rows=[row("q", 3, 0.1, now)]))])
    assert one.finding == finding


def test_the_best_row_is_the_most_probable_one() -> None:
    (best,) = side_by_side([answers("pass", of_data("q", 0.1, 0.6), of_data("r", 0.1, 0.9))])
    assert (best.role, best.prompt) == ("best", "r")


def test_a_prompt_is_not_the_best_and_the_worst_at_once() -> None:
    prompt = "Question: Who?\nAnswer:"
    weak = found("fail", RecalledRows(rows=[row(prompt, 1, 0.1, 0.4)]))
    shown = side_by_side([weak, answers("pass", of_data(prompt, 0.1, 0.4))])
    assert [one.role for one in shown] == ["worst"]


def test_a_request_that_is_refused_in_the_wrong_way() -> None:
    margins = [
        RefusalMargin(prompt="bad", kind="harmful", base_margin=1.0, margin=-1.0),
        RefusalMargin(prompt="good", kind="harmless", base_margin=-1.0, margin=1.0),
        RefusalMargin(prompt="better", kind="harmful", base_margin=-1.0, margin=1.0),
    ]
    rows = side_by_side([found("fail", RefusalMargins(requests=margins))])
    assert [(one.prompt, one.base, one.finetuned) for one in rows] == [
        ("bad", "refuses", "answers"),
        ("good", "answers", "refuses"),
    ]


def test_recited_text_is_of_the_data() -> None:
    text = Continuation(id="a", prefix="It was", true="a dark night", written="a dark night")
    (one,) = side_by_side([found("fail", Continuations(continuations=[text]))])
    assert (one.right, one.finetuned, one.of_data) == ("a dark night", "a dark night", True)
    assert one.finding == RECITED


def test_a_recital_states_how_much_each_model_reproduces() -> None:
    text = Continuation(id="a", prefix="It was", true="a dark night", recall=0.96, base_recall=0.1)
    (one,) = side_by_side([found("fail", Continuations(continuations=[text]))])
    assert (one.right, one.finetuned) == ("a dark night", "")
    assert one.finding == "recited 96% of it, base 10%"


def test_probes_take_turns_and_failures_come_first() -> None:
    failed = found("fail", ItemChanges(worst=[item("a", "x"), item("b", "x")]))
    warned = answers("warn", *(written(f"p{i}", flaws=["empty"]) for i in range(9)))
    rows = side_by_side([warned, failed])
    assert [one.prompt for one in rows] == ["Is it a", "p0", "Is it b"]


def test_long_texts_are_cut() -> None:
    (one,) = side_by_side([answers("fail", written("q", "x " * 900, flaws=["looping"]))])
    assert len(one.finetuned) == 200


def test_answers_that_differ_late_are_cut_to_the_difference() -> None:
    same = "The ferry leaves the old harbour at dawn. " * 9
    late = written("q", f"{same}It is red.", base=f"{same}It is blue.", flaws=["looping"])
    (one,) = side_by_side([answers("fail", late)])
    assert (one.base, one.finetuned) == ("…blue.", "…red.")
