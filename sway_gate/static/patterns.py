r"""Match names of modules with the regular expressions of a config, within a time limit.

Python's matcher backtracks: a pattern such as ``(\w+)+!`` takes years on one name, and nothing
interrupts it. Another process therefore runs the patterns first. peft then gets only patterns that
ended.
"""

import json
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, TypeVar

from sway_gate.static.findings import quote

_SECONDS: Final = 5.0
_PROGRAM: Final = """
import json, re, sys
patterns, names = json.load(sys.stdin)
for pattern in patterns:
    try:
        match = re.compile(pattern).fullmatch
        found = [name for name in names if match(name)]
    except Exception as error:
        found = str(error) or type(error).__name__
    print(json.dumps(found), flush=True)
"""
_AS_SUFFIX: Final = r"(.*\.)?({})$"
_FORMS: Final = (
    *("{}", _AS_SUFFIX, r".*\.{}$", r"(^|.*\.){}($|\..*)"),
    r"(?:^|.*?\.){}\.(?P<idx>\d+)\.",
)
"""How peft 0.20 and later build a regular expression from a string of the config."""
_PLAIN: Final = re.compile(r"[\w./ @:-]*")

T = TypeVar("T")


class NotRun(Exception):
    """A regex of the config that is not run. Arguments: id of the finding, reason."""


def by_pattern(patterns: Mapping[str, T], default: T, modules: Sequence[str]) -> dict[str, T]:
    """Value of the first pattern that matches each module, as in peft's rank_pattern."""
    values = dict.fromkeys(modules, default)
    found = matched([_AS_SUFFIX.replace("{}", key) for key in patterns], modules)
    for names, value in reversed(list(zip(found, patterns.values(), strict=True))):
        values.update(dict.fromkeys(names, value))
    return values


def matched(patterns: Sequence[str], names: Sequence[str]) -> list[list[str]]:
    """The names that each pattern matches. Raises `NotRun` if one is invalid or too slow."""
    found = _run(patterns, names)
    for names_or_error in found:
        if isinstance(names_or_error, str):
            raise NotRun("regex-invalid", f"not a valid regex ({names_or_error})")
    return found


def require_quick(config: Mapping[str, Any], names: Sequence[str]) -> None:
    """Raise `NotRun` if a string of an adapter's config, as a regex on the names, is too slow.

    All strings are tried, because each of peft's methods has other fields with patterns.
    """
    texts = [text for text in dict.fromkeys(_texts(config)) if not _PLAIN.fullmatch(text)]
    _run([form.replace("{}", text) for text in texts for form in _FORMS], names)


def _texts(config: Mapping[str, Any]) -> Iterator[str]:
    """All keys and strings, also in nested values."""
    found: list[Any] = [config]
    while found:
        value = found.pop()
        if isinstance(value, str):
            yield value
        elif isinstance(value, Mapping):
            found += [*value.keys(), *value.values()]
        elif isinstance(value, list):
            found += value


def _run(patterns: Sequence[str], names: Sequence[str]) -> list[Any]:
    """The matching names of each pattern, or its error. Raises `NotRun` if one does not end."""
    if not patterns:
        return []
    command = [sys.executable, "-I", "-S", "-W", "ignore", "-c", _PROGRAM]
    given = json.dumps([patterns, names]).encode()
    try:
        output = subprocess.run(command, input=given, capture_output=True, timeout=_SECONDS).stdout
    except subprocess.TimeoutExpired as error:
        output = error.stdout or b""
    lines = output.splitlines()
    if len(lines) < len(patterns):
        slow = quote(patterns[len(lines)])
        limit = f"takes more than {_SECONDS:g} seconds on the names of modules"
        raise NotRun("regex-slow", f"the pattern {slow} {limit}")
    return [json.loads(line) for line in lines]
