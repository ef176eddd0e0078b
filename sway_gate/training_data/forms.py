"""The form of a row: a table of the fields of the common training formats, and how each is read.

A row keeps the form in which training saw it: conversations as messages, a plain prompt and
completion as one text, an instruction with its input, or prose. System prompts, history and tools
in other fields are part of the prompt. Each assistant message is an answer, up to MAX_ANSWERS.
"""

import re
from collections.abc import Callable, Sequence
from itertools import islice, takewhile
from typing import Any, Final, NamedTuple

import msgspec

from sway_gate.conversation import Conversation, Message, prompt_text
from sway_gate.spec.schema import Form, Pair, Preference
from sway_gate.text import cut
from sway_gate.training_data import markup, messages
from sway_gate.training_data.json_rows import SPLITS
from sway_gate.training_data.messages import Turn, Wrong, as_json, filled, from_json, turns

MAX_ANSWERS: Final = 4
"""Answers used from one conversation: the first ones, because prompts grow with each turn."""
_RENDERING: Final = frozenset({
    "add_generation_prompt", "chat_template", "continue_final_message", "conversation",
    "max_length", "padding", "return_assistant_tokens_mask", "return_dict", "return_tensors",
    "tokenize", "tokenizer_kwargs", "tools", "truncation",
})  # fmt: skip
"""Parameters of the tokenizer's rendering, not variables of a template."""

Fields = dict[str, Any]


class Labelled(NamedTuple):
    """An answer that people wanted or did not want (KTO)."""

    pair: Pair
    is_wanted: bool


Content = str | tuple[Pair, ...] | tuple[Preference, ...] | Labelled


class Shape(NamedTuple):
    """A format: the fields that a row must have, and how it is read."""

    fields: tuple[str, ...]
    read: Callable[[Fields], Content]


def content(row: Fields) -> Content:
    """What the row contains, by the first format in SHAPES whose fields it has. Raises Wrong."""
    if media := next((name for name in _MEDIA if row.get(name)), ""):
        raise Wrong(f"{media}: only text is supported; remove the row, or a field not trained on")
    for shape in SHAPES:
        if all(row.get(field) is not None for field in shape.fields):
            return shape.read(row)
    names = [key for key, value in row.items() if value is not None]
    lists = [name for name in names if _is_name(name) and _are_objects(row[name])]
    raise Wrong(f"field {lists[0]!r} is a list of objects; {_LIST}" if lists else unknown(names))


def _are_objects(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(x, dict) for x in value)


def unknown(names: Sequence[str]) -> str:
    """The message for a row with these fields, which fit no format."""
    if message := _half(names):
        return message
    found = [name for name in names if name in FIELDS or (len(names) > 1 and _is_name(name))]
    listed = ", ".join(map(repr, found[:8])) or "(no known field)"
    header = f"; {_HEADER}" if any(name.endswith((".", "?", "!")) for name in names) else ""
    return f"unknown format of example: fields {listed}{' …' if found[8:] else ''}; {MAP}{header}"


def _is_name(text: str) -> bool:
    """Whether the text looks like a field's name, and not like the content of another file."""
    return re.fullmatch(r"[^\W\d][\w .-]{0,30}", text) is not None


def _half(names: Sequence[str]) -> str:
    """What is missing if the row has only a prompt, or only an answer; otherwise ""."""
    if not FIELDS.issuperset(names):
        return ""
    for end, part in ((1, "answer"), (0, "prompt")):
        if given := next((pair[1 - end] for pair in _PAIRS if pair[1 - end] in names), ""):
            others = " or ".join(pair[end] for pair in _PAIRS if pair[1 - end] == given)
            return f"has the field {given}, but no {part}; add it as {others}, or {MAP}"
    return ""


def is_marked(row: Fields, read: Content) -> bool:
    """Whether the row is a text whose markers made it prompts and answers."""
    has_text = any(row.get(field) is not None for field in _TEXTS)
    return has_text and isinstance(read, tuple) and len(known([*row])) == 1


def known(names: Sequence[str]) -> list[str]:
    """The names that a format uses, in their order."""
    return [name for name in names if name in FIELDS]


# --- conversations


