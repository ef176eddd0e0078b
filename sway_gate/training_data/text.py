"""Read Markdown and plain text as prose sections."""

from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Final, NamedTuple

from sway_gate.spec.schema import Section
from sway_gate.training_data.examples import named, section
from sway_gate.training_data.files import Line

MAX_PIECE_CHARS: Final = 2000
MIN_WORDS: Final = 20
"""A Markdown section with fewer words is merged with the next."""
_MAX_TAG_CHARS: Final = 80


class _Block(NamedTuple):
    """The text under a heading; `tag` is "" before the first heading."""

    tag: str
    lines: list[Line]


def markdown(lines: Iterable[Line], name: str) -> Iterator[Section]:
    """Yield one section per ATX heading with text, in pieces if it is long; its tag is the heading.

    A section below MIN_WORDS is merged with the next one; the last one with the previous one.
    """
    for block in _merged(_blocks(lines)):
        for i, piece in enumerate(_pieces(block.lines)):
            tag = block.tag or named(piece.text, f"{name}:{piece.number}")
            yield section(piece.text, f"{tag} ({i + 1})" if i and block.tag else tag)


def plain(lines: Iterable[Line], name: str) -> Iterator[Section]:
    """Yield a section per piece of at most MAX_PIECE_CHARS characters."""
    for piece in _pieces(lines):
        yield section(piece.text, named(piece.text, f"{name}:{piece.number}"))


def without_front_matter(lines: Iterable[Line]) -> Iterator[Line]:
    """Remove front matter: lines from a first line of --- or +++ to the next such line."""
    rest = iter(lines)
    first = next(rest, None)
    if first is None or first.text.rstrip() not in ("---", "+++"):
        return chain(() if first is None else (first,), rest)
    held = [first]
    for line in rest:
        held.append(line)
        if line.text.rstrip() == first.text.rstrip():
            return rest
    return iter(held)


def _blocks(lines: Iterable[Line]) -> Iterator[_Block]:
    block = _Block("", [])
    for line, is_text in outside_code(lines):
        if is_text and (heading := _heading(line.text)) is not None:
            yield block
            block = _Block(heading, [])
        else:
            block.lines.append(line)
    yield block


def outside_code(lines: Iterable[Line]) -> Iterator[tuple[Line, bool]]:
    """Each line, and whether it is outside fenced code."""
    fence = ""
    for line in lines:
        mark = _fence(line.text)
        yield line, not (fence or mark)
        if not fence:
            fence = mark
        elif mark.startswith(fence) and mark == line.text.strip():
            fence = ""


def _fence(text: str) -> str:
    """The backticks or tildes that open or close fenced code in this line, or ""."""
    start = text.lstrip(" ")
    if not start.startswith(("```", "~~~")) or len(text) - len(start) > 3:
        return ""
    rest = start.lstrip(start[0])
    if start[0] == "`" and "`" in rest:
        return ""
    return start[: len(start) - len(rest)]


def _heading(text: str) -> str | None:
    """Text of an ATX heading as one printable line; None for other lines."""
    start = text.lstrip(" ")
    words = start.lstrip("#")
    if not 1 <= len(start) - len(words) <= 6 or len(text) - len(start) > 3 or words[:1].strip():
        return None
    words = words.strip()
    bare = words.rstrip("#")
    title = bare if not bare or bare[-1].isspace() else words
    printable = [c if c.isprintable() else " " for c in title[:_MAX_TAG_CHARS]]
    return " ".join("".join(printable).split())


def _merged(blocks: Iterable[_Block]) -> Iterator[_Block]:
    whole: _Block | None = None
    short: list[Line] = []
    tag = ""
    for block in blocks:
        if not any(line.text.strip() for line in block.lines):
            continue
        tag, short = block.tag, [*short, Line(block.lines[0].number, ""), *block.lines]
        if sum(len(line.text.split()) for line in short) >= MIN_WORDS:
            if whole:
                yield whole
            whole, short = _Block(tag, short), []
    if whole:
        yield _Block(whole.tag, whole.lines + short)
    elif short:
        yield _Block(tag, short)


def _pieces(lines: Iterable[Line]) -> Iterator[Line]:
    """Join paragraphs up to MAX_PIECE_CHARS; a longer paragraph is cut at white space."""
    number, held = 0, ""
    for paragraph in _paragraphs(lines):
        for part in _cut(paragraph.text):
            if held and len(held) + 2 + len(part) > MAX_PIECE_CHARS:
                yield Line(number, held)
                held = ""
            number, held = (number, f"{held}\n\n{part}") if held else (paragraph.number, part)
    if held:
        yield Line(number, held)


def _paragraphs(lines: Iterable[Line]) -> Iterator[Line]:
    held: list[Line] = []
    for line in chain(lines, [Line(0, "")]):
        if line.text.strip():
            held.append(line)
        elif held:
            yield Line(held[0].number, "\n".join(text.rstrip() for _, text in held))
            held = []


def _cut(text: str) -> Iterator[str]:
    """Pieces of at most MAX_PIECE_CHARS, without the white space at a cut."""
    start = 0
    while len(text) - start > MAX_PIECE_CHARS:
        end = max(text.rfind(space, start, start + MAX_PIECE_CHARS) for space in " \n")
        end = end if end > start else start + MAX_PIECE_CHARS
        if piece := text[start:end].strip():
            yield piece
        start = end
    if piece := text[start:].rstrip():
        yield piece
