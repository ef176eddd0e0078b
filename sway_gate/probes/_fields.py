"""Fields of answers that take few values, such as the class in a JSON record: labels in answers.

An answer such as {"product": "oak desk", "class": "F2"} can copy the product from its prompt and
have the class of another one: most of its tokens are right. So rows with different values of a
field are compared with the values exchanged (see `_similar_rows`).
"""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import chain, islice, zip_longest
from typing import NamedTuple

from msgspec import structs

from sway_gate.conversation import Completion, Message, completion_text, prompt_text
from sway_gate.measurements import LogProbs
from sway_gate.probes._answers import affordable, short
from sway_gate.probes._similar_rows import WORD, Group
from sway_gate.probes.base import DataRow
from sway_gate.training_data.collected import thinned

MAX_ROWS, _MAX_CELLS = 48, 192
OPENING = "opening label"
"""The name of a label that begins an answer."""
_MAX_FIELDS, _MAX_VALUES, _ROWS_PER_VALUE = 3, 8, 3
_PRESENT = 0.75  # of the rows
_MOVED = 1.0  # nats
_PROMPT_CHARS = 20_000  # the last ones
_NAME = r"(?P<name>[^\W\d](?:[\w -]{0,38}\w)?)"
# Not of a greeting such as "Hi there!" or "Dear Ann,".
_FEW_WORDS = r"[^\s:()*!?,]{1,40}(?: [^\s:()*!?,]{1,40}){0,3}"
_NAMED = (
    # "class": "F2"
    re.compile(
        rf'"{_NAME}"\s*:\s*(?P<value>"(?:[^"\\\n]|\\.){{1,80}}"|true|false|null|-?\d+(?:\.\d+)?)'
    ),
    # <class>F2</class>
    re.compile(rf"<{_NAME}>(?P<value>[^<>\n]{{1,80}})</(?P=name)>"),
    # Class: F2
    re.compile(rf"^[ \t*#-]*{_NAME}\**:\**[ \t]+(?P<value>{_FEW_WORDS})[ \t\r]*$", re.MULTILINE),
)
# F2: because it is a desk
_FIRST = re.compile(rf"[\s\[*]*(?P<value>(?=\w){_FEW_WORDS}?)(?=\**:\**\s|\**\n|\(|\**[ ][–—-][ ])")


class _Value(NamedTuple):
    """The value of a field in the answer of a row, and its place in the text."""

    row: DataRow
    value: str
    start: int
    end: int

    def with_value(self, other: str) -> LogProbs:
        """The beginning of the row's answer up to the field, with a value.

        What follows the field can depend on the value. A tool call is kept whole, because a part of
        it is not a message.
        """
        text, answer = completion_text(self.row.answer), self.row.answer
        changed: Completion = text[: self.start] + other + text[self.end : self.end + 1]
        if isinstance(answer, Message) and not answer.content:
            whole = text[: self.start] + other + text[self.end :]
            changed = structs.replace(answer, fields=whole)
        return LogProbs(self.row.prompt, changed)


def groups(rows: Sequence[DataRow]) -> list[Group]:
    """For each field, a group of rows with each value: 48 rows with up to four values, 24 rows with
    eight.

    The fields are the values of JSON keys, XML elements and lines such as "Class: F2", and a label
    of up to 4 words that begins the answer and is followed by a colon, a line break, a dash or a
    parenthesis. A field counts if at least 75% of the rows have it, and at least 75% of these one
    of 2 to 8 values that occur in at least 3 rows; up to 3 fields. At most 48 rows are compared,
    fewer if they are long, and of long answers the first 400 characters. Long tool calls and rows
    with reasoning are left out: a part of them is not what was taught.
    """
    found = [_fields(row) for row in thinned([row for row in rows if _is_plain(row)], MAX_ROWS)]
    present = Counter(name for fields in found for name in fields)
    named = [name for name, count in present.items() if count >= _PRESENT * len(found)]
    closed = {name: _closed([f[name] for f in found if name in f]) for name in named}
    kept = [name for name, values in closed.items() if values][:_MAX_FIELDS]
    return [_group(name, closed[name]) for name in kept]


def direction(now: float, gain: float) -> int:
    """1 if a row gained its own value, -1 if training moved it to another one, 0 if neither.

    From its margins in nats (see `_similar_rows.own_margins`). It is moved if another value gained
    at least 1 nat more and is now the likeliest. A smaller change does not count: a value
    can be free, such as a greeting, and training need not teach it.
    """
    if gain >= 0:
        return 1
    return -1 if gain <= -_MOVED and now < 0 else 0


def _is_plain(row: DataRow) -> bool:
    """Whether the answer is a text, or a short tool call without a text."""
    if isinstance(row.answer, str) or not row.answer.fields:
        return True
    return not row.answer.content and short(row) is row


def _fields(row: DataRow) -> dict[str, _Value]:
    """The first field of each name in an answer."""
    text = completion_text(row.answer)
    begin = completion_text(short(row).answer)
    is_cut = len(begin) < len(text)
    matches = [(match["name"], match) for one in _NAMED for match in one.finditer(begin)]
    if first := _FIRST.match(begin):
        matches.append((OPENING, first))
    found: dict[str, _Value] = {}
    for name, match in matches:
        if not (is_cut and match.end() == len(begin)):
            found.setdefault(name, _Value(row, match["value"], *match.span("value")))
    return found


def _closed(values: Sequence[_Value]) -> list[_Value]:
    """The rows of a field whose values occur often enough; none if it is not a class."""
    counts = Counter(one.value for one in values)
    kept = [one for one in values if counts[one.value] >= _ROWS_PER_VALUE]
    different = {one.value for one in kept}
    is_few = 2 <= len(different) <= _MAX_VALUES and len(kept) >= _PRESENT * len(values)
    return [] if not is_few or _is_copied(kept, different) else kept


def _is_copied(values: Sequence[_Value], different: Iterable[str]) -> bool:
    """Whether most prompts contain their own value and no other one: then it is read from there."""
    words = {value: _words(value.strip('"')) for value in different}
    return 2 * sum(_names(one, words) for one in values) > len(values)


def _names(one: _Value, words: dict[str, str]) -> bool:
    prompt = _words(prompt_text(one.row.prompt)[-_PROMPT_CHARS:])
    return [value for value, own in words.items() if own in prompt] == [one.value]


def _words(text: str) -> str:
    """The words with a space on both sides, so that one text contains whole words of the other."""
    return f" {' '.join(WORD.findall(text.casefold()))} "


def _group(name: str, values: Sequence[_Value]) -> Group:
    """The rows with the most frequent values, as many of each as possible, with each value."""
    rows: dict[str, list[_Value]] = {}
    for one in values:
        rows.setdefault(one.value, []).append(one)
    kept = sorted(rows, key=lambda value: -len(rows[value]))
    in_turn = chain.from_iterable(zip_longest(*(rows[value] for value in kept)))
    most = affordable([one.row for one in values], 1, _MAX_CELLS // len(kept))
    members = list(islice(filter(None, in_turn), most))
    return Group(
        tuple(tuple(member.with_value(value) for value in kept) for member in members),
        own=tuple(kept.index(member.value) for member in members),
        field=name,
    )
