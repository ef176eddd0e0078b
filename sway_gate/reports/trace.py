"""`sway trace`: reads the events of a run, sums up their cost, and renders text or Markdown."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from typing import Any, Final, NamedTuple, TypeVar

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
from sway_gate.files import did_you_mean, not_read, open_regular
from sway_gate.reports.markdown import row, text
from sway_gate.text import cut, one_line

_MAX_LINE_BYTES: Final = 2**20
_MAX_EVENTS: Final = 2**18
_MAX_BYTES: Final = 256 * 2**20
_EVENT: Final[msgspec.json.Decoder[Event]] = msgspec.json.Decoder(Event)
_SHOWN_NAMES: Final = 3
_MAX_NAME: Final = 60

T = TypeVar("T")


class ProbeCost(msgspec.Struct, frozen=True, kw_only=True):
    """Cost of one probe."""

    name: str
    kind: str
    seconds: float
    """Its share of the forward passes that measured for it."""
    passes: int
    """Forward passes that measured for it."""
    answers: int
    """Answers that it requested."""
    stored: int
    """Requested answers that were in the cache."""


class RequestCost(msgspec.Struct, frozen=True, kw_only=True):
    """Cost of one kind of request, over all forward passes."""

    kind: str
    seconds: float
    passes: int
    tokens: int
    padding: int


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """Summary of a trace. Seconds are wall time."""

    schema_version: int = 1
    spec: str
    adapter: str
    base: str
    device: str
    dtype: str
    outcome: str
    """The verdict, or the error that ended the run; "" if the trace is incomplete."""
    total_seconds: float | None
    """None if the run ended without a verdict."""
    load_seconds: float
    encode_seconds: float
    pass_seconds: float
    passes: int
    failed_passes: int
    answers: int
    """Distinct answers that the probes requested."""
    asked: int
    """Requested answers, counted once per probe."""
    stored: int
    base_answers: int
    comparisons: int
    """Answers of other views, each compared with an answer of the base."""
    tokens: int
    padding: int
    prefix: int
    saved_seconds: float
    probes: tuple[ProbeCost, ...]
    kinds: tuple[RequestCost, ...]
    slowest: tuple[Pass, ...]
    unreadable: int
    """Lines without a valid event of this version."""


# Reading


def read(path: str) -> tuple[list[Event], int]:
    """Read the events of the trace at `path`, and count the lines without a valid event.

    Raises UsageError if the file cannot be read, is not a trace, or is too large.
    """
    events: list[Event] = []
    unreadable, is_rest = 0, False
    try:
        with open_regular(path) as file:
            while line := file.readline(_MAX_LINE_BYTES):
                if not is_rest:
                    if event := _event(line):
                        events.append(event)
                    else:
                        unreadable += 1
                is_rest = not line.endswith(b"\n")
                if len(events) + unreadable > _MAX_EVENTS or file.tell() > _MAX_BYTES:
                    size = f"{_MAX_EVENTS:,} lines or {_MAX_BYTES // 2**20} MiB"
                    raise UsageError(f"{path}: more than {size}; pass the trace of a single run")
    except FileNotFoundError:
        remedy = did_you_mean(path) or "write one with `sway gate SPEC --trace FILE`"
        raise UsageError(f"{path}: no such file; {remedy}") from None
    except OSError as error:
        raise UsageError(f"{path}: {not_read(error)}; pass a file written with --trace") from None
    if not events or not isinstance(events[0], Started):
        raise UsageError(
            f"{path}: is not a trace of version 1; create one with `sway gate SPEC --trace FILE`"
        )
    return events, unreadable


def _event(line: bytes) -> Event | None:
    try:
        return _EVENT.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


# Summing up


def sum_up(events: Sequence[Any], unreadable: int = 0, slowest: int = 5) -> Summary:
    """Sum up the events of one run, `Started` first; list its `slowest` forward passes."""
    started = events[0]
    planned = (_of(events, PlanEvent) or [PlanEvent(probes={}, answers=0)])[-1]
    loaded = (_of(events, Loaded) or [Loaded(seconds=0.0, device="", dtype="")])[-1]
    stored, passes, ended = _of(events, Stored), _of(events, Pass), _of(events, Ended)
    good = [p for p in passes if not p.failed]
    base_answers = sum(p.rows for p in good if "base" in p.views)
    return Summary(
        spec=started.spec,
        adapter=started.adapter,
        base=started.base,
        device=loaded.device,
        dtype=loaded.dtype,
        outcome=_outcome(events),
        total_seconds=ended[-1].seconds if ended else None,
        load_seconds=loaded.seconds,
        encode_seconds=sum(event.seconds for event in _of(events, Encoded)),
        pass_seconds=sum(p.seconds for p in passes),
        passes=len(passes),
        failed_passes=len(passes) - len(good),
        answers=planned.answers,
        asked=sum(probe.answers for probe in planned.probes.values()),
        stored=sum(event.answers for event in stored),
        base_answers=base_answers,
        comparisons=sum(p.rows * len(p.views) for p in good) - base_answers,
        tokens=sum(p.tokens for p in passes),
        padding=sum(p.padding for p in passes),
        prefix=sum(p.prefix for p in passes),
        saved_seconds=sum(p.saved for p in passes),
        probes=_by_probe(planned, passes, stored),
        kinds=_by_kind(passes),
        slowest=tuple(sorted(passes, key=lambda p: -p.seconds)[:slowest]),
        unreadable=unreadable,
    )


def _of(events: Sequence[Any], kind: type[T]) -> list[T]:
    return [event for event in events if isinstance(event, kind)]


def _outcome(events: Sequence[Any]) -> str:
    if failed := _of(events, Failed):
        return failed[0].error
    ended = _of(events, Ended)
    return ended[-1].verdict if ended else ""


def _by_probe(
    planned: PlanEvent, passes: Sequence[Pass], stored: Sequence[Stored]
) -> tuple[ProbeCost, ...]:
    """Cost per probe, in descending order."""
    seconds, parts, known = Counter[str](), Counter[str](), Counter[str]()
    for p in passes:
        seconds.update({name: share * p.seconds for name, share in p.asked_by.items()})
        parts.update(p.asked_by.keys())
    for event in stored:
        known.update(event.probes)
    costs = [
        ProbeCost(
            name=name,
            kind=demand.kind,
            seconds=float(seconds[name]),
            passes=parts[name],
            answers=demand.answers,
            stored=known[name],
        )
        for name, demand in planned.probes.items()
    ]
    return tuple(sorted(costs, key=lambda cost: -cost.seconds))


def _by_kind(passes: Sequence[Pass]) -> tuple[RequestCost, ...]:
    """Cost per kind of request, in descending order."""
    groups = defaultdict[str, list[Pass]](list)
    for p in passes:
        groups[p.kind].append(p)
    costs = [
        RequestCost(
            kind=kind,
            seconds=sum(p.seconds for p in group),
            passes=len(group),
            tokens=sum(p.tokens for p in group),
            padding=sum(p.padding for p in group),
        )
        for kind, group in groups.items()
    ]
    return tuple(sorted(costs, key=lambda cost: -cost.seconds))


# Rendering


class _Table(NamedTuple):
    """A table whose columns are right-aligned, except the first `left` and "requested by"."""

    title: str
    head: tuple[str, ...]
    rows: list[tuple[str, ...]]
    left: int = 1

    def is_text(self, column: int) -> bool:
        return column < self.left or self.head[column] == "requested by"


def render(summary: Summary) -> str:
    """Render the summary as plain text."""
    parts = [_facts(summary), *(_aligned(table) for table in _tables(summary))]
    return "\n\n".join("\n".join(part) for part in parts) + "\n"


def render_markdown(summary: Summary) -> str:
    """Render the summary as Markdown."""
    facts = [f"- {text(fact)}" for fact in _facts(summary)]
    parts = [["# sway trace"], facts, *(_piped(table) for table in _tables(summary))]
    return "\n\n".join("\n".join(part) for part in parts) + "\n"


def _facts(s: Summary) -> Iterator[str]:
    yield one_line(f"{s.spec}: {_ending(s)}")
    if s.passes:
        where = ", ".join(filter(None, (s.device, s.dtype)))
        yield (
            f"loading {_seconds(s.load_seconds)}, encoding {_seconds(s.encode_seconds)}, "
            f"{s.passes} forward passes {_seconds(s.pass_seconds)} on {one_line(where)}"
        )
    elif s.answers and s.stored >= s.answers:
        yield "no forward passes: all answers came from the cache; use --no-cache to measure again"
    else:
        yield "no forward passes"
    yield (
        f"{s.answers} answers, {s.stored} of them from the cache; the probes requested {s.asked}: "
        f"sharing saved {_seconds(s.saved_seconds)}"
    )
    if s.passes:
        yield f"{s.base_answers} answers of the base were compared {s.comparisons} times"
        padding = _share(s.padding, s.tokens + s.padding)
        reused = f"; {s.prefix} tokens shared by several texts and read once" if s.prefix else ""
        yield f"{s.tokens} tokens processed, {padding} padding{reused}"
    if s.failed_passes:
        yield f"failed forward passes, repeated in smaller parts: {s.failed_passes}"
    if s.unreadable:
        yield f"skipped lines without a valid event: {s.unreadable}"


def _ending(s: Summary) -> str:
    if s.total_seconds is not None:
        return f"{s.outcome} in {_seconds(s.total_seconds)}"
    if s.outcome:
        return f"ended without a verdict: {s.outcome}"
    return "incomplete trace: the run is still in progress or was killed"


def _tables(s: Summary) -> list[_Table]:
    """Tables that have rows."""
    tables = (
        _Table(
            "Cost per probe",
            ("probe", "kind", "seconds", "share", "passes", "answers", "cached"),
            [_probe_row(probe, s.pass_seconds) for probe in s.probes],
            left=2,
        ),
        _Table(
            "Cost per kind of request",
            ("kind", "seconds", "passes", "tokens", "tokens/s", "padding"),
            [_kind_row(kind) for kind in s.kinds],
        ),
        _Table(
            "Slowest forward passes",
            ("pass", "kind", "seconds", "rows", "views", "tokens", "padding", "requested by"),
            [_pass_row(p) for p in s.slowest],
            left=2,
        ),
    )
    return [table for table in tables if table.rows]


def _probe_row(p: ProbeCost, whole: float) -> tuple[str, ...]:
    counts = (str(p.passes), str(p.answers), str(p.stored))
    return _name(p.name), _name(p.kind), f"{p.seconds:.2f}", _share(p.seconds, whole), *counts


def _kind_row(k: RequestCost) -> tuple[str, ...]:
    rate = f"{k.tokens / k.seconds:.0f}" if k.seconds > 0 else "–"
    padding = _share(k.padding, k.tokens + k.padding)
    return k.kind, f"{k.seconds:.2f}", str(k.passes), str(k.tokens), rate, padding


def _pass_row(p: Pass) -> tuple[str, ...]:
    names = list(map(_name, p.asked_by))
    requested_by = ", ".join(names[:_SHOWN_NAMES])
    if len(names) > _SHOWN_NAMES:
        requested_by += f" and {len(names) - _SHOWN_NAMES} more"
    if p.failed:
        requested_by += f" (failed: {one_line(p.failed)})"
    sizes = (str(p.rows), str(len(p.views)), str(p.tokens), _share(p.padding, p.tokens + p.padding))
    return str(p.number), p.kind, f"{p.seconds:.2f}", *sizes, requested_by


def _name(name: str) -> str:
    return cut(one_line(name), _MAX_NAME)


def _aligned(table: _Table) -> Iterator[str]:
    from rich.cells import cell_len

    rows = [table.head, *table.rows]
    widths = [max(map(cell_len, column)) for column in zip(*rows, strict=True)]
    yield table.title
    for cells in rows:
        padded = []
        for i, cell in enumerate(cells):
            pad = " " * (widths[i] - cell_len(cell))
            padded.append(cell + pad if table.is_text(i) else pad + cell)
        yield "  " + "  ".join(padded).rstrip()


def _piped(table: _Table) -> Iterator[str]:
    yield f"## {table.title}\n"
    yield row(table.head)
    yield row("---" if table.is_text(i) else "---:" for i in range(len(table.head)))
    for cells in table.rows:
        yield row(map(text, cells))


def _seconds(value: float) -> str:
    return f"{value:.1f} s" if value < 100 else f"{value:.0f} s"


def _share(part: float, whole: float) -> str:
    return f"{part / whole:.0%}" if whole > 0 else "–"
