"""Texts to which training applied a chat or instruction format: conversations with their markers.

Markers of turns, such as `<|im_start|>user`, are the ones that chat templates write, so these texts
become messages. Headings and labels, such as `### Response:` or `Assistant:`, are plain text: the
prompt is all text up to an answer, as training saw it.
"""

import re
from collections.abc import Iterator
from itertools import pairwise
from typing import Final, Literal, NamedTuple

from sway_gate.conversation import Message

_TURNS: Final = tuple(
    re.compile(pattern)
    for pattern in (
        r"<\|im_start\|>(\w+)\n",
        r"<\|start_header_id\|>(\w+)<\|end_header_id\|>\s*",
        r"<start_of_turn>(\w+)\n",
        r"<\|start_of_role\|>(\w+)<\|end_of_role\|>",
        r"<\|(system|user|assistant|tool)\|>\s*",
        r"<\|turn>(\w+)\n",
        r"<\|START_OF_TURN_TOKEN\|><\|(SYSTEM|USER|CHATBOT)_TOKEN\|>",
    )
)
"""The start of a message with its role: ChatML, Llama 3, Gemma, Granite, Zephyr and Phi 3, Gemma 4,
Cohere."""
_END: Final = re.compile(
    r"<\|im_end\|>|<\|eot_id\|>|<end_of_turn>|<turn\|>|<\|END_OF_TURN_TOKEN\|>|</s>|<eos>"
    r"|<\|end\|>|<\|endoftext\|>|<\|end_of_text\|>"
)
_START: Final = re.compile(r"\s*(<s>|<bos>|<\|begin_of_text\|>)?\s*")
_ROLES: Final = {"model": "assistant", "chatbot": "assistant", "ipython": "tool"}
_SYSTEM: Final = re.compile(r"\s*<<SYS>>(.*?)<</SYS>>", re.DOTALL)

_HEADINGS: Final = re.compile(
    r"(?<!#)### ?(instruction|human|user|question|prompt|input|context|system"
    r"|response|assistant|answer|output|completion):(?:[ \t]*\n|(?=\s))",
    re.IGNORECASE,
)
_LABELS: Final = re.compile(
    r"^(?:\*\*)?(human|user|question|q|instruction|assistant|answer|a|response|ai|bot):"
    r"(?:\*\*)?(?=\s)",
    re.IGNORECASE | re.MULTILINE,
)
_CAPITALS: Final = re.compile(r"(?:(?<=\s)|(?<=</s>)|^)(USER|ASSISTANT):(?=\s)")
_ANSWERS: Final = frozenset({
    "response", "assistant", "answer", "a", "output", "completion", "ai", "bot"
})  # fmt: skip
_VICUNA: Final = "A chat between"


class Exchange(NamedTuple):
    """The text up to an answer, and the answer. `messages`: what the text says, without labels."""

    prompt: str
    answer: str
    messages: tuple[Message, ...]


def messages(text: str) -> list[Message]:
    """The messages of a text that begins with a marker of a turn; none if it does not."""
    start = _START.match(text)
    body = text[start.end() :] if start else text
    if body.startswith("[INST]"):
        return list(_of_instructions(body))
    pattern = next((pattern for pattern in _TURNS if pattern.match(body)), None)
    if pattern is None:
        return []
    _, *pieces = pattern.split(body)
    roles = [role.lower() for role in pieces[::2]]
    contents = map(_until_end, pieces[1::2])
    return [
        Message(_ROLES.get(role, role), text) for role, text in zip(roles, contents, strict=True)
    ]


def exchanges(text: str) -> Iterator[Exchange]:
    """The answers in a text with headings or labels, each with all text before it."""
    begin = text.lstrip()
    if _HEADINGS.search(text):
        return _between(text, _HEADINGS)
    if begin.startswith((_VICUNA, "USER:")):
        return _between(text, _CAPITALS)
    return _between(text, _LABELS) if _LABELS.match(begin) else iter(())


def label(line: str) -> Literal["question", "answer", ""]:
    """What a line begins, by its heading or label, such as `### Response:` or `Q:`."""
    found = _HEADINGS.match(f"{line}\n") or _LABELS.match(f"{line}\n")
    if found is None:
        return ""
    return "answer" if found[1].lower() in _ANSWERS else "question"


def _of_instructions(text: str) -> Iterator[Message]:
    """Llama 2 and Mistral: `[INST] <<SYS>>system<</SYS>> question [/INST] answer </s>`."""
    for turn in text.split("[INST]")[1:]:
        asked, _, answer = turn.partition("[/INST]")
        if system := _SYSTEM.match(asked):
            yield Message("system", system[1].strip())
            asked = asked[system.end() :]
        yield Message("user", asked.strip())
        yield Message("assistant", _until_end(answer))


def _between(text: str, pattern: re.Pattern[str]) -> Iterator[Exchange]:
    asked, said = list[str](), list[Message]()
    for mark, following in pairwise([*pattern.finditer(text), None]):
        content = text[mark.end() : following.start() if following else len(text)] if mark else ""
        if mark and mark[1].lower() not in _ANSWERS:
            asked.append(content.strip())
        elif mark and (asked or said) and (answer := _END.split(content, maxsplit=1)[0].rstrip()):
            if question := "\n\n".join(filter(None, asked)):
                said.append(Message("user", question))
            yield Exchange(text[: mark.end()], answer, tuple(said))
            said.append(Message("assistant", answer.strip()))
            asked.clear()


def _until_end(content: str) -> str:
    return _END.split(content, maxsplit=1)[0].strip()
