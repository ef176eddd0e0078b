"""The kinds of rows in one file, such as questions, labels and records.

An average over the file hides that the answers of one kind are wrong.
"""

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from sway_gate.conversation import Prompt, are_records, completion_text
from sway_gate.measurements import TeacherForced

_FIXED_REPLIES = "fixed replies"
# Words of a label or another short answer, and rows that share one.
_SHORT, _REPEATED = 4, 3


class RowKind(NamedTuple):
    """`name`: the form of its answers, numbered if several kinds have it; `rows`: their numbers.
    `has_reply`: whether its answers are one fixed reply."""

    name: str
    rows: list[int]
    has_reply: bool = False


def kinds(requests: Sequence[TeacherForced], least: int) -> list[RowKind]:
    """The kinds of the rows.

    Rows are of one kind if they have the same system message and the same form of answer: a fixed
    reply, a record, a label or another short or repeated answer, or another text. A fixed reply is
    the only answer that several rows share, such as "The text does not say." The rows of all kinds
    with fewer than `least` rows are one kind, and part of the largest one if they are still fewer.
    """
    texts = [completion_text(request.completion).strip() for request in requests]
    times = Counter(texts)
    repeated = [text for text, n in times.items() if n >= _REPEATED]
    has_reply = len(repeated) == 1 and len(times) > 1
    found: dict[tuple[str, str], list[int]] = {}
    for i, (request, text) in enumerate(zip(requests, texts, strict=True)):
        is_short = len(text.split()) <= _SHORT or times[text] >= _REPEATED
        is_record = are_records([request.completion])
        form = "records" if is_record else "short answers" if is_short else "texts"
        form = _FIXED_REPLIES if has_reply and text == repeated[0] else form
        found.setdefault((_system(request.prompt), form), []).append(i)
    large = [(form, rows) for (_, form), rows in found.items() if len(rows) >= least]
    rest = sorted(i for rows in found.values() if len(rows) < least for i in rows)
    if len(rest) >= least or not large:
        large.append(("other rows", rest))
    else:
        max(large, key=lambda kind: len(kind[1]))[1].extend(rest)
    return _numbered(large)


def _numbered(found: Sequence[tuple[str, list[int]]]) -> list[RowKind]:
    forms = [form for form, _ in found]
    return [
        RowKind(
            f"{form} {forms[: i + 1].count(form)}" if forms.count(form) > 1 else form,
            rows,
            has_reply=form == _FIXED_REPLIES,
        )
        for i, (form, rows) in enumerate(found)
    ]


def _system(prompt: Prompt) -> str:
    """The system messages of a prompt as one text; "" without one."""
    messages = () if isinstance(prompt, str) else prompt.messages
    return "\n".join(message.text() for message in messages if message.role == "system")
