"""Turn rows into sections, whose tags are their first words with file and line."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, get_args

import msgspec

from sway_gate.spec.schema import Intent, Pair, Preference, Section, SectionKind, section_id
from sway_gate.text import counted, cut, one_line
from sway_gate.training_data import forms
from sway_gate.training_data.files import PYTHON, Mistake, Note
from sway_gate.training_data.forms import Fields, Labelled
from sway_gate.training_data.labels import Labels
from sway_gate.training_data.messages import Wrong, checked
from sway_gate.training_data.rows import Row

MAX_WORDS: Final = 30
"""Characters of the first words in a tag."""
_SURROGATE: Final = "contains an unpaired surrogate, which is not valid text; save it as UTF-8"


def section(
    content: str | tuple[Pair, ...] | tuple[Preference, ...],
    tag: str,
    intent: Intent = "generalize",
) -> Section:
    """Return a section of the kind that fits the content; its id is a hash of kind and content."""
    if isinstance(content, str):
        id = section_id("prose", content)
        return Section(kind="prose", id=id, content=content, tag=tag, intent=intent)
    kind: SectionKind = "preference" if isinstance(content[0], Preference) else "instruction"
    id = section_id(kind, "", content)
    return Section(kind=kind, id=id, pairs=content, tag=tag, intent=intent)


def named(text: str, where: str) -> str:
    """A tag: the first words of the text, and its place."""
    return f"{cut(one_line(text[: 4 * MAX_WORDS]), MAX_WORDS)} ({where})"


def examples(
    rows: Iterable[Row | Mistake],
    name: str,
    labels: Labels,
    fields: Mapping[str, str] | None = None,
    note: Note = lambda _: None,
) -> Iterator[Section | Mistake]:
    """Yield a section or a mistake for each row of the file `name`.

    labels: receives the answers with labels; `joined` then yields their sections. fields: which
    field of a row to read as which field of a format; then no others are read.
    """
    intents, others = Counter[str](), Counter[str]()
    marked = classes = 0
    for row in rows:
        if isinstance(row, Mistake):
            yield row
            continue
        try:
            given = _mapped(_fields(row.value), fields or {})
            intents[str(given.get("intent") or "generalize")] += 1
            content = forms.content(given)
            marked += forms.is_marked(given, content)
            if isinstance(content, Labelled):
                labels.add(f"{name}:{row.number}", content)
            else:
                others[forms.ignored_label(given, content)] += 1
                classes += forms.is_numbered(given, content)
                yield _section(content, f"{name}:{row.number}", given)
        except Wrong as wrong:
            yield Mistake(row.number, str(wrong))
        except UnicodeEncodeError:
            yield Mistake(row.number, _SURROGATE)
        except RecursionError:
            yield Mistake(row.number, "nested too deep")
    _note_ignored(note, "intent", intents, get_args(Intent))
    _note_ignored(note, "label", others, ("", "true", "false"))
    note_marked(note, marked)
    _note_classes(note, classes)


def note_marked(note: Note, texts: int) -> None:
    """Note texts that were read as conversations."""
    if texts:
        note(f"texts with chat markers are read as prompts and answers: {texts:,}")


def _note_classes(note: Note, classes: int) -> None:
    """Note texts that were read without the number of a class."""
    if classes:
        rows_of = counted(classes, "row")
        note(
            f"label is a number ({rows_of}), so only the text is read: if training taught the "
            "classes, write their names as labels"
        )


def _note_ignored(
    note: Note, field: str, found: Mapping[str, int], accepted: Sequence[str]
) -> None:
    """Note the values of a field that are not accepted. found: the number of rows of each."""
    if ignored := [value for value in found if value not in accepted]:
        rows_of = counted(sum(found[value] for value in ignored), "row")
        first, meaning = cut(repr(ignored[0]), MAX_WORDS), " and ".join(filter(None, accepted))
        note(f"{field} {first} is ignored ({rows_of}): only {meaning} have a meaning")


def joined(labels: Labels, note: Note) -> Iterator[Section]:
    """Yield a section for each preference or example that the labelled answers make."""
    for where, pair in labels.joined(note):
        yield _section((pair,), where, {})


def _section(content: Any, where: str, row: Fields) -> Section:
    intent: Intent = "memorize" if row.get("intent") == "memorize" else "generalize"
    return section(content, named(_asked(content), where), intent)


def _asked(content: str | tuple[Pair | Preference, ...]) -> str:
    """The text that names a row: its first question, or the text itself."""
    if isinstance(content, str):
        return content
    pair = content[0]
    messages = pair.conversation.messages if pair.conversation else ()
    by_user = [message.text() for message in messages if message.role == "user"]
    return by_user[-1] if by_user else pair.prompt


def _mapped(row: Fields, fields: Mapping[str, str]) -> Fields:
    if not fields:
        return row
    if missing := [name for name in fields.values() if name not in row]:
        raise Wrong(f"has no field {missing[0]!r}, which --map or `data_map:` names")
    return {field: row[name] for field, name in fields.items()}


def _fields(value: Any) -> Fields:
    """The fields of a row; a row that is a list is a conversation."""
    if isinstance(value, str):
        value = _decoded(value)
    if isinstance(value, list):
        value = {"messages": value}
    row: Fields = checked(value, Fields, "a row")
    return row


def _decoded(text: str) -> Any:
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError as error:
        return _lenient(text, str(error))
    except RecursionError:
        raise Wrong("not valid JSON: nested too deep") from None


def _lenient(text: str, fault: str) -> Any:
    """Parse with Python's parser: Python writes NaN and Infinity, which are not JSON."""
    try:
        return PYTHON.decode(text)
    except (ValueError, RecursionError):
        raise Wrong(f"not valid JSON: {fault.removeprefix('JSON is malformed: ')}") from None
