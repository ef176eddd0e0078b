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
    """The probe without details that contain text, and without tags of sections in its message.

    A tag is the first words of its section, or a heading.
    """
    message = probe.message
    for tag in _tags(probe.details):
        message = message.replace(tag[:NAME_CHARS], "…")
    details = {key: value for key, value in probe.details.items() if not _has_text(value)}
    return structs.replace(probe, message=message, details=details)


def _has_text(value: Any) -> bool:
    match value:
        case dict():
            return any(map(_has_text, value.values()))
        case list() | tuple():
            return any(map(_has_text, value))
    return isinstance(value, str)


def _tags(value: Any, key: str = "") -> Iterator[str]:
    match value:
        case dict():
            for name, item in value.items():
                yield from _tags(item, name)
        case list() | tuple():
            for item in value:
                yield from _tags(item)
        case str() if key == "tag" and value:
            yield value
