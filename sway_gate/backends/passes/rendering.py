"""Renders conversations with the chat template of a tokenizer.

The template runs in the sandbox of transformers, with limits.
"""

from collections.abc import Sequence
from typing import Any

import msgspec

from sway_gate.backends.base import error_text, template_file
from sway_gate.backends.passes.sandbox import TooMuchWork, limit_templates
from sway_gate.conversation import Conversation, Message, asked, prompt_text
from sway_gate.errors import CannotDecide

_MARK = "Sentinel"
"""A text that no template contains or changes."""
_SHOWN = 60
_OWN_CHARS, _PER_CHAR = 100_000, 8
"""Characters that a template may add, and that it may write for one of the conversation."""


limit_templates()


class Refused(Exception):
    """The template refuses one conversation, such as one with a system message."""


class Renderer:
    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer

    def text(self, conversation: Conversation, *, is_complete: bool = False) -> str:
        """The messages, followed by the start of the assistant's unless they are complete.

        The template writes all special tokens itself. Raises Refused, or CannotDecide if the
        template fails on every conversation.
        """
        try:
            return self._rendered(conversation, is_complete)
        except TooMuchWork:
            raise self._failed("needs too much time or memory") from None
        except Exception as error:  # a template is a program of the model's author
            wrong = error_text(error).rstrip(".")
        try:
            self._rendered(asked(_MARK), is_complete=False)
        except Exception:
            raise self._failed(f"fails: {wrong}") from None
        shown = prompt_text(conversation)[:_SHOWN]
        raise Refused(f"the chat template refuses the conversation {shown!r}: {wrong}")

    def _failed(self, how: str) -> CannotDecide:
        file = template_file(self._tokenizer)
        where = f" in {file}" if file else ""
        return CannotDecide(
            f"the chat template{where} {how}; "
            "correct it, or set defaults.chat_template: off in a spec"
        )

    def around(self, conversation: Conversation) -> tuple[str, str]:
        """The rendered texts before and after the content of the last message.

        All of it is after, if the template does not contain that content once.
        """
        *before, last = conversation.messages
        marked = Message(last.role, _MARK, last.fields)
        pieces = self.text(Conversation((*before, marked), *_settings(conversation))).split(_MARK)
        if len(pieces) != 2:
            return "", self.text(conversation)
        return pieces[0], (last.content or "").strip() + pieces[1]

    def turn_end(self) -> int | None:
        """The token that the template puts between an answer and the next message.

        It must be in the added vocabulary: text does not count.
        """
        talk = Conversation(
            (*asked("Hello").messages, Message("assistant", _MARK), *asked("Thanks.").messages)
        )
        try:
            _, mark, tail = self.text(talk, is_complete=True).rpartition(_MARK)
        except (Refused, CannotDecide):
            return None
        ids = self._tokenizer(tail.lstrip(), add_special_tokens=False)["input_ids"] if mark else []
        added = set(self._tokenizer.get_added_vocab().values())
        return int(ids[0]) if ids and ids[0] in added else None

    def _rendered(self, conversation: Conversation, is_complete: bool) -> str:
        settings = _settings(conversation)
        tools, options = (msgspec.json.decode(text) if text else None for text in settings)
        messages = [message.as_dict() for message in conversation.messages]
        text = str(
            self._tokenizer.apply_chat_template(
                messages,
                tokenize=False,
                add_generation_prompt=not is_complete,
                tools=tools,
                **(options or {}),
            )
        )
        given = sum(map(len, (str(messages), *settings)))
        if len(text) > _OWN_CHARS + _PER_CHAR * given:  # to tokenize it would take minutes
            raise TooMuchWork
        return text


def ends(given: Any, tokenizer: Any) -> frozenset[int]:
    """The tokens that end a text or, in the chat template, an answer.

    `given`: eos_token_id of the generation config, which often lacks the template's end of turn.
    """
    found = given if isinstance(given, list) else [given, tokenizer.eos_token_id]
    if tokenizer.chat_template:
        found = [*found, Renderer(tokenizer).turn_end()]
    return frozenset(token for token in found if isinstance(token, int))


def until_end(tokens: Sequence[int], ends: frozenset[int]) -> tuple[int, ...]:
    """`tokens` up to the first one that ends the text."""
    end = next((k for k, token in enumerate(tokens) if token in ends), len(tokens))
    return tuple(tokens[:end])


def _settings(conversation: Conversation) -> tuple[str, str]:
    return conversation.tools, conversation.options
