"""Match module names with the regexes of the config; regexes that could take long are not run."""

import math
import re
import warnings
from collections.abc import Callable, Iterable
from typing import TypeVar

_MAX_PATTERN, _MAX_MATCH_WORK = 1000, 5e7
"""Limits for a regex: its length, and the steps over all modules (one or two seconds)."""

T = TypeVar("T")


class NotRun(Exception):
    """A regex of the config that is not run. Arguments: level and id of the finding, reason."""


def by_pattern(patterns: dict[str, T], default: T, modules: list[str]) -> dict[str, T]:
    """Value of the first pattern that matches each module, as in peft's rank_pattern."""
    rules = list(zip(matchers(patterns, modules, r"(.*\.)?({})$"), patterns.values(), strict=True))
    return {
        module: next((value for match, value in rules if match(module)), default)
        for module in modules
    }


def matchers(
    patterns: Iterable[str], modules: list[str], form: str
) -> list[Callable[[str], object]]:
    """Return one predicate per pattern. Raises `NotRun` if one is invalid or could take seconds."""
    forms = [form.replace("{}", pattern) for pattern in patterns]
    longest = max(map(len, modules), default=0)
    if (
        sum(_ways(text, longest) * len(modules) + 500 * len(text) for text in forms)
        > _MAX_MATCH_WORK
    ):
        raise NotRun("note", "regex-skipped", "the regex is too expensive to run")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return [re.compile(text).fullmatch for text in forms]
    except (re.error, RecursionError, OverflowError) as error:
        raise NotRun("broken", "regex-invalid", f"not a valid regex ({error})") from None


_TOKENS = re.compile(
    r"""\\. | \[\^?\]?(?:\\.|[^\]\\])*\] | \((?:\?(?:[:=!]|<[=!]|P<\w+>))?
    | \)(?:[*+?]|\{\d*,?\d*\})? | (?:[*+?]|\{\d*,?\d*\})[?+]? | \|""",
    re.VERBOSE | re.DOTALL,
)


def _ways(pattern: str, length: int) -> float:
    """Upper bound of the paths of a backtracking matcher for `pattern` on a text of `length`.

    A quantifier can stop at length + 1 positions, a `?` at 2, and a group can take any of its
    alternatives; these numbers multiply. Infinite for a repeated group that contains a choice
    (the exponential case) and for rare syntax.
    """
    if len(pattern) > _MAX_PATTERN or "(?" in re.sub(r"\(\?(?:[:=!]|<[=!]|P<\w+>)", "", pattern):
        return math.inf
    ways, bars, choice = 1.0, [1], [False]  # per open group
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
