"""Read examples in the common training formats from JSON, as sections.

Conversations become plain text: the prompt of an answer is the text of all previous messages,
joined by blank lines. No chat template is applied.
"""

from collections.abc import Callable, Iterable, Iterator
from itertools import takewhile
from typing import Any, Final, NamedTuple

import msgspec

from sway_gate.spec.schema import Intent, Pair, Preference, Section, SectionKind, section_id
from sway_gate.spec.yaml_nodes import shown
from sway_gate.training_data.files import PYTHON, Line, Mistake

MAX_ANSWERS: Final = 4
"""Answers used from one conversation: the first ones, because prompts grow with each turn."""
_ROLES: Final = ("system", "developer", "user", "assistant", "tool")


class _Wrong(Exception):
    """A fault of one example."""


class _Part(msgspec.Struct, frozen=True):
    type: str = "text"
    text: str | None = None


class _Message(msgspec.Struct, frozen=True):
    role: str
    content: str | list[_Part] | None = None


_Conversation = str | list[_Message]


class _Row(msgspec.Struct, frozen=True):
    """The fields that are read from an example; all others are ignored."""

    prompt: _Conversation | None = None
    completion: _Conversation | None = None
    chosen: _Conversation | None = None
    rejected: _Conversation | None = None
    messages: list[_Message] | None = None
    instruction: str | None = None
    input: str | None = None
    output: str | None = None
    text: str | None = None
    intent: str | None = None


class _Turn(NamedTuple):
    role: str
    text: str


_ROWS: Final = msgspec.json.Decoder(_Row)


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


def examples(lines: Iterable[Line], name: str) -> Iterator[Section | Mistake]:
    """Yield a section or a mistake for each line with an example."""
    for line in lines:
        if line.text and not line.text.isspace():
            try:
                yield _example(line.text, f"{name}:{line.number}")
            except _Wrong as wrong:
                yield Mistake(line.number, str(wrong))
            except UnicodeEncodeError:
                message = (
                    "contains an unpaired surrogate, which is not valid text; save it as UTF-8"
                )
                yield Mistake(line.number, message)


def _example(text: str, tag: str) -> Section:
    row = _row(text)
    for fields, content in _SHAPES:
        if all(getattr(row, field) is not None for field in fields):
            return section(content(row), tag, _intent(row))
    raise _Wrong(_shapeless(text))


def _row(text: str) -> _Row:
    try:
        return _decoded(text)
    except msgspec.ValidationError as error:
        raise _Wrong(_complaint(str(error))) from None
    except RecursionError:
        raise _Wrong("not valid JSON: nested too deep") from None


def _decoded(text: str) -> _Row:
    try:
        return _ROWS.decode(text)
    except msgspec.ValidationError:
        raise
    except msgspec.DecodeError as error:
        return msgspec.convert(_lenient(text, str(error)), _Row)


def _lenient(text: str, fault: str) -> Any:
    """Parse with Python's parser: Python writes NaN and Infinity, which are not JSON."""
    try:
        return PYTHON.decode(text)
    except ValueError:
        raise _Wrong(f"not valid JSON: {fault.removeprefix('JSON is malformed: ')}") from None


_PLAIN = {
    "Expected ": "must be ",
    " | null": "",
    "array": "list",
    "str": "text",
    "must be object": "must be a JSON object",
    " | ": " or ",
}


def _complaint(text: str) -> str:
    """msgspec's error, field first: "Expected `str` - at `$.prompt`" -> "prompt: must be text"."""
    need, _, where = text.replace("`", "").partition(" - at $")
    for old, new in _PLAIN.items():
        need = need.replace(old, new)
    return f"{where.lstrip('.')}: {need}" if where else f"an example {need}"


def _shapeless(text: str) -> str:
    value = PYTHON.decode(text)
    keys = [shown(key, 40) for key, field in value.items() if field is not None]
    found = ", ".join(keys[:8]) + (" …" if len(keys) > 8 else "")
    accepted = (
        "prompt and completion; messages; prompt, chosen and rejected; "
        "instruction, input and output; text"
    )
    return f"unknown format of example: fields {found or '(none)'}; accepted: {accepted}"


def _intent(row: _Row) -> Intent:
    if row.intent not in (None, "generalize", "memorize"):
        raise _Wrong(f"intent: must be generalize or memorize, got {shown(row.intent or '')}")
    return "memorize" if row.intent == "memorize" else "generalize"


