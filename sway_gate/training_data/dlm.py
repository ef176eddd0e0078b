"""Read `.dlm` documents: their sections, and the adapters that dlm trained on them.

The package `document-language-model` (extra `[dlm]`) reads documents and stores. Nothing is
written, and no base is looked up on the network. This module parses the bodies of instruction and
preference sections itself: dlm's parser ends a text at its first blank line and does not accept
questions marked `!probe`, which are trained like any other. Prose is split at its headings.
Images, audio and files under `training.sources` are left out, with a note.
"""

import os
from collections.abc import Iterator, Sequence
from typing import Any, Final, NamedTuple

import msgspec
from yaml import MappingNode

from sway_gate.errors import CannotDecide, SpecError
from sway_gate.model_files.hub import is_hub_id
from sway_gate.spec import yaml_nodes
from sway_gate.spec.schema import Pair, Preference, Section
from sway_gate.training_data import files, text
from sway_gate.training_data.collected import MAX_SECTIONS, Collected, LoadedSections, thinned
from sway_gate.training_data.examples import section
from sway_gate.training_data.files import Line, Mistake

MAX_BYTES: Final = 4 * 2**20
MAX_FRONT_CHARS: Final = 2**18
MAX_PAIRS: Final = MAX_SECTIONS
"""Pairs per kind."""
_MAX_MANIFEST_BYTES: Final = 16 * 2**20
_MAX_PRINTED: Final = 300
_HF: Final = "hf:"
_HEADERS: Final = {
    "instruction": ("### Q", "### A"),
    "preference": ("### Prompt", "### Chosen", "### Rejected"),
}
_FRONT: Final = "it must begin with front matter between two lines of ---, with the field dlm_id"
_ALIASES: Final = {"### Q !probe": "### Q"}


class Trained(NamedTuple):
    """The result of dlm's training on a document.

    base: hub id. revision: revision of the base in the last training, or the one in dlm's registry.
    adapters: name -> folder; a document without named adapters has one, named "". epochs: number of
    epochs that the document sets.
    """

    base: str
    revision: str | None
    adapters: dict[str, str]
    epochs: int


_Item = tuple[int, Section | Mistake]
"""An item with its line, which determines the order."""


class _Document(NamedTuple):
    label: str
    lines: list[str]
    front: Any
    """dlm's front matter."""
    sections: Sequence[Any]
    """dlm's sections."""


def sections(path: str, judged: str = "") -> LoadedSections:
    """Sections of the document at `path`.

    If the document names several adapters and the folder `judged` is one of them, only the sections
    that trained it. Raises SpecError with every mistake, and CannotDecide without the extra.
    """
    document = _read(path)
    collected = Collected()
    collected.start(path)
    routed = _routed(document, judged, collected)
    items = [item for kind in _HEADERS for item in _pairs(routed, kind, collected)]
    items += _prose(document, routed, collected.name)
    collected.take(item for _, item in sorted(items, key=lambda item: item[0]))
    _note_omissions(document, collected)
    collected.close()
    return collected.loaded()


def adapter(path: str) -> Trained:
    """Base and adapters in the document's store. Raises CannotDecide if it has no adapter."""
    document = _read(path)
    from dlm.store.paths import for_dlm

    store = for_dlm(document.front.dlm_id)
    names = list(document.front.training.adapters or ())
    try:
        if names:
            found = {name: store.resolve_current_adapter_for(name) for name in names}
        else:
            found = {"": store.resolve_current_adapter()}
    except (OSError, ValueError) as error:
        message = f"the store's pointer to its adapter is broken ({type(error).__name__})"
        raise SpecError([f"{store.adapter}: {message}; run `dlm train` again"]) from None
    adapters = {name: str(folder) for name, folder in found.items() if folder and folder.is_dir()}
    if not adapters:
        raise CannotDecide(
            f"{document.label}: has no trained adapter in {store.adapter}; run `dlm train` on it"
        )
    base, revision = _base(document)
    pinned = _trained_revision(store.manifest, document.front.base_model) or revision
    return Trained(base, pinned, adapters, document.front.training.num_epochs)


# --- reading


