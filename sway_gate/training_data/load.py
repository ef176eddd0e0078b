"""Read the training data under `data:` and `held_out:` in a spec as sections.

- `.jsonl`, `.ndjson`, `.json`, `.csv`, `.tsv`, Parquet, Arrow, Feather: rows in the formats of
  `forms`. In addition, `intent` may be "memorize".
- `.md`, `.markdown`: one section per ATX heading; prompts with answers if most headings are
  questions.
- Other files in UTF-8: pieces of at most MAX_PIECE_CHARS characters.
- Texts that begin with the label of a question, such as `Q:`: one section per question.
- Folders of such files, and data sets that `datasets` saved.

Of many rows a seeded sample is read. At most MAX_SECTIONS sections per file and kind are kept,
evenly spread; of rows and texts, further such samples are the reserve. Few bad rows are left out.
Notes state everything that was left out.
"""

import os
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from typing import BinaryIO, Final

from sway_gate.spec.schema import Section
from sway_gate.training_data import arrow, compression, files, forms, text
from sway_gate.training_data.arrow import Arrow
from sway_gate.training_data.collected import MAX_BAD, Collected, LoadedSections
from sway_gate.training_data.examples import examples, joined
from sway_gate.training_data.files import Mistake, Note
from sway_gate.training_data.folders import files_in
from sway_gate.training_data.json_rows import begins_with_row, json_rows
from sway_gate.training_data.labels import Labels
from sway_gate.training_data.rows import Container, chosen, repeated_names
from sway_gate.training_data.tables import Table

_JSON: Final = (".jsonl", ".ndjson", ".json")
_TABLES: Final = (".csv", ".tsv")
_ARROW: Final = (".parquet", ".arrow", ".feather")
_MARKDOWN: Final = (".md", ".markdown")
_REFUSED: Final = {
    ".dlm": "a .dlm document; run `sway autogen` on it, or set dlm_source to it in the spec",
    ".yaml": f"YAML; {files.AS_JSONL}",
    ".yml": f"YAML; {files.AS_JSONL}",
    **dict.fromkeys((".xlsx", ".xls", ".ods"), "a workbook; save its sheet as CSV"),
    **dict.fromkeys((".docx", ".doc", ".odt", ".rtf"), f"a text document; {files.AS_TEXT}"),
    **dict.fromkeys((".pptx", ".ppt", ".odp"), f"a presentation; {files.AS_TEXT}"),
    **dict.fromkeys((".html", ".htm", ".xhtml"), f"a web page; {files.AS_TEXT}"),
    ".epub": f"an e-book; {files.AS_TEXT}",
    **dict.fromkeys((".png", ".jpg", ".jpeg", ".gif", ".webp"), "an image; give data as text"),
    **dict.fromkeys((".safetensors", ".gguf", ".pt", ".pth"), "a file of weights; give data"),
    **dict.fromkeys((".tar", ".tgz", ".7z", ".rar"), "an archive; unpack it"),
    ".ipynb": "a notebook; save it as Markdown",
}


def load_sections(
    paths: Sequence[str], fields: Mapping[str, str] | None = None, seed: int = 0
) -> LoadedSections:
    """Sections of all files and folders without duplicates.

    fields: as in `examples`. seed: of the sample of a large file. Raises SpecError with one line
    per mistake, and CannotDecide if a file needs an extra that is not installed.
    """
    collected = Collected(MAX_BAD)
    for path in paths:
        collected.start(path)
        try:
            _load(path, collected, fields or {}, seed)
        except Mistake as mistake:
            collected.blame(mistake)
        collected.close()
    return collected.loaded()


def _load(path: str, collected: Collected, fields: Mapping[str, str], seed: int) -> None:
    """Count the rows of all files, choose which to read, and read them."""
    parts = files_in(path, collected.note)
    counts = []
    for part in parts:
        collected.enter(part)
        if (suffix := _suffix(part)) in _REFUSED:
            raise Mistake(0, f"is {_REFUSED[suffix]}")
        with files.opened(part) as file:
            container = _container(file, part, fields, collected.note)
            counts.append(container.count() if container else 0)
    wanted, total = chosen(sum(counts), seed), sum(counts)
    collected.count(total)
    if len(wanted) < total:
        collected.note(f"a sample of {len(wanted):,} of {total:,} rows is read (seed {seed})")
    first, labels = 0, Labels()
    for part, count in zip(parts, counts, strict=True):
        own = wanted[bisect_left(wanted, first) : bisect_left(wanted, first + count)]
        collected.enter(part)
        with files.opened(part) as file:
            if container := _container(file, part, fields, _no_note):
                found = container.rows([i - first for i in own])
                collected.take(examples(found, collected.name, labels, fields, collected.note))
            else:
                collected.take(_texts(file, part, collected))
        first += count
    collected.take(joined(labels, collected.note))


def _container(
    file: BinaryIO, path: str, fields: Mapping[str, str], note: Note
) -> Container | None:
    """The rows of a file; None if it is text. The content decides before the name."""
    magic = file.read(len(arrow.FEATHER))
    file.seek(0)
    suffix = _suffix(path)
    if suffix in _ARROW or magic.startswith((arrow.PARQUET, arrow.FEATHER)):
        return Arrow(file, files.label(path), lambda names: _columns(names, fields))
    file = files.with_newlines(file)
    if suffix in _TABLES:
        return Table(file, note)
    is_json = suffix in _JSON or (suffix not in _MARKDOWN and begins_with_row(file))
    return json_rows(file, note) if is_json else None


def _columns(names: Sequence[str], fields: Mapping[str, str]) -> list[str]:
    """The columns that are read. Raises Mistake if there are none, or two of one name."""
    if repeated := repeated_names(names):
        raise Mistake(0, repeated)
    used = [name for name in names if name in fields.values()] if fields else forms.known(names)
    if not used:
        raise Mistake(0, forms.unknown(names))
    return used


def _texts(file: BinaryIO, path: str, collected: Collected) -> Iterator[Section]:
    lines = files.lines(files.with_newlines(file), collected.note)
    if _suffix(path) in _MARKDOWN:
        return text.document(lines, collected.name, collected.note)
    is_asked, lines = text.begins_with_question(lines)
    if is_asked:
        return text.exchanges(lines, collected.name, collected.note)
    return text.plain(lines, collected.name)


def _suffix(path: str) -> str:
    return os.path.splitext(compression.bare(path))[1].lower()


def _no_note(_: str) -> None:
    """Ignore a note that the first reading of the file has made."""