def _filled(text: str, field: str) -> str:
    if not text or text.isspace():
        raise _Wrong(f"{field}: must not be empty")
    return text


def _prose(row: _Row) -> str:
    return _filled(row.text or "", "text")


def _alpaca(row: _Row) -> tuple[Pair, ...]:
    task = _filled(row.instruction or "", "instruction")
    prompt = f"{task}\n\n{row.input}" if row.input else task
    return (Pair(prompt=prompt, gold=_filled(row.output or "", "output")),)


def _completion(row: _Row) -> tuple[Pair, ...]:
    before = _turns(row.prompt, "prompt", "user")
    after = _turns(row.completion, "completion", "assistant")
    return _pairs(before, after, "completion")


def _conversation(row: _Row) -> tuple[Pair, ...]:
    return _pairs([], _turns(row.messages, "messages", "user"), "messages")


def _preference(row: _Row) -> tuple[Preference, ...]:
    """TRL's formats: an explicit prompt, or the common start of both conversations."""
    chosen = _turns(row.chosen, "chosen", "assistant")
    rejected = _turns(row.rejected, "rejected", "assistant")
    before = _turns(row.prompt, "prompt", "user")
    same = takewhile(lambda pair: pair[0] == pair[1], zip(chosen, rejected, strict=False))
    shared = chosen[: min(sum(1 for _ in same), len(chosen) - 1, len(rejected) - 1)]
    # A common start by the user repeats the prompt; one by the assistant continues it.
    before = shared if shared and shared[0].role != "assistant" else before + shared
    prompt = _joined(before)
    if not prompt:
        raise _Wrong("prompt: must be given, or be the common start of chosen and rejected")
    good = _answer(chosen[len(shared) :], "chosen")
    bad = _answer(rejected[len(shared) :], "rejected")
    return (Preference(prompt=prompt, chosen=good, rejected=bad),)


_SHAPES: Final[tuple[tuple[tuple[str, ...], Callable[[_Row], Any]], ...]] = (
    (("chosen", "rejected"), _preference),
    (("messages",), _conversation),
    (("prompt", "completion"), _completion),
    (("instruction", "output"), _alpaca),
    (("text",), _prose),
)


def _turns(conversation: _Conversation | None, field: str, role: str) -> list[_Turn]:
    """Role and text of each message; a plain text has the role `role`.

    Messages without content, such as tool calls, are left out.
    """
    if conversation is None:
        return []
    if isinstance(conversation, str):
        return [_Turn(role, _filled(conversation, field))]
    if not conversation:
        raise _Wrong(f"{field}: must not be empty")
    turns = []
    for i, message in enumerate(conversation):
        if text := _message_text(message, f"{field}[{i}]"):
            turns.append(_Turn(message.role, text))
    return turns


def _message_text(message: _Message, field: str) -> str:
    if message.role not in _ROLES:
        raise _Wrong(f"{field}.role: must be one of {', '.join(_ROLES)}, got {shown(message.role)}")
    if message.content is None:
        return ""
    text = message.content
    if not isinstance(text, str):
        text = _part_text(text, field)
    return _filled(text, f"{field}.content") if message.role in ("user", "assistant") else text


def _part_text(parts: list[_Part], field: str) -> str:
    for i, part in enumerate(parts):
        if part.type != "text":
            place = f"{field}.content[{i}]"
            raise _Wrong(f"{place}: only text is supported, got type {shown(part.type)}")
    return "".join(part.text or "" for part in parts)


def _pairs(before: list[_Turn], after: list[_Turn], field: str) -> tuple[Pair, ...]:
    """The first answers in `after`, each with all previous messages as its prompt."""
    turns = before + after
    answers = [i for i in range(max(1, len(before)), len(turns)) if turns[i].role == "assistant"]
    if not answers:
        raise _Wrong(f"{field}: must contain an assistant message after a prompt")
    return tuple(Pair(prompt=_joined(turns[:i]), gold=turns[i].text) for i in answers[:MAX_ANSWERS])


def _answer(turns: list[_Turn], field: str) -> str:
    for role, text in turns:
        if role == "assistant":
            return text
    raise _Wrong(f"{field}: must contain an assistant message")


def _joined(turns: list[_Turn]) -> str:
    return "\n\n".join(text for _, text in turns)