def _read(path: str) -> _Document:
    label = files.label(path)
    try:
        from dlm.doc.errors import DlmParseError
        from dlm.doc.parser import parse_text
    except ImportError as error:
        hint = "to read .dlm documents, install the extra: pip install 'sway-gate[dlm]'"
        raise CannotDecide(f"{label}: {hint} ({_printable(error)})") from None
    try:
        content = _content(path)
        _check_front(content, label)
        parsed = parse_text(content)
    except Mistake as mistake:
        raise _error(label, mistake.line, mistake.text) from None
    except DlmParseError as error:
        raise _error(label, error.line, error.message) from None
    except SpecError:
        raise
    # dlm's parser may raise any exception on an untrusted document.
    except Exception as error:
        raise _error(label, 0, f"dlm cannot read it ({type(error).__name__})") from None
    return _Document(label, content.split("\n"), parsed.frontmatter, parsed.sections)


def _content(path: str) -> str:
    """Text of the file with \\n as line end, as dlm requires."""
    with files.opened(path) as file:
        data = file.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        limit = f"{MAX_BYTES // 2**20} MiB"
        raise Mistake(0, f"larger than {limit}; move long texts to files under `data:`")
    return files.decoded(data).replace("\r\n", "\n").replace("\r", "\n")


def _check_front(content: str, label: str) -> None:
    """Refuse front matter that is expensive to load: dlm expands every alias.

    Refuse a file that is not a document without a quotation, which dlm's messages contain.
    """
    # The rest begins with a line end, so that line numbers remain the same.
    front, end, _ = f"{content}\n".removeprefix("---").partition("\n---\n")
    if not content.startswith("---\n") or not end:
        raise Mistake(1, f"not a .dlm document: {_FRONT}")
    if len(front) > MAX_FRONT_CHARS:
        raise Mistake(1, f"front matter longer than {MAX_FRONT_CHARS // 1024} KiB; shorten it")
    root = yaml_nodes.compose(front, label, _FRONT)
    if not isinstance(root, MappingNode) or "dlm_id" not in yaml_nodes.entries(root):
        raise Mistake(1, f"not a .dlm document: {_FRONT}")


def _error(label: str, line: int, message: str) -> SpecError:
    where = f"{label}:{line}" if line else label
    return SpecError([f"{where}: {_printable(message)}"])


def _printable(text: object) -> str:
    """The text on one line, printable and cut to _MAX_PRINTED characters."""
    words = " ".join(str(text).split())
    return "".join(c if c.isprintable() else "?" for c in words[:_MAX_PRINTED])


# --- sections


def _routed(document: _Document, judged: str, collected: Collected) -> list[Any]:
    """Sections that train the adapter at `judged`, by dlm's rule.

    A section trains the adapter that it names. Without a name, prose trains all adapters, and other
    sections train the first.
    """
    names = list(document.front.training.adapters or ())
    for found in document.sections:
        if found.adapter and found.adapter not in names:
            text = f"names the adapter {found.adapter!r}, which training.adapters does not declare"
            collected.blame(Mistake(found.start_line, text))
    name = _name_of(document, names, judged) if names else ""
    if len(names) > 1 and not name:
        collected.note(f"the sections of all its adapters are used ({', '.join(names)})")
    if not name:
        return list(document.sections)
    routed = []
    for found in document.sections:
        trains_unnamed = found.type == "prose" or name == names[0]
        if found.adapter == name or (not found.adapter and trains_unnamed):
            routed.append(found)
    return routed


def _name_of(document: _Document, names: list[str], judged: str) -> str:
    """Name of the adapter whose part of the store contains the folder; "" for other folders."""
    from dlm.store.paths import for_dlm

    store, folder = for_dlm(document.front.dlm_id), os.path.realpath(judged)
    for name in names:
        if folder.startswith(os.path.realpath(store.adapter_dir_for(name)) + os.sep):
            return name
    return ""


def _prose(document: _Document, routed: Sequence[Any], name: str) -> Iterator[_Item]:
    for found in routed:
        if found.type == "prose":
            is_fenced = document.lines[found.start_line - 1].startswith("::prose")
            lines = _numbered(found.content, found.start_line + is_fenced)
            for piece in text.markdown(lines, name):
                yield found.start_line, piece


def _pairs(routed: Sequence[Any], kind: str, collected: Collected) -> Iterator[_Item]:
    """Sections of the kind, with at most MAX_PAIRS pairs in total, evenly spread."""
    pairs: list[tuple[Any, Pair | Preference]] = []
    for found in routed:
        if found.type == kind:
            try:
                pairs += [(found, pair) for pair in _made(found)]
            except Mistake as mistake:
                yield mistake.line, mistake
    if len(pairs) > MAX_PAIRS:
        of = f"{len(pairs):,} pairs of {kind} sections"
        collected.note(f"{MAX_PAIRS} of {of} are used, evenly spread")
    by_section: dict[int, tuple[Any, list[Any]]] = {}
    for found, pair in thinned(pairs, MAX_PAIRS):
        by_section.setdefault(found.start_line, (found, []))[1].append(pair)
    for found, chosen in by_section.values():
        tag = f"{collected.name}:{found.start_line}"
        if found.adapter:
            tag += f" #{found.adapter}"
        yield found.start_line, section(tuple(chosen), tag)


