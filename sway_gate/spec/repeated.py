"""Entries that a list of a probe repeats: they count once, because they are one measurement."""

from collections.abc import Iterator, Mapping
from typing import Any

from msgspec import structs

from sway_gate.spec.probes import Case
from sway_gate.spec.schema import ProbeSpec
from sway_gate.text import counted


def without_repeated(probe: ProbeSpec) -> ProbeSpec:
    """The probe with each text, case, triple and item of its lists once."""
    return structs.replace(probe, **_distinct(probe))


def repeated_notes(probe: ProbeSpec, place: str) -> Iterator[str]:
    """A note for each list of the probe at `place` that repeats entries."""
    for name, values in _distinct(probe).items():
        if number := _size(getattr(probe, name)) - _size(values):
            left_out = counted(number, "repetition")
            yield f"{place}: {name}: {left_out} left out, because each entry counts once"


def _distinct(probe: ProbeSpec) -> Mapping[str, tuple[Any, ...]]:
    """The lists of the probe that are not of numbers, without repeated entries."""
    fields = structs.asdict(probe).items()
    lists = {name: value for name, value in fields if isinstance(value, tuple)}
    return {
        name: tuple(dict.fromkeys(map(_once, values)))
        for name, values in lists.items()
        if not any(isinstance(value, int | float) for value in values)
    }


def _once(entry: Any) -> Any:
    """A case with each paraphrase once; other entries unchanged."""
    if not isinstance(entry, Case):
        return entry
    return structs.replace(entry, paraphrases=tuple(dict.fromkeys(entry.paraphrases)))


def _size(entries: tuple[Any, ...]) -> int:
    """The number of entries and of the paraphrases in them."""
    return sum(len(entry.paraphrases) if isinstance(entry, Case) else 1 for entry in entries)
