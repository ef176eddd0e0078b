import pytest

from sway_gate.conversation import Conversation, Message
from sway_gate.measurements import TeacherForced
from sway_gate.probes.row_kinds import RowKind, kinds


def row(answer: str, system: str = "", prompt: str = "Hello?") -> TeacherForced:
    messages = [Message("user", prompt)]
    before = [Message("system", system)] if system else []
    return TeacherForced(Conversation((*before, *messages)), Message("assistant", answer))


TEXTS = [row(f"The answer is number {i}.") for i in range(6)]
LABELS = [row(("yes", "no")[i % 2]) for i in range(6)]
RECORDS = [row(f'{{"id": {i}}}') for i in range(6)]
REPLIES = [row("The text does not say it.")] * 4
JOKES = [row(f"This is my joke {i}.", system="Be funny.") for i in range(6)]
PLAIN = [TeacherForced(f"Question {i}?", f" The answer is number {i}.") for i in range(6)]

KINDS = {
    "one kind": (TEXTS, {"texts": range(6)}),
    "plain texts": (PLAIN, {"texts": range(6)}),
    "records": (TEXTS + RECORDS, {"texts": range(6), "records": range(6, 12)}),
    "labels": (LABELS + TEXTS, {"short answers": range(6), "texts": range(6, 12)}),
    "a fixed reply": (TEXTS + REPLIES, {"texts": range(6), "fixed replies": range(6, 10)}),
    "a fixed reply and labels": (LABELS + REPLIES, {"short answers": range(10)}),
    "one reply": (REPLIES, {"short answers": range(4)}),
    "another system message": (TEXTS + JOKES, {"texts 1": range(6), "texts 2": range(6, 12)}),
    "few of the kinds": (
        TEXTS + RECORDS[:2] + JOKES[:2],
        {"texts": range(6), "other rows": range(6, 10)},
    ),
    "few of a kind": (TEXTS + RECORDS[:3], {"texts": range(9)}),
    "few rows": (TEXTS[:2] + RECORDS[:1], {"other rows": range(3)}),
    "no rows": ([], {"other rows": range(0)}),
}


@pytest.mark.parametrize(("rows", "expected"), KINDS.values(), ids=KINDS)
def test_rows_are_divided_into_kinds(rows: list[TeacherForced], expected: dict[str, range]) -> None:
    assert kinds(rows, 4) == [
        RowKind(name, list(own), has_reply=name == "fixed replies")
        for name, own in expected.items()
    ]
