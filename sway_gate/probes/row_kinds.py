"""The kinds of rows in one file, such as questions, labels and records.

An average over the file hides that the answers of one kind are wrong.
"""

from collections import Counter
from collections.abc import Sequence

from sway_gate.conversation import Prompt, are_records, completion_text
from sway_gate.measurements import TeacherForced

# Words of a label or another short answer, and rows that share a fixed reply such as "The text does
# not say."
_SHORT, _REPEATED = 4, 3


def kinds(requests: Sequence[TeacherForced], least: int) -> list[list[int]]:
    """The numbers of the rows of each kind.

    Rows are of one kind if they have the same system message and the same form of answer: a
    record, a label or another short or repeated answer, or another text. The rows of all kinds with
    fewer than `least` rows are one kind, and part of the largest one if they are still fewer.
    """
    texts = [completion_text(request.completion).strip() for request in requests]
    times = Counter(texts)
    found: dict[tuple[str, str], list[int]] = {}
    for i, (request, text) in enumerate(zip(requests, texts, strict=True)):
        is_short = len(text.split()) <= _SHORT or times[text] >= _REPEATED
        form = "record" if are_records([request.completion]) else "short" if is_short else "text"
        found.setdefault((_system(request.prompt), form), []).append(i)
    large = [rows for rows in found.values() if len(rows) >= least]
    rest = sorted(i for rows in found.values() if len(rows) < least for i in rows)
    if len(rest) >= least or not large:
        return [*large, rest]
    max(large, key=len).extend(rest)
    return large


def _system(prompt: Prompt) -> str:
    """The system messages of a prompt as one text; "" without one."""
    messages = () if isinstance(prompt, str) else prompt.messages
    return "\n".join(message.text() for message in messages if message.role == "system")
