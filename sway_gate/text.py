"""Text that is safe to show: names and messages come from files that may be hostile."""

import math
import re
from collections.abc import Sequence

# Not allowed in XML 1.0, or able to move a terminal's cursor or to reorder what is shown:
# C0 and C1 controls but tab and newline, line separators, bidirectional overrides, surrogates, noncharacters.
_UNPRINTABLE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff]"
)


def clean(text: str) -> str:
    """`text` with each control character, surrogate and noncharacter spelled out as ``\\x1b`` or ``\\ud800``."""
    return _UNPRINTABLE.sub(lambda match: match[0].encode("unicode_escape").decode("ascii"), text)


def one_line(text: str) -> str:
    """`clean`, with every run of white space made one space: no text can forge a line of a report."""
    return clean(" ".join(text.split()))


def cut(text: str, limit: int) -> str:
    """`text` in at most `limit` characters."""
    return text if len(text) <= limit else text[: limit - 1] + "…"


def number(value: float | None, digits: int = 3) -> str:
    """`value` to `digits` significant digits, whole numbers up to a million in full; ``–`` for nothing."""
    if value is None or not math.isfinite(value):
        return "–"
    text = f"{value:.{digits}g}"
    return f"{value:.0f}" if "e+" in text and abs(value) < 1e6 else text


MAX_NAMED = 5


def named(names: Sequence[str]) -> str:
    more = len(names) - MAX_NAMED
    shown = ", ".join(one_line(name) for name in names[:MAX_NAMED])
    return f"{shown} and {more} more" if more > 0 else shown


def counted(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
