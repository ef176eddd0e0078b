"""`sway trace`: a trace summed up, as plain text, Markdown or JSON-ready data."""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, Final, NamedTuple, TypeVar

import msgspec

from sway_gate.errors import UsageError
from sway_gate.reports import clean, one_line
from sway_gate.trace import Encoded, Ended, Event, Failed, Loaded, Pass, Planned, Started, Stored

_MAX_LINE_BYTES: Final = 2**20
_MAX_EVENTS: Final = 2**18
_SHOWN_NAMES: Final = 3
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
    """The events of the trace at `path`, and how many lines hold none. Raises UsageError for what is no trace."""
    events: list[Any] = []
    unreadable = 0
    try:
        with open(path, "rb") as file:
            while len(events) + unreadable < _MAX_EVENTS and (line := file.readline(_MAX_LINE_BYTES)):
                try:
                    events.append(_EVENT.decode(line))
                except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                    unreadable += 1
    except (OSError, ValueError) as error:
        raise UsageError(f"{path}: cannot be read: {getattr(error, 'strerror', '') or error}") from None
    if not events or not isinstance(events[0], Started):
        raise UsageError(f"{path}: is no trace of version 1; `sway run SPEC --trace FILE` writes one")
    return events, unreadable


def sum_up(events: Sequence[Any], unreadable: int = 0, slowest: int = 5) -> Summary:
    """The events of one run, `Started` first; at most `slowest` of its passes one by one."""
    passes = _of(events, Pass)
    good = [p for p in passes if not p.failed]
    planned = (_of(events, Planned) or [Planned(probes={}, answers=0)])[-1]
    loaded = (_of(events, Loaded) or [Loaded(seconds=0.0, device="", dtype="")])[-1]
    ended = _of(events, Ended)
    base_answers = sum(p.rows for p in good if "base" in p.views)
    return Summary(
        **{field: getattr(events[0], field) for field in ("spec", "adapter", "base")},
        device=loaded.device,
        dtype=loaded.dtype,
        outcome="".join([e.error for e in _of(events, Failed)][:1] or [e.verdict for e in ended][-1:]),
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


def _by_probe(planned: Planned, passes: Sequence[Pass], stored: Sequence[Stored]) -> tuple[Spent, ...]:
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
    groups = {kind: [p for p in passes if p.kind == kind] for kind in dict.fromkeys(p.kind for p in passes)}
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


# ----------------------------------------------------------------------------------------------------------- words


class _Table(NamedTuple):
    """Columns are set to the right, but for `left` ones in front and, where it is text, the last."""

    title: str
    head: tuple[str, ...]
    rows: list[tuple[str, ...]]
    left: int = 1

    def is_text(self, column: int) -> bool:
        return column < self.left or self.head[column] == "asked by"


def render(summary: Summary) -> str:
    """As plain text."""
    return "\n\n".join(["\n".join(_lines(summary)), *("\n".join(_aligned(table)) for table in _tables(summary))]) + "\n"


def render_markdown(summary: Summary) -> str:
    """As Markdown, with tables."""
    lines = "\n".join(f"- {_escaped(line)}" for line in _lines(summary))
    return "\n\n".join(["# sway trace", lines, *("\n".join(_piped(table)) for table in _tables(summary))]) + "\n"


def _lines(s: Summary) -> Iterator[str]:
    yield one_line(f"{s.spec}: {_outcome(s)}")
    if s.passes:
        where = ", ".join(filter(None, (s.device, s.dtype)))
        yield (
            f"loading {_seconds(s.load_seconds)}, preparing {_seconds(s.encode_seconds)}, "
            f"{s.passes} passes {_seconds(s.pass_seconds)} on {one_line(where)}"
        )
    elif s.answers and s.stored >= s.answers:
        yield "nothing was measured: every answer was in the store of readings; --no-cache measures again"
    else:
        yield "nothing was measured"
    yield (
        f"{s.answers} answers, {s.stored} of them from the store; the probes asked for {s.asked}: "
        f"sharing saved {_seconds(s.saved_seconds)}"
    )
    if s.passes:
        yield f"{s.base_answers} answers of the base serve {s.comparisons} comparisons"
        again = f"; {s.prefix} of shared prefixes were not read again" if s.prefix else ""
        yield f"{s.tokens} tokens read, {_share(s.padding, s.tokens + s.padding)} of all as padding{again}"
    if s.failed_passes:
        yield f"passes that gave nothing and were made again in parts: {s.failed_passes}"
    if s.unreadable:
        yield f"lines that hold no event of this version, left out: {s.unreadable}"


def _outcome(s: Summary) -> str:
    if s.total_seconds is not None:
        return f"{s.outcome} in {_seconds(s.total_seconds)}"
    return f"ended without a verdict: {s.outcome}" if s.outcome else "breaks off: still running, or killed"


def _tables(s: Summary) -> list[_Table]:
    """Those that have rows."""
    tables = (
        _Table(
            "What each probe cost",
            ("probe", "kind", "seconds", "share", "passes", "answers", "stored"),
            [_probe_row(probe, s.pass_seconds) for probe in s.probes],
            left=2,
        ),
        _Table(
            "By kind of request",
            ("kind", "seconds", "passes", "tokens", "tokens/s", "padding"),
            [_kind_row(kind) for kind in s.kinds],
        ),
        _Table(
            "Slowest passes",
            ("pass", "kind", "seconds", "rows", "views", "tokens", "padding", "asked by"),
            [_pass_row(p) for p in s.slowest],
            left=2,
        ),
    )
    return [table for table in tables if table.rows]


def _probe_row(p: Spent, whole: float) -> tuple[str, ...]:
    numbers = (f"{p.seconds:.2f}", _share(p.seconds, whole), *map(str, (p.passes, p.answers, p.stored)))
    return one_line(p.name), one_line(p.kind), *numbers


def _kind_row(k: Kind) -> tuple[str, ...]:
    rate = f"{k.tokens / k.seconds:.0f}" if k.seconds > 0 else "–"
    return k.kind, f"{k.seconds:.2f}", str(k.passes), str(k.tokens), rate, _share(k.padding, k.tokens + k.padding)


def _pass_row(p: Pass) -> tuple[str, ...]:
    names = [one_line(name) for name in p.asked_by]
    more = f" and {len(names) - _SHOWN_NAMES} more" if len(names) > _SHOWN_NAMES else ""
    sizes = (str(p.rows), str(len(p.views)), str(p.tokens), _share(p.padding, p.tokens + p.padding))
    why = f" (failed: {one_line(p.failed)})" if p.failed else ""
    return str(p.number), p.kind, f"{p.seconds:.2f}", *sizes, ", ".join(names[:_SHOWN_NAMES]) + more + why


def _aligned(table: _Table) -> Iterator[str]:
    from rich.cells import cell_len

    rows = [table.head, *table.rows]
    widths = [max(map(cell_len, column)) for column in zip(*rows, strict=True)]
    yield table.title
    for row in rows:
        pads = [" " * (width - cell_len(cell)) for cell, width in zip(row, widths, strict=True)]
        cells = (
            cell + pad if table.is_text(i) else pad + cell for i, (cell, pad) in enumerate(zip(row, pads, strict=True))
        )
        yield "  " + "  ".join(cells).rstrip()


def _piped(table: _Table) -> Iterator[str]:
    yield f"## {table.title}\n"
    yield f"| {' | '.join(table.head)} |"
    yield "|" + "".join(" --- |" if table.is_text(i) else " ---: |" for i in range(len(table.head)))
    for row in table.rows:
        yield f"| {' | '.join(map(_escaped, row))} |"


def _escaped(text: str) -> str:
    """Text that is no Markdown and no HTML."""
    return "".join(f"\\{c}" if c in r"\`*_{}[]<>#|~&" else c for c in clean(text))


def _seconds(value: float) -> str:
    return f"{value:.1f} s" if value < 100 else f"{value:.0f} s"


def _share(part: float, whole: float) -> str:
    return f"{part / whole:.0%}" if whole > 0 else "–"
