"""Collect the sections of several files: without duplicates, up to limits, with notes.

Few bad rows are left out with notes; more of them refuse the file.
"""

import random
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Final, NamedTuple, TypeVar

from sway_gate.errors import SpecError
from sway_gate.spec.schema import Reserve, Section, SectionKind
from sway_gate.training_data import files
from sway_gate.training_data.files import Mistake

MAX_SECTIONS: Final = 48
"""Sections per kind, file and sample."""
MAX_SAMPLES: Final = 4
"""Samples of a file: the first one, and those for probes that it leaves open."""
MAX_BAD: Final = 0.05
"""Share of bad rows above which a file is refused; one bad row never refuses a file with others."""
MAX_SHOWN: Final = 10
"""Mistakes that notes list."""
_MAX_LINES: Final = 5
"""Lines that are listed of rows with the same mistake."""
_PLURAL: Final[dict[SectionKind, str]] = {
    "prose": "texts",
    "instruction": "examples",
    "preference": "preference examples",
}

T = TypeVar("T")
_Numbered = tuple[int, Section]
"""A section and its number in the source."""


class LoadedSections(NamedTuple):
    """Sections in the order of the files, and notes for the report."""

    sections: tuple[Section, ...]
    notes: tuple[str, ...]
    reserve: Reserve = Reserve()


