"""Read conversations: messages of OpenAI, of ShareGPT and their variants.

A message keeps all fields that chat templates read. Calls of tools in other notations become
`tool_calls`.
"""

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import msgspec

from sway_gate.conversation import Message
from sway_gate.spec.yaml_nodes import shown
from sway_gate.text import named

_ROLES: Final = ("system", "developer", "user", "assistant", "tool")
_CALL: Final = "function_call"
_ASSISTANTS: Final = (
    *("gpt", "chatgpt", "chatbot", "bard", "bing", "claude", "model", "bot", "ai"),
)
_TOOLS: Final = ("observation", "function", "function_response", "tool_response", "ipython")
_ALIASES: Final = {
    **dict.fromkeys(("human", "prompter"), "user"),
    **dict.fromkeys(_ASSISTANTS, "assistant"),
    **dict.fromkeys((_CALL, "tool_call"), _CALL),
    **dict.fromkeys(_TOOLS, "tool"),
}
"""Other names of the roles; a message by function_call is a call of a tool."""
_NOT_FIELDS: Final = frozenset({"role", "content", "from", "value", "weight", "train", _CALL})
"""Keys of a message that chat templates do not get."""


class Wrong(Exception):
    """A fault of one row."""


class _Part(msgspec.Struct, frozen=True):
    type: str = "text"
    text: str | None = None


class _Message(msgspec.Struct, frozen=True, rename={"sender": "from"}):
    role: str | None = None
    content: str | list[_Part] | None = None
    sender: str | None = None
    value: str | list[_Part] | None = None
    function_call: Any = None


class Turn(NamedTuple):
    """A message as the template gets it, and whether training computes a loss on it."""

    message: Message
    is_trained: bool = True


def turns(value: Any, field: str, role: str) -> list[Turn]:
    """The messages in the value of a field; a text is one message of the role `role`."""
    if value is None:
        return []
    if isinstance(value, str):
        return [Turn(Message(role, filled(value, field)))]
    if isinstance(value, dict):
        return [_turn(checked(value, _Message, field), value, field)]
    if not isinstance(value, list):
        raise Wrong(f"{field}: must be text or a list of messages, got {type(value).__name__}")
    messages = checked(value, list[_Message], field)
    if not messages:
        raise Wrong(f"{field}: must not be empty")
    return [_turn(message, value[i], f"{field}[{i}]") for i, message in enumerate(messages)]


def history(value: Any) -> list[Turn]:
    """Earlier turns: a list of [question, answer], or of messages."""
    if isinstance(value, str):
        value = from_json(value, "history")
    if not value:
        return []
    if isinstance(value, list) and isinstance(value[0], dict):
        return turns(value, "history", "user")
    found = []
    for question, answer in checked(value, list[tuple[str | None, str | None]], "history"):
        pair = (("user", question), ("assistant", answer))
        found += [Turn(Message(role, text)) for role, text in pair if text]
    return found


def checked(value: Any, kind: Any, field: str) -> Any:
    """The value as `kind`. Raises Wrong that names the field."""
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        need, _, where = str(error).replace("`", "").partition(" - at $")
        for old, new in _PLAIN.items():
            need = need.replace(old, new)
        raise Wrong(f"{field}{where}: {need}".replace("a row:", "a row")) from None


_PLAIN = {
    "Expected ": "must be ",
    " | null": "",
    "array": "list",
    "str": "text",
    "must be object": "must be a JSON object",
    " | ": " or ",
}


def filled(text: str, field: str) -> str:
    """The text. Raises Wrong if it is empty."""
    if not text or text.isspace():
        raise Wrong(f"{field}: must not be empty")
    return text


def from_json(text: str, field: str) -> Any:
    """The list that a field contains as JSON text; None for an empty text."""
    try:
        return msgspec.json.decode(text, type=list[Any]) if text.strip() else None
    except (ValueError, RecursionError):
        raise Wrong(f"{field}: must be a list, or a list as JSON") from None


def as_json(value: Any) -> str:
    """JSON of a value, or "" if it is empty."""
    return msgspec.json.encode(value).decode() if value else ""


def _turn(message: _Message, raw: dict[str, Any], field: str) -> Turn:
    """A message with all its fields; those that are null are left out."""
    name = message.role if message.role is not None else message.sender
    if name is None:
        given = named([shown(key) for key in raw]) or "none"
        raise Wrong(f"{field}: a message needs the fields role and content, got {given}")
    role = _ALIASES.get(name.lower(), name.lower())
    others = {k: v for k, v in raw.items() if k not in _NOT_FIELDS and v is not None}
    content = message.content if message.content is not None else message.value
    if isinstance(content, list):
        content = _part_text(content, field)
    calls = _calls(message.function_call)
    if role == _CALL:
        role, calls = "assistant", _calls(content)
        content = None if calls else content
    if calls:
        others.setdefault("tool_calls", calls)
    if role not in _ROLES:
        raise Wrong(f"{field}.role: must be one of {', '.join(_ROLES)}, got {shown(name)}")
    # Fields of other trainers that leave a message out of the loss.
    is_trained = raw.get("weight") != 0 and raw.get("train") is not False
    return Turn(Message(role, content, as_json(others)), is_trained)


def _calls(value: Any) -> list[dict[str, Any]]:
    """Calls of tools as `tool_calls`; none if the value does not name a function."""
    value = _decoded(value)
    calls = value if isinstance(value, list) else [value]
    found = []
    for call in calls:
        if not isinstance(call, dict) or not isinstance(call.get("name"), str):
            return []
        function = {"name": call["name"], "arguments": _decoded(call.get("arguments") or {})}
        found.append({"type": "function", "function": function})
    return found


def _decoded(value: Any) -> Any:
    """The object or list that a text contains as JSON; other values unchanged."""
    try:
        return msgspec.json.decode(value, type=dict[str, Any] | list[Any])
    except (TypeError, ValueError, RecursionError):
        return value


def _part_text(parts: Sequence[_Part], field: str) -> str:
    for i, part in enumerate(parts):
        if part.type != "text":
            where = f"{field}.content[{i}]"
            raise Wrong(f"{where}: only text is supported, got type {shown(part.type)}")
    return "".join(part.text or "" for part in parts)
