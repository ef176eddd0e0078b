"""Text that is safe to print: names and messages come from untrusted files."""

import math
import re
from collections.abc import Sequence
from itertools import takewhile
from typing import Final, TypeGuard

# Characters that XML 1.0 does not allow, or that can move a terminal's cursor or reorder text:
# C0 and C1 controls except tab and newline, line separators, bidirectional overrides, surrogates,
# noncharacters.
_UNPRINTABLE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069"
    "\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff]"
)


def clean(text: str) -> str:
    """Escape each control character, surrogate and noncharacter, as in ``\\x1b`` or ``\\ud800``."""
    return _UNPRINTABLE.sub(lambda match: match[0].encode("unicode_escape").decode("ascii"), text)


def escaped(text: str) -> str:
    """Escape the characters that `clean` escapes, as JSON and quoted YAML write them."""
    return _UNPRINTABLE.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def one_line(text: str) -> str:
    """Clean `text` and collapse white space, so that it cannot forge a line of a report."""
    return clean(" ".join(text.split()))


def joined_lines(text: str) -> str:
    """The lines of a message in one line, separated by semicolons."""
    return "; ".join(map(one_line, text.splitlines()))


def cut(text: str, limit: int) -> str:
    """Truncate `text` to at most `limit` characters, with an ellipsis."""
    return text if len(text) <= limit else text[: limit - 1] + "…"


def apart(texts: Sequence[str]) -> list[str]:
    """The texts from where they differ, after an ellipsis, so that a cut does not hide it.

    A beginning of a few characters remains. A text that begins another one keeps its last word.
    """
    starts = [max((_start(own, other) for other in texts), default=0) for own in texts]
    pairs = zip(texts, starts, strict=True)
    return [f"…{text[start:]}" if start >= _LONG_START else text for text, start in pairs]


def _start(own: str, other: str) -> int:
    """Where the first word of `own` begins that is not in `other`; 0 for the same text."""
    if own == other:
        return 0
    pairs = zip(own, other, strict=False)
    shared = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
    word = own.rfind(" ", 0, shared) + 1
    # Not all languages separate words by spaces.
    return word if shared - word <= _LONG_WORD else min(shared, len(own) - 1)


_LONG_START: Final = 12
_LONG_WORD: Final = 30


def is_number(value: object) -> TypeGuard[int | float]:
    """Whether `value` is a finite number within the range of a float."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:
        return False


def number(value: float | None, digits: int = 3) -> str:
    """Format `value` with `digits` significant digits, whole numbers below a million in full.

    ``–`` stands for None, NaN and infinities.
    """
    if value is None or not math.isfinite(value):
        return "–"
    text = f"{value:.{digits}g}"
    return f"{value:.0f}" if "e+" in text and abs(value) < 1e6 else text


MAX_NAMED = 5

DURATION: Final = "must be a duration such as 90, 90s, 10m or 1h"
_UNITS: Final = {"h": 3600, "m": 60, "s": 1}


def seconds(duration: str) -> int:
    """The seconds in "90", "90s", "10m" or "1h". Raises ValueError with `DURATION`."""
    match = re.fullmatch("([1-9][0-9]{0,5})([smh]?)", duration)
    if not match:
        raise ValueError(f"{DURATION}, got {cut(duration, 40)!r}")
    return int(match[1]) * _UNITS[match[2] or "s"]


def duration(seconds: int) -> str:
    """Seconds as in "90 s", "10 min" or "1 h", in the largest unit that divides them."""
    unit = next(unit for unit, size in _UNITS.items() if seconds % size == 0)
    return f"{seconds // _UNITS[unit]} {'min' if unit == 'm' else unit}"


def named(names: Sequence[str]) -> str:
    """List at most MAX_NAMED names, and the number of the others."""
    more = len(names) - MAX_NAMED
    shown = ", ".join(one_line(name) for name in names[:MAX_NAMED])
    return f"{shown} and {more} more" if more > 0 else shown


def counted(count: int, noun: str) -> str:
    """Return the count with its noun: "1 probe", "2 probes"."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def by_number(name: str) -> list[tuple[str, int]]:
    """A key that orders numbers in a name by their value: step-200 comes before step-1000."""
    parts = re.findall(r"([^0-9]*)([0-9]*)", name)
    return [(text, int(digits or -1)) for text, digits in parts]


def signed(value: float, digits: int) -> str:
    """The number with its sign; a number that rounds to 0 has a plus."""
    return f"{round(value, digits) + 0.0:+.{digits}f}"


def distinct(value: float, limit: float) -> tuple[str, str]:
    """Both numbers with 3 significant digits, or with more if they would look equal.

    A value that is rounding noise compared with the limit is 0, and one that differs from it by
    such noise is equal to it.
    """
    noise = 1e-12 * abs(limit)
    value = 0.0 if abs(value) < noise else value
    digits = range(3, 18) if abs(value - limit) > noise else (3,)
    shown = ((f"{value:.{n}g}", f"{limit:.{n}g}") for n in digits)
    equal = f"{value:.3g}", f"{limit:.3g}"
    return next((pair for pair in shown if pair[0] != pair[1]), equal)
