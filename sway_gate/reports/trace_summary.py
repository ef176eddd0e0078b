"""A trace, read from its file and summed up."""

from collections import Counter
from collections.abc import Sequence
from typing import Any, Final, TypeVar

import msgspec

from sway_gate.engine.trace import (
    Encoded,
    Ended,
    Event,
    Failed,
    Loaded,
    Pass,
    PlanEvent,
    Started,
    Stored,
)
from sway_gate.errors import UsageError

_MAX_LINE_BYTES: Final = 2**20
_MAX_EVENTS: Final = 2**18
_MAX_BYTES: Final = 256 * 2**20
_EVENT: Final = msgspec.json.Decoder(Event)

T = TypeVar("T")


class Spent(msgspec.Struct, frozen=True, kw_only=True):
    """On one probe: its share of the passes that it had a part in, the answers that it asked for, and how many of
    these were in the store."""

    name: str
    kind: str
    seconds: float
    passes: int
    answers: int
    stored: int


class Kind(msgspec.Struct, frozen=True, kw_only=True):
    """All passes of one kind of request."""

    kind: str
    seconds: float
    passes: int
    tokens: int
    padding: int


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """What a trace says; seconds are wall time."""

    schema_version: int = 1
    spec: str
    adapter: str
    base: str
    device: str
    dtype: str
    outcome: str
    """The verdict; the error that ended the run; "" where the trace breaks off."""
    total_seconds: float | None
    """None where the run came to no verdict."""
    load_seconds: float
    encode_seconds: float
    pass_seconds: float
    passes: int
    failed_passes: int
    answers: int
    """That were needed, each counted once."""
    asked: int
    """The same, counted for each probe that asked."""
    stored: int
    base_answers: int
    comparisons: int
    """Answers of other views, each set against one of the base's."""
    tokens: int
    padding: int
    prefix: int
    saved_seconds: float
    probes: tuple[Spent, ...]
    kinds: tuple[Kind, ...]
    slowest: tuple[Pass, ...]
    unreadable: int
    """Lines that hold no event of this version."""


def read(path: str) -> tuple[list[Any], int]:
    """The events of the trace at `path`, and how many lines hold none: no JSON, no event of this version, impossible
    numbers, too long a line. Raises UsageError for what is no trace, or too large."""
    events: list[Any] = []
    unreadable, goes_on = 0, False
    try:
        with open(path, "rb") as file:
            for line in iter(lambda: file.readline(_MAX_LINE_BYTES), b""):
                try:
                    events.append(_EVENT.decode(b"" if goes_on else line))
                except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                    unreadable += not goes_on
                goes_on = not line.endswith(b"\n")
                if len(events) + unreadable > _MAX_EVENTS or file.tell() > _MAX_BYTES:
                    size = f"{_MAX_EVENTS:,} lines or {_MAX_BYTES // 2**20} MiB"
                    raise UsageError(f"{path}: more than {size}; give the trace of one run")
    except (OSError, ValueError) as error:
        raise UsageError(
            f"{path}: cannot be read: {getattr(error, 'strerror', '') or error}"
        ) from None
    if not events or not isinstance(events[0], Started):
        raise UsageError(
            f"{path}: is no trace of version 1; `sway run SPEC --trace FILE` writes one"
        )
    return events, unreadable


def sum_up(events: Sequence[Any], unreadable: int = 0, slowest: int = 5) -> Summary:
    """The events of one run, `Started` first; at most `slowest` of its passes one by one."""
    passes = _of(events, Pass)
    good = [p for p in passes if not p.failed]
    planned = (_of(events, PlanEvent) or [PlanEvent(probes={}, answers=0)])[-1]
    loaded = (_of(events, Loaded) or [Loaded(seconds=0.0, device="", dtype="")])[-1]
    ended = _of(events, Ended)
    base_answers = sum(p.rows for p in good if "base" in p.views)
    return Summary(
        **{field: getattr(events[0], field) for field in ("spec", "adapter", "base")},
        device=loaded.device,
        dtype=loaded.dtype,
        outcome="".join(
            [e.error for e in _of(events, Failed)][:1] or [e.verdict for e in ended][-1:]
        ),
        total_seconds=ended[-1].seconds if ended else None,
        load_seconds=loaded.seconds,
        encode_seconds=sum(event.seconds for event in _of(events, Encoded)),
        pass_seconds=sum(p.seconds for p in passes),
        passes=len(passes),
        failed_passes=len(passes) - len(good),
        answers=planned.answers,
        asked=sum(probe.answers for probe in planned.probes.values()),
        stored=sum(event.answers for event in _of(events, Stored)),
        base_answers=base_answers,
        comparisons=sum(p.rows * len(p.views) for p in good) - base_answers,
        tokens=sum(p.tokens for p in passes),
        padding=sum(p.padding for p in passes),
        prefix=sum(p.prefix for p in passes),
        saved_seconds=sum(p.saved for p in passes),
        probes=_by_probe(planned, passes, _of(events, Stored)),
        kinds=_by_kind(passes),
        slowest=tuple(sorted(passes, key=lambda p: -p.seconds)[:slowest]),
        unreadable=unreadable,
    )


def _of(events: Sequence[Any], kind: type[T]) -> list[T]:
    return [event for event in events if isinstance(event, kind)]


def _by_probe(
    planned: PlanEvent, passes: Sequence[Pass], stored: Sequence[Stored]
) -> tuple[Spent, ...]:
    """The dearest first."""
    seconds, parts, known = Counter[str](), Counter[str](), Counter[str]()
    for p in passes:
        seconds.update({name: share * p.seconds for name, share in p.asked_by.items()})
        parts.update(p.asked_by.keys())
    for event in stored:
        known.update(event.probes)
    spent = [
        Spent(
            name=name,
            kind=asked.kind,
            seconds=float(seconds[name]),
            passes=parts[name],
            answers=asked.answers,
            stored=known[name],
        )
        for name, asked in planned.probes.items()
    ]
    return tuple(sorted(spent, key=lambda probe: -probe.seconds))


def _by_kind(passes: Sequence[Pass]) -> tuple[Kind, ...]:
    """The dearest first."""
    groups = {
        kind: [p for p in passes if p.kind == kind]
        for kind in dict.fromkeys(p.kind for p in passes)
    }
    kinds = [
        Kind(
            kind=kind,
            seconds=sum(p.seconds for p in group),
            passes=len(group),
            tokens=sum(p.tokens for p in group),
            padding=sum(p.padding for p in group),
        )
        for kind, group in groups.items()
    ]
    return tuple(sorted(kinds, key=lambda kind: -kind.seconds))
