"""What the readers of training data pass on: lines, sections and mistakes."""

from typing import NamedTuple

from sway_gate.spec.schema import Intent, Pair, Preference, Section, SectionKind, section_id


class Line(NamedTuple):
    """A line of a file, or more of it from that line on. `number` is 1-based."""

    number: int
    text: str


class Mistake(Exception):
    """What is wrong at a line of a file; line 0 is the file as a whole."""

    def __init__(self, line: int, text: str) -> None:
        super().__init__(text)
        self.line, self.text = line, text


def section(
    content: str | tuple[Pair, ...] | tuple[Preference, ...],
    tag: str,
    intent: Intent = "generalize",
) -> Section:
    """A section of the kind that fits the content; its id is a hash of kind and content."""
    if isinstance(content, str):
        return Section(
            kind="prose", id=section_id("prose", content), content=content, tag=tag, intent=intent
        )
    kind: SectionKind = "preference" if isinstance(content[0], Preference) else "instruction"
    return Section(
        kind=kind, id=section_id(kind, "", content), pairs=content, tag=tag, intent=intent
    )