def _conversation(field: str) -> Shape:
    def read(row: Fields) -> Content:
        given = row[field]
        found = from_json(given, field) if isinstance(given, str) else given
        pairs = _pairs([], turns(found, field, "user"), field, row)
        return _labelled(pairs[-1:], row) or pairs

    return Shape((field,), read)


def _pairs(before: list[Turn], after: list[Turn], field: str, row: Fields) -> tuple[Pair, ...]:
    """The first answers in `after`, each with all previous messages as its prompt."""
    context = _before(row, before + after)
    all_turns = context + before + after
    answers = (
        Pair(prompt=text, gold=gold, form="chat", conversation=prompt, answer=turn.message)
        for i, turn in enumerate(all_turns)
        if i >= max(1, len(context) + len(before)) and turn.is_trained
        if (gold := _gold(turn.message))
        and (text := prompt_text(prompt := _asked(all_turns[:i], row)))
    )
    if first := tuple(islice(answers, MAX_ANSWERS)):
        return first
    raise Wrong(f"{field}: must contain an assistant message after a prompt")


def _gold(message: Message) -> str:
    """The text of an answer for people, its JSON if it is a tool call; "" for other roles."""
    if message.role != "assistant":
        return ""
    if message.content and not message.content.isspace():
        return message.content
    fields = msgspec.json.decode(message.fields) if message.fields else {}
    return as_json(fields.get("tool_calls"))


def _before(row: Fields, following: Sequence[Turn]) -> list[Turn]:
    """The system prompt and the history that a row has in other fields."""
    system = next((text for name in _SYSTEM if (text := _text(row, name))), "")
    if system and following and following[0].message.role == "system":
        if following[0].message.content == system:
            system = ""
        else:
            raise Wrong("system: the messages begin with another system message")
    opening = [Turn(Message("system", system))] if system else []
    return opening + messages.history(row.get("history"))


def _asked(before: Sequence[Turn], row: Fields) -> Conversation:
    """The messages with the tools and the template's variables of the row."""
    return Conversation(tuple(turn.message for turn in before), _tools(row), _options(row))


def _tools(row: Fields) -> str:
    tools = row.get("tools")
    if isinstance(tools, str):
        tools = from_json(tools, "tools")
    if not tools and isinstance(functions := row.get("functions"), list):
        tools = [{"type": "function", "function": function} for function in functions]
    return _NO_TOOLS if tools == [] else as_json(tools)


def _options(row: Fields) -> str:
    name = "chat_template_kwargs"
    options: Fields = messages.checked(row.get(name) or {}, Fields, name)
    for key in options:
        if key in _RENDERING:
            raise Wrong(f"{name}.{key}: is not a variable of the chat template")
    return as_json(options)


# --- a prompt and an answer


def _pair(prompt: str, answer: str, form: Form = "auto") -> Shape:
    def read(row: Fields) -> Content:
        pairs: tuple[Pair, ...]
        if isinstance(row[prompt], str) and isinstance(row[answer], str):
            pairs = (_text_pair(row, prompt, answer, form),)
        else:
            before = turns(row[prompt], prompt, "user")
            pairs = _pairs(before, turns(row[answer], answer, "assistant"), answer, row)
        return _labelled(pairs[-1:], row) or pairs

    return Shape((prompt, answer), read)


def _text_pair(row: Fields, prompt: str, answer: str, form: Form) -> Pair:
    asked, gold = filled(row[prompt], prompt), filled(row[answer], answer)
    if prompt in _ASKED and (context := _text(row, "context")):
        asked = f"{context}\n\n{asked}"
    elif unused := next((name for name in _UNUSED if name != prompt and _text(row, name)), ""):
        raise Wrong(f"{unused}: is not part of the format {prompt} and {answer}; {MAP}")
    return _with_context(Pair(prompt=asked, gold=gold, form=form), row)


def _with_context(pair: Pair, row: Fields) -> Pair:
    """The pair as a conversation if the row has a system prompt, a history or tools."""
    own, answer = Turn(Message("user", pair.prompt)), Turn(Message("assistant", pair.gold))
    is_chat = _before(row, [own]) or _tools(row) not in ("", _NO_TOOLS)
    return _pairs([own], [answer], "answer", row)[0] if is_chat else pair