def _made(found: Any) -> list[Pair | Preference]:
    """Pairs of an instruction or preference section. Raises Mistake."""
    headers = _HEADERS[found.type]
    size = len(headers)
    texts: list[str] = []
    last = found.start_line
    for field in _fields(found, headers):
        header = headers[len(texts) % size]
        if field.header != header:
            raise Mistake(field.number, f"found `{field.header}`, expected `{header}`")
        if not field.text:
            raise Mistake(field.number, f"`{field.header}` has no text")
        texts.append(field.text)
        last = field.number
    if len(texts) % size or not texts:
        header = headers[len(texts) % size]
        raise Mistake(last, f"`{header}` is missing before the section ends")
    made: list[Pair | Preference] = []
    for i in range(0, len(texts), size):
        if found.type == "instruction":
            made.append(Pair(prompt=texts[i], gold=texts[i + 1]))
        else:
            made.append(Preference(prompt=texts[i], chosen=texts[i + 1], rejected=texts[i + 2]))
    return made


class _Field(NamedTuple):
    number: int
    header: str
    text: str


def _fields(found: Any, headers: Sequence[str]) -> Iterator[_Field]:
    """Yield each header of the section with its text."""
    # dlm takes the lines of these marks out of the content.
    marks = found.auto_harvest + found.auto_mined + found.auto_synth
    body: list[str] = []
    number, header = 0, ""
    for line in _numbered(found.content, found.start_line + 1 + marks):
        bare = line.text.strip()
        if (name := _ALIASES.get(bare, bare)) in headers:
            if header:
                yield _Field(number, header, "\n".join(body).strip())
            number, header, body = line.number, name, []
        elif bare and not header:
            raise Mistake(line.number, f"text before the first `{headers[0]}`")
        else:
            body.append(line.text)
    if header:
        yield _Field(number, header, "\n".join(body).strip())


def _numbered(content: str, first: int) -> Iterator[Line]:
    return (Line(first + i, line) for i, line in enumerate(content.split("\n")))


def _note_omissions(document: _Document, collected: Collected) -> None:
    for kind in ("image", "audio"):
        if number := sum(found.type == kind for found in document.sections):
            collected.note(f"{kind} sections are left out ({number}): only text is supported")
    if sources := document.front.training.sources:
        names = ", ".join(_printable(source.path) for source in sources[:4])
        left_out = f"files under training.sources are left out ({names})"
        collected.note(f"{left_out}; list text files under `data:`")


# --- store


def _base(document: _Document) -> tuple[str, str | None]:
    """Hub id, and the revision in dlm's registry."""
    from dlm.base_models.registry import BASE_MODELS

    key = document.front.base_model
    if key.startswith(_HF) and is_hub_id(key.removeprefix(_HF)):
        return key.removeprefix(_HF), None
    if (entry := BASE_MODELS.get(key)) is not None:
        return entry.hf_id, entry.revision
    given = (i for i, text in enumerate(document.lines, 1) if text.startswith("base_model:"))
    message = "is neither in dlm's registry nor of the form hf:org/name"
    raise _error(document.label, next(given, 0), f"base_model {yaml_nodes.shown(key)} {message}")


class _Run(msgspec.Struct):
    base_model_revision: str | None = None


class _Manifest(msgspec.Struct):
    base_model: str = ""
    base_model_revision: str | None = None
    training_runs: list[_Run] = []


def _trained_revision(path: os.PathLike[str], base_model: str) -> str | None:
    """Revision of the base in the last training run.

    None if the store does not state it, or if it names another base.
    """
    try:
        with files.opened(os.fspath(path)) as file:
            manifest = msgspec.json.decode(file.read(_MAX_MANIFEST_BYTES), type=_Manifest)
    except (Mistake, msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        if isinstance(error, Mistake) and not os.path.lexists(path):
            return None
        message = f"not a valid dlm manifest: {_printable(error)}"
        raise SpecError([f"{os.fspath(path)}: {message}"]) from None
    runs = [run.base_model_revision for run in manifest.training_runs if run.base_model_revision]
    revision = runs[-1] if runs else manifest.base_model_revision
    return revision if manifest.base_model == base_model else None
