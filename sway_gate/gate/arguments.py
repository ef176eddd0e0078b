"""Checks of a caller's arguments: paths, choices, threshold, weights, time budget, data map.

`worded_for_python` names the arguments in errors as a caller from Python writes them.
"""

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final, get_args

import msgspec

from sway_gate.errors import SpecError, SwayError, UsageError
from sway_gate.results import Tier
from sway_gate.spec.schema import SCORE_WEIGHTS, WEIGHTS, DataMap, Spec, is_weight
from sway_gate.text import is_number

_KEYWORDS: Final = {
    "--allow-code (in Python: allow_code=True)": "allow_code=True",
    "--map prompt=FIELD,answer=FIELD": 'data_map={"prompt": "FIELD", "answer": "FIELD"}',
    "--map messages=FIELD": 'data_map={"messages": "FIELD"}',
    "--online": "online=True",
    "--base": "base=",
    "--model": "model=",
    "--data": "data=",
    "--held-out": "held_out=",
    "--prompts": "prompts=",
    "--quantization": "quantization=",
    "--learn": "learn=",
}
"""Options of the command line, and the arguments of `sway_gate.check` and `sway_gate.run`."""
# A command that the message advises keeps its options.
_OPTION: Final = re.compile(
    rf"(?P<command>\bsway [a-z]+[^,;`]*)|(?<!\S)({'|'.join(map(re.escape, _KEYWORDS))})(?![\w-])"
)


@contextmanager
def worded_for_python() -> Iterator[None]:
    """Name arguments of Python instead of options of the command line in the errors."""
    try:
        yield
    except SwayError as error:
        error.args = tuple(_in_python(str(text)) for text in error.args)
        if isinstance(error, SpecError):
            error.problems = [_in_python(line) for line in error.problems]
        raise


def _in_python(message: str) -> str:
    return _OPTION.sub(lambda found: found["command"] or _KEYWORDS[found[0]], message)


def checked_threshold(given: Any, name: str) -> float | None:
    """`given`: None or a number from 0 to 1. Raises UsageError with `name` otherwise."""
    if given is None:
        return None
    if is_number(given) and 0 <= given <= 1:
        return float(given)
    raise UsageError(f"{name} must be a number from 0 to 1, got {given!r}")


def checked_weights(given: Any, name: str) -> dict[str, float]:
    """`given` as weights by category; {} for None. Raises UsageError with `name` otherwise."""
    if given is None:
        return {}
    if not isinstance(given, Mapping) or not all(is_category_weight(*w) for w in given.items()):
        allowed = ", ".join(SCORE_WEIGHTS)
        raise UsageError(f"{name} must map {allowed} to numbers of {WEIGHTS}, got {given!r}")
    return dict(given)


def checked_tier(given: Any) -> Tier:
    """`given`: a tier. Raises UsageError otherwise."""
    return checked_choice(given, Tier, "tier")  # type: ignore[no-any-return]


def checked_choice(given: Any, choices: Any, name: str) -> Any:
    """`given`: a word of the Literal `choices`. Raises UsageError with `name` otherwise."""
    if given in (words := get_args(choices)):
        return given
    raise UsageError(f"{name} must be one of {', '.join(words)}, got {given!r}")


def checked_path(given: Any, name: str) -> str:
    """`given`: a path or a hub id as text. Raises UsageError with `name` otherwise."""
    path = os.fspath(given) if isinstance(given, os.PathLike) else given
    if isinstance(path, str):
        return path
    raise UsageError(f"{name} must be a path as text, got {given!r}")


def checked_prompts(given: Any) -> str | list[Any]:
    """`given`: the name of a file, or a list. Raises UsageError otherwise."""
    if isinstance(given, str | os.PathLike):
        return checked_path(given, "prompts")
    if isinstance(given, Iterable):
        return list(given)
    raise UsageError(f"prompts must be a file or a list of texts, got {given!r}")


def checked_paths(given: Any, name: str) -> list[str]:
    """`given`: one path or several. Raises UsageError with `name` otherwise."""
    paths = [given] if isinstance(given, str | os.PathLike) else given
    if isinstance(paths, Iterable):
        return [checked_path(path, name) for path in paths]
    raise UsageError(f"{name} must be a path as text, or a list of them, got {given!r}")


def checked_budget(given: Any) -> int | None:
    """`given`: None or a whole number of seconds above 0. Raises UsageError otherwise."""
    if given is None:
        return None
    if is_number(given) and given >= 1 and given == int(given):
        return int(given)
    raise UsageError(f"budget must be a whole number of seconds above 0, got {given!r}")


def is_category_weight(category: object, weight: object) -> bool:
    return category in SCORE_WEIGHTS and is_weight(weight)


def checked_map(given: Any, name: str) -> DataMap:
    """`given` as names of fields by part. Raises UsageError with `name` if it is incomplete."""
    try:
        found = msgspec.convert(given, DataMap)
    except msgspec.ValidationError:
        allowed = ", ".join(DataMap.__struct_encode_fields__)
        message = f"must map parts of a row ({allowed}) to names of fields, got {given!r}"
        raise UsageError(f"{name}: {message}") from None
    for field, wrong in found.mistakes():
        raise UsageError(f"{name}: {field} {wrong}")
    return found


def check_categories(spec: Spec, given: Mapping[str, float], name: str) -> None:
    """Raise UsageError if all categories of the suite's probes have weight 0.

    `given` overrides the weights of the spec; messages call it `name`.
    """
    weights = {**spec.defaults.weights(), **given}
    if all(weights.values()):
        return  # avoids the import of the probes
    from sway_gate import probes

    judged = [p for p in spec.suite if p.enabled and p.is_probe and p.weight]
    used = sorted({probes.module(probe.kind).KIND.category for probe in judged})
    if not any(weights[category] for category in used):
        where = name if given else f"{spec.label}: defaults.score_weights"
        raise UsageError(
            f"{where}: the categories of the suite's probes ({', '.join(used)}) have weight 0;"
            " give at least one of them a positive weight"
        )