def _instruction(answer: str) -> Shape:
    def read(row: Fields) -> Content:
        parts = [_text(row, name) for name in ("instruction", "input", "context")]
        task, *others = [part for part in parts if part] or [""]
        own = "\n\n".join(others)
        gold = filled(_text(row, answer), answer)
        prompt = f"{filled(task, 'instruction')}\n\n{own}" if own else filled(task, "instruction")
        return (_with_context(Pair(prompt=prompt, gold=gold, form="alpaca", input=own), row),)

    return Shape(("instruction", answer), read)


def _text(row: Fields, field: str) -> str:
    """The text of a field; "" if it is missing or null."""
    value: str | None = messages.checked(row.get(field), str | None, field)
    return value or ""


# --- labels and preferences


def _labelled(pairs: Sequence[Pair], row: Fields) -> Labelled | None:
    """The answer with its label, if the row has one that is true or false."""
    label = _label(row)
    if isinstance(label, str):
        label = {"true": True, "false": False}.get(label.strip().lower())
    return Labelled(pairs[-1], bool(label)) if label in (0, 1) else None


def _label(row: Fields) -> Any:
    return next((row[name] for name in _LABELS if row.get(name) is not None), None)


def ignored_label(row: Fields, read: Content) -> str:
    """The label of an answer that was read without it: neither true nor false. "" if none."""
    label = _label(row)
    is_answer = isinstance(read, tuple) and isinstance(read[0], Pair) and read[0].gold != label
    return str(label) if is_answer and label is not None else ""


def is_numbered(row: Fields, read: Content) -> bool:
    """Whether a text was read without the number of its class."""
    return isinstance(read, str) and row.get("label") is not None


def _preference(row: Fields) -> tuple[Preference, ...]:
    """TRL's formats: an explicit prompt, or the common start of both answers."""
    context = next((name for name in _PROMPTS if row.get(name) is not None), "prompt")
    given, chosen, rejected = row.get(context), row["chosen"], row["rejected"]
    if context == "instruction":
        given = "\n\n".join(filter(None, (_text(row, "instruction"), _text(row, "input"))))
    if all(isinstance(value, str) for value in (chosen, rejected)) and given is None:
        given, chosen, rejected = _split(filled(chosen, "chosen"), filled(rejected, "rejected"))
    before = turns(given, context, "user")
    good, bad = turns(chosen, "chosen", "assistant"), turns(rejected, "rejected", "assistant")
    same = takewhile(lambda pair: pair[0] == pair[1], zip(good, bad, strict=False))
    shared = good[: min(sum(1 for _ in same), len(good) - 1, len(bad) - 1)]
    # A common start by the user repeats the prompt; one by the assistant continues it.
    is_whole = bool(shared) and shared[0].message.role != "assistant"
    before = shared if is_whole else before + shared
    beside = _before(row, before)
    prompt = _asked(beside + before, row)
    if not prompt_text(prompt):
        raise Wrong("prompt: must be given, or be the common start of chosen and rejected")
    is_text = not any(isinstance(value, list | dict) for value in (given, chosen, rejected))
    is_chat = not is_text or bool(beside) or prompt.tools not in ("", _NO_TOOLS)
    form: Form = "chat" if is_chat else "plain" if context == "prompt" else "auto"
    better, worse = _answer(good[len(shared) :], "chosen"), _answer(bad[len(shared) :], "rejected")
    if better == worse:
        raise Wrong("chosen and rejected: must differ")
    return (
        Preference(
            prompt=prompt_text(prompt),
            chosen=better,
            rejected=worse,
            form=form,
            conversation=prompt if is_chat else None,
        ),
    )


def _split(chosen: str, rejected: str) -> tuple[str | None, str, str]:
    """The common start of two texts as the prompt, and the rest of each, as trl splits them."""
    same = takewhile(lambda pair: pair[0] == pair[1], zip(chosen, rejected, strict=False))
    length = sum(1 for _ in same)
    if chosen[length - 1 : length] == " ":
        length -= 1
    return chosen[:length] or None, chosen[length:], rejected[length:]


