"""Lines for a terminal or, without colour, for a log: styled pieces, wrapped to a width.

rich is imported on use.
"""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

STYLES = {
    "pass": "bold green",
    "fail": "bold red",
    "warn": "bold yellow",
    "skip": "dim",
    "error": "bold magenta",
    "waived": "bold cyan",
    # Levels of a static finding
    "broken": "bold magenta",
    "verdict": "bold red",
    "warning": "bold yellow",
}
INDENT = 7  # width of a verdict word and two spaces
MIN_WIDTH = 40
_ASCII = {
    "σ": "sd",
    "λ": "lambda",
    "–": "-",
    "·": "|",
    "•": "*",
    "…": "...",
    "≥": ">=",
    "≤": "<=",
    "→": "->",
}


class Line(NamedTuple):
    """One paragraph of styled pieces; wrapped lines are indented by `hang` spaces."""

    pieces: Sequence[tuple[str, str]]
    hang: int = 0


BLANK = Line([])


def marked(word: str, style: str, *pieces: tuple[str, str]) -> Line:
    """Return a line that begins with a verdict word."""
    return Line([(f"{word:<{INDENT - 1}} ", style), *pieces], INDENT)


def indented(text: str, style: str = "") -> Line:
    """Return a line below a `marked` one, aligned with its text."""
    return Line([(" " * INDENT + text, style)], INDENT)


def flow(parts: Iterable[str], width: int, separator: str, indent: int = 0) -> list[str]:
    """Join `parts` into lines of at most `width` cells, broken only between parts."""
    from rich.cells import cell_len

    lines: list[str] = []
    for part in parts:
        if lines and cell_len(lines[-1] + separator + part) <= width:
            lines[-1] += separator + part
        else:
            lines.append(" " * indent + part)
    return lines


def padded(cells: Sequence[str], widths: Sequence[int]) -> str:
    """Pad each cell to its width; two spaces between cells."""
    from rich.cells import cell_len

    pairs = zip(cells, widths, strict=True)
    return "  ".join(cell + " " * (width - cell_len(cell)) for cell, width in pairs)


def printed(lines: Sequence[Line], color: bool, width: int, ascii: bool) -> str:
    """Render the lines as text, each wrapped to `width` cells."""
    import io

    from rich.console import Console

    console = Console(
        file=io.StringIO(),
        force_terminal=color,
        color_system="standard" if color else None,
        no_color=not color,
        legacy_windows=False,
    )
    with console.capture() as capture:
        for line in lines:
            for text in _wrapped(line, console, width, ascii):
                console.print(text, soft_wrap=True)
    return capture.get()


def _wrapped(line: Line, console: "Console", width: int, ascii: bool) -> "list[Text]":
    """Break `line` at spaces to `width` cells; indent all lines after the first."""
    from rich.text import Text

    whole = Text()
    for piece, style in line.pieces:
        whole.append(_in_ascii(piece) if ascii else piece, style)
    whole.rstrip()
    if whole.cell_len <= width:
        return [whole]
    first, *rest = _stripped(whole.wrap(console, width))
    below = _stripped(Text(" ").join(rest).wrap(console, width - line.hang))
    return [first, *(Text(" " * line.hang) + text for text in below)]


def _stripped(lines: "Iterable[Text]") -> "list[Text]":
    lines = list(lines)
    for text in lines:
        text.rstrip()
    return lines


def _in_ascii(text: str) -> str:
    for symbol, ascii_symbol in _ASCII.items():
        text = text.replace(symbol, ascii_symbol)
    return text.encode("ascii", "backslashreplace").decode("ascii")
