"""Names of modules against the config's regexes, none of which is run where it could take long."""

import math
import re
import warnings
from collections.abc import Callable, Iterable
from typing import TypeVar

_MAX_PATTERN, _MAX_MATCH_WORK = 1000, 5e7
"""Beyond them no regex is run: its characters, and steps over all modules, a second or two."""

T = TypeVar("T")


class NotRun(Exception):
    """A pattern of the config that is not run. Arguments: level and id of the finding, reason."""


def by_pattern(patterns: dict[str, T], default: T, modules: list[str]) -> dict[str, T]:
    """Each module's value: that of the first pattern that matches it, as in peft's rank_pattern and alpha_pattern."""
    rules = list(zip(matchers(patterns, modules, r"(.*\.)?({})$"), patterns.values(), strict=True))
    return {
        module: next((value for match, value in rules if match(module)), default)
        for module in modules
    }


def matchers(
    patterns: Iterable[str], modules: list[str], form: str
) -> list[Callable[[str], object]]:
    """One predicate a pattern. Raises `NotRun` where to compile and run them could take more than a few seconds."""
    forms = [form.replace("{}", pattern) for pattern in patterns]
    longest = max(map(len, modules), default=0)
    if (
        sum(_ways(text, longest) * len(modules) + 500 * len(text) for text in forms)
        > _MAX_MATCH_WORK
    ):
        raise NotRun("note", "regex-skipped", "too costly a regex")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return [re.compile(text).fullmatch for text in forms]
    except (re.error, RecursionError, OverflowError) as error:
        raise NotRun("broken", "regex-invalid", f"not a regex ({error})") from None


_TOKENS = re.compile(
    r"""\\. | \[\^?\]?(?:\\.|[^\]\\])*\] | \((?:\?(?:[:=!]|<[=!]|P<\w+>))?
    | \)(?:[*+?]|\{\d*,?\d*\})? | (?:[*+?]|\{\d*,?\d*\})[?+]? | \|""",
    re.VERBOSE | re.DOTALL,
)


def _ways(pattern: str, length: int) -> float:
    """At least the ways in which a backtracking matcher can try `pattern` on a text of `length`.

    A free quantifier can stop at length + 1 places, a `?` at 2, a group can take any of its alternatives; they
    multiply. Infinite where a repeated group holds a choice of its own, the case that explodes, and for rare syntax.
    """
    if len(pattern) > _MAX_PATTERN or "(?" in re.sub(r"\(\?(?:[:=!]|<[=!]|P<\w+>)", "", pattern):
        return math.inf
    ways, bars, choice = 1.0, [1], [False]  # of each open group
    for piece in _TOKENS.findall(pattern):
        if piece == "|":
            bars[-1] += 1
            choice[-1] = True
        elif piece[0] == "(":
            bars.append(1)
            choice.append(False)
        elif piece[0] in "*+{?" or piece[0] == ")":
            repeat = piece[1:] if piece[0] == ")" else piece
            if piece[0] == ")" and len(bars) > 1:
                ways *= bars.pop()
                inner = choice.pop()
                if inner and repeat not in ("", "?"):
                    return math.inf
                choice[-1] |= inner
            if repeat:
                ways *= 2 if repeat[0] == "?" else length + 1
                choice[-1] = True
    return ways * bars[0]
