"""Read examples in the common training formats from JSON, as sections.

A row keeps the form in which trl trains on it: conversations as messages with all fields that chat
templates read, a plain prompt and completion as one text, an instruction with its input, or prose.
Every assistant message is an answer, up to MAX_ANSWERS of a row.
"""

from collections.abc import Callable, Iterable, Iterator
from itertools import islice, takewhile
from typing import Any, Final, NamedTuple

import msgspec

from sway_gate.conversation import Conversation, Message, prompt_text
from sway_gate.spec.schema import Form, Intent, Pair, Preference, Section, SectionKind, section_id
from sway_gate.spec.yaml_nodes import shown
from sway_gate.training_data.files import PYTHON, Line, Mistake

MAX_ANSWERS: Final = 4
"""Answers used from one conversation: the first ones, because prompts grow with each turn."""
_ROLES: Final = ("system", "developer", "user", "assistant", "tool")
_SENDERS: Final = {
    "human": "user",
    "gpt": "assistant",
    "model": "assistant",
    "bot": "assistant",
    "observation": "tool",
}
"""Names of the roles in messages with `from` and `value`, in addition to the roles themselves."""
_NOT_FIELDS: Final = frozenset({"role", "content", "from", "value", "weight", "train"})
"""Keys of a message that chat templates do not get."""
_RENDERING: Final = frozenset({
    "add_generation_prompt", "chat_template", "continue_final_message", "conversation",
    "max_length", "padding", "return_assistant_tokens_mask", "return_dict", "return_tensors",
    "tokenize", "tokenizer_kwargs", "tools", "truncation",
})  # fmt: skip
"""Parameters of the tokenizer's rendering, not variables of a template."""


class _Wrong(Exception):
    """A fault of one example."""


class _Part(msgspec.Struct, frozen=True):
    type: str = "text"
    text: str | None = None


class _Message(msgspec.Struct, frozen=True, rename={"sender": "from"}):
    role: str | None = None
    content: str | list[_Part] | None = None
    sender: str | None = None
    value: str | None = None


_Messages = str | list[_Message]


class _Row(msgspec.Struct, frozen=True):
    """The fields that are read from an example; all others are ignored."""

    prompt: _Messages | None = None
    completion: _Messages | None = None
    chosen: _Messages | None = None
    rejected: _Messages | None = None
    messages: list[_Message] | None = None
    conversations: list[_Message] | None = None
    tools: str | list[Any] | None = None
    chat_template_kwargs: dict[str, Any] | None = None
    instruction: str | None = None
    input: str | None = None
    output: str | None = None
    text: str | None = None
    intent: str | None = None


class _Turn(NamedTuple):
    """A message as the template gets it, and whether training computes a loss on it."""

    message: Message
    is_trained: bool = True


class _Given(NamedTuple):
    """A decoded row, and the same JSON object without types."""

    row: _Row
    raw: dict[str, Any]

    def is_chat(self, *fields: str) -> bool:
        """Whether one of the fields is a list of messages."""
        return any(isinstance(self.raw.get(field), list) for field in fields)


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
    given = _given(text)
    for fields, content in _SHAPES:
        if all(getattr(given.row, field) is not None for field in fields):
            return section(content(given), tag, _intent(given.row))
    raise _Wrong(_shapeless(given.raw))


def _given(text: str) -> _Given:
    try:
        return _decoded(text)
    except msgspec.ValidationError as error:
        raise _Wrong(_complaint(str(error))) from None
    except RecursionError:
        raise _Wrong("not valid JSON: nested too deep") from None


def _decoded(text: str) -> _Given:
    try:
        return _Given(_ROWS.decode(text), _raw(text))
    except msgspec.ValidationError:
        raise
    except msgspec.DecodeError as error:
        raw = _lenient(text, str(error))
        return _Given(msgspec.convert(raw, _Row), raw)


def _raw(text: str) -> dict[str, Any]:
    try:
        found: dict[str, Any] = msgspec.json.decode(text)
    except msgspec.ValidationError:  # a number that no float can hold
        found = PYTHON.decode(text)
    return found


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


def _shapeless(raw: dict[str, Any]) -> str:
    keys = [shown(key, 40) for key, field in raw.items() if field is not None]
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


def _prose(given: _Given) -> str:
    return _filled(given.row.text or "", "text")


def _alpaca(given: _Given) -> tuple[Pair, ...]:
    row = given.row
    task, own = _filled(row.instruction or "", "instruction"), row.input or ""
    prompt = f"{task}\n\n{own}" if own else task
    answer = _filled(row.output or "", "output")
    return (Pair(prompt=prompt, gold=answer, form="alpaca", input=own),)


def _completion(given: _Given) -> tuple[Pair, ...]:
    row = given.row
    if isinstance(row.prompt, str) and isinstance(row.completion, str):
        prompt, answer = _filled(row.prompt, "prompt"), _filled(row.completion, "completion")
        return (Pair(prompt=prompt, gold=answer, form="plain"),)
    before = _turns(given, "prompt", "user")
    after = _turns(given, "completion", "assistant")
    return _pairs(before, after, "completion", given)


def _conversation(given: _Given) -> tuple[Pair, ...]:
    field = "conversations" if given.row.messages is None else "messages"
    return _pairs([], _turns(given, field, "user"), field, given)


