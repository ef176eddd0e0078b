"""Read the training data files under `data:` in a spec as sections.

- `.jsonl`, `.ndjson`, `.json`: one example per line, or one array of examples. An example is an
  object with prompt and completion; messages; chosen, rejected and optionally prompt; instruction,
  output and optionally input; or text. If it has the fields of several formats, the first in the
  table of `examples` is used. In addition, `intent` may be "memorize".
- `.md`, `.markdown`: one section per ATX heading.
- Other files in UTF-8: pieces of at most MAX_PIECE_CHARS characters.

Files are read up to limits. At most MAX_SECTIONS sections per file and kind are kept, evenly
spread; notes state what was left out.
"""

import os
from collections.abc import Iterable, Iterator, Sequence
from typing import BinaryIO, Final, NamedTuple, TypeVar

from sway_gate.errors import SpecError
from sway_gate.spec.schema import Section, SectionKind
from sway_gate.spec.yaml_nodes import MAX_PROBLEMS
from sway_gate.training_data import files, text
from sway_gate.training_data.examples import examples
from sway_gate.training_data.files import Mistake

MAX_SECTIONS: Final = 48
"""Sections per kind and file."""
_JSON: Final = (".jsonl", ".ndjson", ".json")
_MARKDOWN: Final = (".md", ".markdown")
_REFUSED: Final = {
    ".dlm": "a .dlm document; run `sway autogen` on it, or set dlm_source to it in the spec",
    ".csv": f"a table; {files.AS_JSONL}",
    ".tsv": f"a table; {files.AS_JSONL}",
}
_PLURAL: Final[dict[SectionKind, str]] = {
    "prose": "texts",
    "instruction": "examples",
    "preference": "preference examples",
}

T = TypeVar("T")


class LoadedSections(NamedTuple):
    """Sections in the order of the files, and notes for the report."""

    sections: tuple[Section, ...]
    notes: tuple[str, ...]


def load_sections(paths: Sequence[str]) -> LoadedSections:
    """Sections of all files without duplicates. Raises SpecError with one line per mistake."""
    collected = Collected()
    for path in paths:
        collected.name = files.tag_name(path)
        collected.label = files.label(path)
        try:
            with files.opened(path) as file:
                collected.take(_parsed(file, path, collected))
        except Mistake as mistake:
            collected.blame(mistake)
        collected.close()
    return collected.loaded()


def thinned(items: Sequence[T], limit: int) -> list[T]:
    """At most `limit` of the items, evenly spread and including the first."""
    if len(items) <= limit:
        return list(items)
    return [items[i * len(items) // limit] for i in range(limit)]


class Collected:
    """Collects sections, notes and mistakes, file by file. `close` ends a file."""

    def __init__(self) -> None:
        self.name = self.label = ""
        self._sections: list[Section] = []
        self._notes: list[str] = []
        self._problems: list[str] = []
        self._unshown = 0
        self._ids: set[int] = set()
        self._start()

    def _start(self) -> None:
        self._streams: dict[SectionKind, _Stream] = {}
        self._omitted: list[str] = []
        self._found = self._duplicates = 0

    def note(self, text: str) -> None:
        self._omitted.append(text)

    def blame(self, mistake: Mistake) -> None:
        self._found += 1
        if len(self._problems) < MAX_PROBLEMS:
            where = f"{self.label}:{mistake.line}" if mistake.line else self.label
            self._problems.append(f"{where}: {mistake.text}")
        else:
            self._unshown += 1

    def take(self, items: Iterable[Section | Mistake]) -> None:
        for item in items:
            if isinstance(item, Mistake):
                self.blame(item)
                continue
            self._found += 1
            number = int(item.id, 16)
            if number in self._ids:
                self._duplicates += 1
            else:
                self._ids.add(number)
                self._streams.setdefault(item.kind, _Stream()).add((self._found, item))

    def close(self) -> None:
        """End the current file: keep a sample of its sections and its notes."""
        if not self._found:
            self.blame(Mistake(0, "; ".join(["contains no usable text", *self._omitted])))
        if self._duplicates:
            self.note(f"duplicates are left out ({self._duplicates:,})")
        kept: list[tuple[int, Section]] = []
        for kind, stream in self._streams.items():
            chosen = thinned(stream.kept, MAX_SECTIONS)
            kept += chosen
            if len(chosen) < stream.count:
                used, plural = len(chosen), _PLURAL[kind]
                self.note(f"{used} of {stream.count:,} {plural} are used, evenly spread")
        self._notes += [f"{self.name}: {omitted}" for omitted in self._omitted]
        self._sections += [section for _, section in sorted(kept, key=lambda item: item[0])]
        self._start()

    def loaded(self) -> LoadedSections:
        """All sections and notes. Raises SpecError if there was a mistake."""
        if self._unshown:
            self._problems.append(f"{self.label}: and {self._unshown:,} more mistakes")
        if self._problems:
            raise SpecError(self._problems)
        return LoadedSections(tuple(self._sections), tuple(self._notes))


class _Stream:
    """Evenly spread sample of a stream of unknown length, with fewer than 16·MAX_SECTIONS items."""

    def __init__(self) -> None:
        self.kept: list[tuple[int, Section]] = []
        self.count = 0
        self._step = 1

    def add(self, item: tuple[int, Section]) -> None:
        if self.count % self._step == 0:
            self.kept.append(item)
        if len(self.kept) == 16 * MAX_SECTIONS:
            del self.kept[1::2]
            self._step *= 2
        self.count += 1


def _parsed(file: BinaryIO, path: str, collected: Collected) -> Iterator[Section | Mistake]:
    suffix = os.path.splitext(path)[1].lower()
    if suffix in _REFUSED:
        raise Mistake(0, f"is {_REFUSED[suffix]}")
    if suffix in _JSON:
        return examples(files.elements(file, collected.note), collected.name)
    lines = files.lines(file, collected.note)
    if suffix in _MARKDOWN:
        return text.markdown(text.without_front_matter(lines), collected.name)
    return text.plain(lines, collected.name)