def _answer(found: Sequence[Turn], field: str) -> str:
    for turn in found:
        if turn.message.role == "assistant" and turn.message.content:
            return turn.message.content
    raise Wrong(f"{field}: must contain an assistant message")


def _openai_preference(row: Fields) -> tuple[Preference, ...]:
    """OpenAI's format: the prompt is `input.messages`, with its tools."""
    asked = messages.checked(row["input"], Fields, "input")
    answers = {"chosen": row["preferred_output"], "rejected": row["non_preferred_output"]}
    return _preference({"prompt": asked.get("messages"), "tools": asked.get("tools"), **answers})


# --- text


def _classified(row: Fields) -> Content:
    """A text with the name of its class as the answer; prose if the label is a number."""
    if isinstance(row["label"], str):
        return (_text_pair(row, "text", "label", "auto"),)
    return filled(_text(row, "text"), "text")


def marked(text: str, field: str) -> tuple[Pair, ...]:
    """The answers in a text that already has the markers of a format; none if it has not."""
    found = [Turn(message) for message in markup.messages(text)]
    if any(_gold(turn.message) for turn in found[1:]):
        return _pairs([], found, field, {})
    return tuple(
        Pair(
            prompt=found.prompt,
            gold=found.answer,
            form="plain",
            conversation=Conversation(found.messages) if found.messages else None,
            answer=Message("assistant", found.answer.strip()),
        )
        for found in islice(markup.exchanges(text), MAX_ANSWERS)
    )


def _prose(field: str) -> Shape:
    def read(row: Fields) -> Content:
        if isinstance(role := row.get("role"), str):
            raise Wrong(
                f"field role ({cut(repr(role), 30)}): a row must be a whole conversation; join its "
                "messages under `messages`"
            )
        text = filled(_text(row, field), field)
        return marked(text, field) or text

    return Shape((field,), read)


MAP: Final = "name its fields with --map prompt=FIELD,answer=FIELD or in `data_map:`"
_HEADER: Final = "the first line of a table must name its columns"
_LIST: Final = (
    f"name a list of rows {', '.join(SPLITS[:-1])} or {SPLITS[-1]}, "
    "or the messages of a row with --map messages=FIELD"
)
_TEXTS: Final = ("text", "content")
_MEDIA: Final = ("image", "images", "video", "videos", "audio", "audios")
"""Fields that trainers of multimodal models read in addition to the text."""
_NO_TOOLS: Final = "[]"
"""An empty list of tools: some templates write their introduction of tools without any."""
_SYSTEM: Final = ("system", "system_prompt")
_LABELS: Final = ("label", "kto_tag")
_ASKED: Final = ("question", "query")
"""Prompts that `context` precedes."""
_UNUSED: Final = ("instruction", "input", "context")
"""Parts of a prompt that formats of a prompt and an answer do not have."""
_PROMPTS: Final = ("prompt", "conversations", *_ASKED, "instruction")
"""Prompts of a preference."""

SHAPES: Final = (
    Shape(("chosen", "rejected"), _preference),
    Shape(("input", "preferred_output", "non_preferred_output"), _openai_preference),
    _pair("prompt", "completion", form="plain"),
    _conversation("messages"),
    _conversation("conversations"),
    _conversation("conversation"),
    _instruction("output"),
    _instruction("response"),
    _pair("prompt", "response"),
    _pair("prompt", "answer"),
    _pair("question", "answer"),
    _pair("question", "response"),
    _pair("query", "response"),
    _pair("query", "answer"),
    _pair("input", "output"),
    _pair("inputs", "targets"),
    Shape(("text", "label"), _classified),
    *map(_prose, _TEXTS),
)
"""The first one whose fields a row has decides. trl also prefers `prompt` to `messages`."""
_PAIRS: Final = [
    shape.fields
    for shape in SHAPES
    if len(shape.fields) == 2 and shape.fields[0] not in ("chosen", "text")
]
"""A prompt and an answer."""
FIELDS: Final = frozenset(
    {name for shape in SHAPES for name in shape.fields}
    | {*_MEDIA, *_SYSTEM, *_LABELS, *_UNUSED, *_PROMPTS}
    | {"history", "tools", "functions", "chat_template_kwargs", "intent"}
)
"""Fields that any format uses."""
