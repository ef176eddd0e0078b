"""A result without samples: texts of the data, prompts, and answers of the models."""

from collections.abc import Iterator
from typing import Any, Final

from msgspec import structs

from sway_gate.details import NAME_CHARS
from sway_gate.results import GateResult, ProbeResult

NOTE: Final = "texts of the data and answers are left out (--no-samples)"


def without_samples(result: GateResult) -> GateResult:
    """The result for a public place: verdicts, numbers and messages, and a note."""
    return structs.replace(
        result,
        probes=tuple(map(_without_samples, result.probes)),
        side_by_side=(),
        notes=(*result.notes, NOTE),
    )


def _without_samples(probe: ProbeResult) -> ProbeResult:
    """The probe without details that contain text, and without tags of sections and names of fields
    in its message and its rules.

    A tag is the first words of its section, or a heading.
    """
    message, rules = probe.message, probe.rules
    for tag in _texts(probe.details, "tag"):
        message = message.replace(tag[:NAME_CHARS], "…")
    for field in _texts(probe.details, "field"):
        message = message.replace(f'"{field}"', "…")
        rules = tuple(
            structs.replace(rule, name=rule.name.replace(f'"{field}"', "…")) for rule in rules
        )
    details = {key: value for key, value in probe.details.items() if not _has_text(value)}
    return structs.replace(probe, message=message, rules=rules, details=details)


def _has_text(value: Any) -> bool:
    match value:
        case dict():
            return any(map(_has_text, value.values()))
        case list() | tuple():
            return any(map(_has_text, value))
    return isinstance(value, str)


def _texts(value: Any, wanted: str, key: str = "") -> Iterator[str]:
    """The texts that are the values of the key `wanted`."""
    match value:
        case dict():
            for name, item in value.items():
                yield from _texts(item, wanted, name)
        case list() | tuple():
            for item in value:
                yield from _texts(item, wanted)
        case str() if key == wanted and value:
            yield value