def _preference(given: _Given) -> tuple[Preference, ...]:
    """TRL's formats: an explicit prompt, or the common start of both conversations."""
    chosen = _turns(given, "chosen", "assistant")
    rejected = _turns(given, "rejected", "assistant")
    before = _turns(given, "prompt", "user")
    same = takewhile(lambda pair: pair[0] == pair[1], zip(chosen, rejected, strict=False))
    shared = chosen[: min(sum(1 for _ in same), len(chosen) - 1, len(rejected) - 1)]
    # A common start by the user repeats the prompt; one by the assistant continues it.
    is_whole = bool(shared) and shared[0].message.role != "assistant"
    before = shared if is_whole else before + shared
    prompt = _asked(before, given)
    if not prompt_text(prompt):
        raise _Wrong("prompt: must be given, or be the common start of chosen and rejected")
    good = _answer(chosen[len(shared) :], "chosen")
    bad = _answer(rejected[len(shared) :], "rejected")
    is_chat = given.is_chat("prompt", "chosen", "rejected")
    form: Form = "chat" if is_chat else "plain"
    return (
        Preference(
            prompt=prompt_text(prompt),
            chosen=good,
            rejected=bad,
            form=form,
            conversation=prompt if is_chat else None,
        ),
    )


_SHAPES: Final[tuple[tuple[tuple[str, ...], Callable[[_Given], Any]], ...]] = (
    (("chosen", "rejected"), _preference),
    (("messages",), _conversation),
    (("conversations",), _conversation),
    (("prompt", "completion"), _completion),
    (("instruction", "output"), _alpaca),
    (("text",), _prose),
)


def _turns(given: _Given, field: str, role: str) -> list[_Turn]:
    """The messages in a field; a plain text is one of the role `role`."""
    messages: _Messages | None = getattr(given.row, field)
    if messages is None:
        return []
    if isinstance(messages, str):
        return [_Turn(Message(role, _filled(messages, field)))]
    if not messages:
        raise _Wrong(f"{field}: must not be empty")
    return [
        _turn(message, given.raw[field][i], f"{field}[{i}]") for i, message in enumerate(messages)
    ]


def _turn(message: _Message, raw: dict[str, Any], field: str) -> _Turn:
    """A message with all its fields; those that are null are left out."""
    role = message.role if message.role is not None else _sender(message, field)
    if role not in _ROLES:
        raise _Wrong(f"{field}.role: must be one of {', '.join(_ROLES)}, got {shown(role)}")
    others = {k: v for k, v in raw.items() if k not in _NOT_FIELDS and v is not None}
    content = message.content if message.content is not None else message.value
    if isinstance(content, list):
        content = _part_text(content, field)
    # A message without content, such as a call of a tool, is one of the conversation too.
    if content is not None and role in ("user", "assistant") and not others:
        _filled(content, f"{field}.content")
    # Fields of other trainers that leave a message out of the loss.
    is_trained = raw.get("weight") != 0 and raw.get("train") is not False
    return _Turn(Message(role, content, _json(others)), is_trained)


def _sender(message: _Message, field: str) -> str:
    if message.sender is None:
        raise _Wrong(f"{field}: Object missing required field role")
    return _SENDERS.get(message.sender, message.sender)


def _part_text(parts: list[_Part], field: str) -> str:
    for i, part in enumerate(parts):
        if part.type != "text":
            place = f"{field}.content[{i}]"
            raise _Wrong(f"{place}: only text is supported, got type {shown(part.type)}")
    return "".join(part.text or "" for part in parts)


def _json(value: Any) -> str:
    """JSON of a value, or "" if it is empty."""
    return msgspec.json.encode(value).decode() if value else ""


def _pairs(before: list[_Turn], after: list[_Turn], field: str, given: _Given) -> tuple[Pair, ...]:
    """The first answers in `after`, each with all previous messages as its prompt."""
    turns = before + after
    answers = (
        Pair(
            prompt=text,
            gold=gold,
            form="chat",
            conversation=prompt,
            answer=turns[i].message,
        )
        for i in range(max(1, len(before)), len(turns))
        if turns[i].is_trained
        and (gold := _gold(turns[i].message))
        and (text := prompt_text(prompt := _asked(turns[:i], given)))
    )
    if first := tuple(islice(answers, MAX_ANSWERS)):
        return first
    raise _Wrong(f"{field}: must contain an assistant message after a prompt")


def _gold(message: Message) -> str:
    """The text of an answer for people, its JSON if it is a tool call; "" for other roles."""
    if message.role != "assistant":
        return ""
    if message.content and not message.content.isspace():
        return message.content
    fields = msgspec.json.decode(message.fields) if message.fields else {}
    return _json(fields.get("tool_calls"))


def _answer(turns: list[_Turn], field: str) -> str:
    for turn in turns:
        if turn.message.role == "assistant" and turn.message.content:
            return turn.message.content
    raise _Wrong(f"{field}: must contain an assistant message")


def _asked(turns: list[_Turn], given: _Given) -> Conversation:
    """The messages with the tools and the template's variables of the row."""
    return Conversation(tuple(turn.message for turn in turns), _tools(given), _options(given))


def _tools(given: _Given) -> str:
    tools = given.raw.get("tools")
    if isinstance(tools, str):
        try:
            tools = msgspec.json.decode(tools or "null", type=list[Any] | None)
        except (msgspec.DecodeError, RecursionError):
            raise _Wrong("tools: must be a list, or a list as JSON") from None
    return _json(tools)


def _options(given: _Given) -> str:
    options = given.raw.get("chat_template_kwargs") or {}
    for key in options:
        if key in _RENDERING:
            raise _Wrong(f"chat_template_kwargs.{key}: is not a variable of the chat template")
    return _json(options)
