"""Read Markdown and plain text as sections: prose, or the questions of a text with labels."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice
from typing import Final, NamedTuple

from sway_gate.conversation import Conversation, Message
from sway_gate.spec.schema import Pair, Section
from sway_gate.training_data import forms, markup
from sway_gate.training_data.examples import named, note_marked, section
from sway_gate.training_data.files import MAX_LINE_BYTES, Line, Note

MAX_PIECE_CHARS: Final = 2000
MIN_WORDS: Final = 20
"""A Markdown section with fewer words is merged with the next."""
_MAX_TAG_CHARS: Final = 80


_SEEN_BLOCKS: Final = 200
"""Blocks that show whether the headings of a document are questions."""


class _Block(NamedTuple):
    """The text under a heading; `tag` is "" before the first heading. `heading`: its line."""

    tag: str
    lines: list[Line]
    heading: str = ""

    @property
    def is_empty(self) -> bool:
        return not any(line.text.strip() for line in self.lines)

    @property
    def is_asked(self) -> bool:
        return self.tag.endswith(("?", "\uff1f"))  # also of Chinese and Japanese


def document(lines: Iterable[Line], name: str, note: Note) -> Iterator[Section]:
    """Yield the sections of a Markdown file.

    If most headings are questions, they are prompts, with the text after each as its answer. A text
    that begins with the label of a question is read as `exchanges`. Otherwise it is prose.
    """
    is_asked, lines = begins_with_question(without_front_matter(lines))
    if is_asked:
        return exchanges((line for line in lines if not _is_heading(line)), name, note)
    blocks = _blocks(lines)
    first = [*islice(blocks, _SEEN_BLOCKS)]
    asked = [block.is_asked for block in first if not block.is_empty]
    if 2 * sum(asked) > len(asked) > 1:
        return _answered(chain(first, blocks), name, note)
    return _sections(chain(first, blocks), name)


def markdown(lines: Iterable[Line], name: str) -> Iterator[Section]:
    """Yield one section per ATX heading with text, in pieces if it is long; its tag is the heading.

    A section below MIN_WORDS is merged with the next one; the last one with the previous one.
    """
    return _sections(_blocks(lines), name)


def _sections(blocks: Iterable[_Block], name: str) -> Iterator[Section]:
    for block in _merged(blocks):
        for i, piece in enumerate(_pieces(block.lines)):
            tag = block.tag or named(piece.text, f"{name}:{piece.number}")
            yield section(piece.text, f"{tag} ({i + 1})" if i and block.tag else tag)


def plain(lines: Iterable[Line], name: str) -> Iterator[Section]:
    """Yield a section per piece of at most MAX_PIECE_CHARS characters."""
    for piece in _pieces(lines):
        yield section(piece.text, named(piece.text, f"{name}:{piece.number}"))


def exchanges(lines: Iterable[Line], name: str, note: Note) -> Iterator[Section]:
    """Yield a section per question that has a label, such as `Q:`, with its answers.

    A question without an answer is prose. `note` receives the number of the others.
    """
    found = 0
    for block in _exchanges(lines):
        text = "\n".join(line.text.rstrip() for line in block).strip()
        if pairs := forms.marked(text, "text"):
            found += 1
            yield section(pairs, named(block[0].text, f"{name}:{block[0].number}"))
        else:
            yield from plain(block, name)
    note_marked(note, found)


def begins_with_question(lines: Iterable[Line]) -> tuple[bool, Iterator[Line]]:
    """Whether the first line that is not a heading has the label of a question; all lines."""
    rest, before = iter(lines), list[Line]()
    for line in rest:
        before.append(line)
        if line.text.strip() and not _is_heading(line):
            return markup.label(line.text) == "question", chain(before, rest)
    return False, iter(before)


def _is_heading(line: Line) -> bool:
    """Whether the line is an ATX heading, and not a label such as `### Response:`."""
    return not markup.label(line.text) and _heading(line.text) is not None


def _exchanges(lines: Iterable[Line]) -> Iterator[Sequence[Line]]:
    """The lines of each question with its answers. A long text without answers is cut."""
    block: list[Line] = []
    is_answered, size = False, 0
    for line in lines:
        label = markup.label(line.text)
        if block and ((label == "question" and is_answered) or size > MAX_LINE_BYTES):
            yield block
            block, is_answered, size = [], False, 0
        is_answered |= label == "answer"
        size += len(line.text)
        if block or line.text.strip():
            block.append(line)
    if block:
        yield block


def _answered(blocks: Iterable[_Block], name: str, note: Note) -> Iterator[Section]:
    """Yield headings and the text after each as prompts with answers, from the first question on.

    Text before it is prose.
    """
    found = 0
    for block in blocks:
        text = "\n".join(line.text.rstrip() for line in block.lines).strip()
        if not found and not block.is_asked:
            yield from plain(block.lines, name)
        elif text:
            found += 1
            asked, prompt = Conversation((Message("user", block.tag),)), f"{block.heading}\n\n"
            answer = Message("assistant", text)
            pair = Pair(prompt=prompt, gold=text, form="plain", conversation=asked, answer=answer)
            yield section((pair,), named(block.tag, f"{name}:{block.lines[0].number - 1}"))
    note(f"most headings are questions, so they are read as prompts with answers: {found:,}")


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
    block, fence = _Block("", []), ""
    for line in lines:
        mark = _fence(line.text)
        if fence:
            is_end = mark.startswith(fence) and mark == line.text.strip()
            fence = "" if is_end else fence
        elif mark:
            fence = mark
        elif (heading := _heading(line.text)) is not None:
            yield block
            block = _Block(heading, [], line.text.strip())
            continue
        block.lines.append(line)
    yield block


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
        if block.is_empty:
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
