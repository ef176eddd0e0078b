import pytest

from sway_gate.conversation import Conversation, Message
from sway_gate.measurements import TeacherForced
from sway_gate.probes.row_kinds import kinds


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
    "one kind": (TEXTS, [range(6)]),
    "plain texts": (PLAIN, [range(6)]),
    "records": (TEXTS + RECORDS, [range(6), range(6, 12)]),
    "labels": (LABELS + TEXTS, [range(6), range(6, 12)]),
    "a fixed reply": (TEXTS + REPLIES, [range(6), range(6, 10)]),
    "another system message": (TEXTS + JOKES, [range(6), range(6, 12)]),
    "few of the kinds": (TEXTS + RECORDS[:2] + JOKES[:2], [range(6), range(6, 10)]),
    "few of a kind": (TEXTS + RECORDS[:3], [range(9)]),
    "few rows": (TEXTS[:2] + RECORDS[:1], [range(3)]),
    "no rows": ([], [range(0)]),
}


@pytest.mark.parametrize(("rows", "expected"), KINDS.values(), ids=KINDS)
def test_rows_are_divided_into_kinds(rows: list[TeacherForced], expected: list[range]) -> None:
    assert kinds(rows, 4) == [list(kind) for kind in expected]
