"""Conversations: the messages before an answer, as training data and as prompts.

A prompt is either a text that the model continues, or a conversation that the chat template
renders. The type decides, never the words.
"""

import json
from collections.abc import Sequence
from typing import Any, Final

import msgspec

_NEARLY_ALL: Final = 0.9


class Message(msgspec.Struct, frozen=True):
    """One message. `fields`: a JSON object of its other fields that templates read, such as
    tool_calls, name or reasoning_content; "" if there are none."""

    role: str
    content: str | None = None
    fields: str = ""

    def as_dict(self) -> dict[str, Any]:
        """The message as chat templates expect it."""
        found: dict[str, Any] = {"role": self.role, "content": self.content}
        return found | (msgspec.json.decode(self.fields) if self.fields else {})

    def text(self) -> str:
        """The content as text; of a message without content, its other fields."""
        return self.content if self.content else self.fields


class Conversation(msgspec.Struct, frozen=True):
    """Messages for the chat template. `tools`: a JSON list of the tools that the template shows;
    `options`: a JSON object of further variables of the template. "" if there are none."""

    messages: tuple[Message, ...]
    tools: str = ""
    options: str = ""


Prompt = str | Conversation
Completion = str | Message
"""The answer after a prompt: a text, or a whole message with its end of turn."""


def asked(text: str) -> Conversation:
    """`text` as a user's only message."""
    return Conversation((Message("user", text),))


def prompt_text(prompt: Prompt) -> str:
    """The prompt as text for people: messages joined by blank lines."""
    if isinstance(prompt, str):
        return prompt
    return "\n\n".join(text for message in prompt.messages if (text := message.text()))


def asked_again(prompt: Conversation, text: str) -> Conversation | None:
    """The conversation with another last message of the user, if `text` begins with the others.

    `text` is a prompt as `prompt_text` writes it.
    """
    *before, last = prompt.messages
    head = prompt_text(msgspec.structs.replace(prompt, messages=tuple(before))) + "\n\n"
    if last.role != "user" or not before or not text.startswith(head):
        return None
    changed = Message("user", text.removeprefix(head))
    return msgspec.structs.replace(prompt, messages=(*before, changed))


def completion_text(completion: Completion) -> str:
    """The answer as text for people."""
    return completion if isinstance(completion, str) else completion.text()


def are_records(answers: Sequence[Completion]) -> bool:
    """Whether at least 90% of the answers are JSON, or messages with tool calls."""
    return sum(map(_is_record, answers)) >= _NEARLY_ALL * len(answers) > 0


def _is_record(answer: Completion) -> bool:
    if isinstance(answer, Message) and "tool_calls" in answer.fields:
        return True
    try:
        return isinstance(json.loads(completion_text(answer)), dict | list)
    except (ValueError, RecursionError):
        return False