def thinned(items: Sequence[T], limit: int) -> list[T]:
    """At most `limit` of the items, in order: one drawn from each of `limit` equal parts.

    Drawn, because evenly spaced rows can leave out a label, if the labels of the data take turns.
    The same items give the same draw.
    """
    if len(items) <= limit:
        return list(items)
    draw = random.Random(len(items))
    ends = [(i + 1) * len(items) // limit for i in range(limit)]
    return [items[draw.randrange(*part)] for part in pairwise([0, *ends])]


class Collected:
    """Collects sections, notes and mistakes, source by source. `close` ends a source.

    max_bad: share of bad rows that are left out with a note instead of refusing the source.
    """

    def __init__(self, max_bad: float = 0.0) -> None:
        self._max_bad = max_bad
        self._samples: list[list[Section]] = [[] for _ in range(MAX_SAMPLES)]
        self._rows = 0
        self._notes: list[str] = []
        self._problems: list[str] = []
        self._ids: set[int] = set()

    def start(self, source: str) -> None:
        """Start with a file or a folder."""
        self._streams: dict[SectionKind, _Stream] = {}
        self._omitted: list[str] = []
        self._bad: dict[_Bad, _Lines] = {}
        self._good = self._bad_count = self._duplicates = 0
        self._total = 0
        self._is_refused = False
        self._source = source
        self.enter(source)

    def enter(self, path: str) -> None:
        """Continue with a file of the source."""
        self.name, self.label = files.tag_name(path), files.label(path)

    def count(self, rows: int) -> None:
        """State the number of rows of the source, of which a sample may be read."""
        self._total = rows

    def note(self, text: str) -> None:
        self._omitted.append(text)

    def blame(self, mistake: Mistake) -> None:
        """Refuse the source because of this mistake."""
        self._is_refused = True
        self._problems.append(f"{_place(self.label, mistake.line)}: {mistake.text}")

    def take(self, items: Iterable[Section | Mistake]) -> None:
        for item in items:
            if isinstance(item, Mistake):
                self._bad_count += 1
                kind = _Bad(self.name, self.label, item.text)
                if kind in self._bad or len(self._bad) < MAX_SHOWN:
                    self._bad.setdefault(kind, _Lines()).add(item.line)
                continue
            self._good += 1
            number = int(item.id, 16)
            if number in self._ids:
                self._duplicates += 1
            else:
                self._ids.add(number)
                self._streams.setdefault(item.kind, _Stream()).add((self._good, item))

    def close(self) -> None:
        """End the source: keep a sample of its sections and its notes."""
        self.enter(self._source)
        self._report_bad()
        if not self._good and not self._is_refused:
            remedy = "give examples of prompts with answers, or prose"
            self.blame(Mistake(0, "; ".join(["contains no usable text", *self._omitted, remedy])))
        if self._duplicates:
            self.note(f"duplicates are left out ({self._duplicates:,})")
        of_source: list[list[_Numbered]] = [[] for _ in range(MAX_SAMPLES)]
        for kind, stream in self._streams.items():
            samples = stream.samples(1 if kind == "preference" else MAX_SAMPLES)
            for gathered, sample in zip(of_source, samples, strict=False):
                gathered += sample
            if len(samples[0]) < stream.count:
                used = f"{len(samples[0])} of {stream.count:,} {_PLURAL[kind]} are used"
                most = sum(map(len, samples))
                more = f"; up to {most} if they leave a probe open" if len(samples) > 1 else ""
                self.note(f"{used}, evenly spread{more}")
        self._notes += [f"{self.name}: {omitted}" for omitted in self._omitted]
        for kept, gathered in zip(self._samples, of_source, strict=True):
            kept += [section for _, section in sorted(gathered, key=lambda item: item[0])]
        if self._streams.keys() != {"preference"}:  # only a sample of preferences is ever read
            self._rows += max(self._total, self._good)

    def _report_bad(self) -> None:
        """Note the bad rows if they are few; otherwise refuse the source."""
        total, bad = self._good + self._bad_count, self._bad_count
        allowed = max(1, self._max_bad * total) if self._max_bad and self._good else 0
        if bad > allowed:
            self._is_refused = True
            self._problems += [lines.of(b.label, b.text) for b, lines in self._bad.items()]
            if more := bad - sum(lines.count for lines in self._bad.values()):
                self._problems.append(f"{self.label}: and {more:,} more mistakes")
            if self._good > bad:
                share = f"{bad:,} of {total:,} rows have mistakes, more than {self._max_bad:.0%}"
                self._problems.append(f"{self.label}: {share}; correct or remove them")
        elif bad:
            self.note(f"{bad:,} of {total:,} rows are left out because of mistakes")
            left_out = [lines.of(b.name, b.text) for b, lines in self._bad.items()]
            self._notes += [f"left out: {line}" for line in left_out]

    def loaded(self) -> LoadedSections:
        """All sections and notes. Raises SpecError if there was a mistake."""
        if self._problems:
            raise SpecError(self._problems)
        first, *more = map(tuple, self._samples)
        reserve = Reserve(samples=tuple(filter(None, more)), rows=self._rows)
        return LoadedSections(first, tuple(self._notes), reserve)


class _Bad(NamedTuple):
    """A mistake of one or several rows, and the name and the label of their file."""

    name: str
    label: str
    text: str


class _Lines:
    """The number of rows with the same mistake, and the lines of the first ones."""

    def __init__(self) -> None:
        self.count = 0
        self._first: list[int] = []

    def add(self, line: int) -> None:
        self.count += 1
        if len(self._first) < _MAX_LINES:
            self._first.append(line)

    def of(self, file: str, text: str) -> str:
        """The mistake as one line: `file:3: text`, or `file: rows 3, 7, … (10 rows): text`."""
        if self.count == 1:
            return f"{_place(file, self._first[0])}: {text}"
        numbers = ", ".join(map(str, self._first))
        more = f", … ({self.count:,} rows)" if self.count > len(self._first) else ""
        return f"{file}: rows {numbers}{more}: {text}"


def _place(file: str, line: int) -> str:
    return f"{file}:{line}" if line else file


class _Stream:
    """Evenly spread sample of a stream of unknown length, with fewer than 16·MAX_SECTIONS items.

    One item is drawn from each part of `_step` items.
    """

    def __init__(self) -> None:
        self.kept: list[_Numbered] = []
        self.count = 0
        self._step, self._drawn = 1, 0
        self._draw = random.Random(0)

    def add(self, item: _Numbered) -> None:
        if self.count % self._step == 0:
            self._drawn = self.count + self._draw.randrange(self._step)
        if self.count == self._drawn:
            self.kept.append(item)
            if len(self.kept) == 16 * MAX_SECTIONS:
                pairs = zip(self.kept[::2], self.kept[1::2], strict=True)
                self.kept = [self._draw.choice(pair) for pair in pairs]
                self._step *= 2
        self.count += 1

    def samples(self, most: int) -> list[list[_Numbered]]:
        """At most `most` samples without common items, each evenly spread; all but the first full.

        The first one does not depend on their number.
        """
        first = thinned(self.kept, MAX_SECTIONS)
        numbers = {number for number, _ in first}
        rest = [item for item in self.kept if item[0] not in numbers]
        further = min(most - 1, len(rest) // MAX_SECTIONS)
        spread = thinned(rest, further * MAX_SECTIONS)
        return [first, *(spread[i::further] for i in range(further))]
