"""`sway trace`: a trace that was summed up, as plain text or Markdown."""

from collections.abc import Iterator
from typing import Final, NamedTuple

from sway_gate.engine.trace import Pass
from sway_gate.reports.markdown import row, text
from sway_gate.reports.trace_summary import Kind, Spent, Summary
from sway_gate.text import cut, one_line

_SHOWN_NAMES: Final = 3
_MAX_NAME: Final = 60


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
    return (
        "\n\n".join(
            [
                "\n".join(_lines(summary)),
                *("\n".join(_aligned(table)) for table in _tables(summary)),
            ]
        )
        + "\n"
    )


def render_markdown(summary: Summary) -> str:
    """As Markdown, with tables."""
    lines = "\n".join(f"- {text(line)}" for line in _lines(summary))
    return (
        "\n\n".join(
            ["# sway trace", lines, *("\n".join(_piped(table)) for table in _tables(summary))]
        )
        + "\n"
    )


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
    return (
        f"ended without a verdict: {s.outcome}"
        if s.outcome
        else "breaks off: still running, or killed"
    )


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
    numbers = (
        f"{p.seconds:.2f}",
        _share(p.seconds, whole),
        *map(str, (p.passes, p.answers, p.stored)),
    )
    return _name(p.name), _name(p.kind), *numbers


def _kind_row(k: Kind) -> tuple[str, ...]:
    rate = f"{k.tokens / k.seconds:.0f}" if k.seconds > 0 else "–"
    return (
        k.kind,
        f"{k.seconds:.2f}",
        str(k.passes),
        str(k.tokens),
        rate,
        _share(k.padding, k.tokens + k.padding),
    )


def _pass_row(p: Pass) -> tuple[str, ...]:
    names = list(map(_name, p.asked_by))
    more = f" and {len(names) - _SHOWN_NAMES} more" if len(names) > _SHOWN_NAMES else ""
    sizes = (str(p.rows), str(len(p.views)), str(p.tokens), _share(p.padding, p.tokens + p.padding))
    why = f" (failed: {one_line(p.failed)})" if p.failed else ""
    return (
        str(p.number),
        p.kind,
        f"{p.seconds:.2f}",
        *sizes,
        ", ".join(names[:_SHOWN_NAMES]) + more + why,
    )


def _name(name: str) -> str:
    return cut(one_line(name), _MAX_NAME)


def _aligned(table: _Table) -> Iterator[str]:
    from rich.cells import cell_len

    rows = [table.head, *table.rows]
    widths = [max(map(cell_len, column)) for column in zip(*rows, strict=True)]
    yield table.title
    for cells in rows:
        pads = [" " * (width - cell_len(cell)) for cell, width in zip(cells, widths, strict=True)]
        padded = (
            cell + pad if table.is_text(i) else pad + cell
            for i, (cell, pad) in enumerate(zip(cells, pads, strict=True))
        )
        yield "  " + "  ".join(padded).rstrip()


def _piped(table: _Table) -> Iterator[str]:
    yield f"## {table.title}\n"
    yield row(table.head)
    yield row("---" if table.is_text(i) else "---:" for i in range(len(table.head)))
    yield from (row(map(text, cells)) for cells in table.rows)


def _seconds(value: float) -> str:
    return f"{value:.1f} s" if value < 100 else f"{value:.0f} s"


def _share(part: float, whole: float) -> str:
    return f"{part / whole:.0%}" if whole > 0 else "–"
