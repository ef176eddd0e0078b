"""Paraphrase English questions by fixed rules: polite frames, other question forms, contractions.

No model and no dictionary is used. There is no rule that could change the meaning.
"""

import re
from collections.abc import Iterator
from typing import Final

from sway_gate.suites.questions import is_request

MAX_CHARS: Final = 400

# "Question: …\nAnswer:" and similar labels stay; the text between them is paraphrased.
_FRAME: Final = re.compile(r"([#\w ]{1,24}:\s+)(.+?)(\s*\n[#\w ]{1,24}:)", re.DOTALL)
# A text without any of these words is not treated as English.
_ENGLISH: Final = re.compile(
    r"\b(?:the|and|of|what|which|who|how|why|when|where|are|does|did|can|you|your|my|this|it|to"
    r"|for|about)\b",
    re.IGNORECASE,
)
_OPENERS: Final = frozenset({
    "a", "all", "an", "are", "as", "at", "by", "can", "could", "did", "do", "does", "each", "every",
    "for", "from", "has", "have", "how", "if", "in", "is", "it", "may", "must", "my", "no", "on",
    "one", "our", "should", "that", "the", "their", "there", "these", "they", "this", "those", "to",
    "was", "we", "were", "what", "when", "where", "which", "who", "whoever", "whom", "whose", "why",
    "will", "with", "would", "you", "your",
})  # fmt: skip
"""First words of a question that are written in lower case inside a sentence."""


def paraphrases(prompt: str, limit: int = 3) -> list[str]:
    """At most `limit` paraphrases of `prompt`, all different from it.

    Only the last paragraph is paraphrased; text before it, such as a system prompt, stays. Empty
    for a prompt that begins with a task (its last paragraph is the input of the task), a long
    prompt, a prompt that is not in English, or a statement.
    """
    text = prompt.rstrip()
    before, gap, last = text.rpartition("\n\n")
    if len(last) > MAX_CHARS or len(text) > 4 * MAX_CHARS or not _ENGLISH.search(last):
        return []
    if is_request(before.partition("\n\n")[0]):
        return []
    frame = _FRAME.fullmatch(last)
    head, asked, tail = frame.groups() if frame else ("", last, "")
    start, end = before + gap + head, tail + prompt[len(text) :]
    found = dict.fromkeys(start + other + end for other in _others(asked, bool(gap or frame)))
    found.pop(prompt, None)
    return list(found)[:limit]


def _others(asked: str, framed: bool) -> Iterator[str]:
    """`framed`: the text has labels or text before it, so it is not a text to continue."""
    for form, other in _FORMS:
        if match := form.fullmatch(asked):
            yield match.expand(other)
    task = _TASK.fullmatch(asked)
    if task and is_request(task["task"]) and not _is_question(task["task"]):
        wish = _lower(task["task"])
        yield from (f"Please {wish}.", f"I would like you to {wish}.", f"Your task: {wish}.")
    elif _is_question(asked):
        yield from (
            f"Tell me, {_inside(asked)}",
            f"Please answer this: {asked}",
            f"I would like to know: {asked}",
        )
    elif not framed and not asked.endswith((".", "!")):
        yield from (f"As we know, {_inside(asked)}", f"In other words: {asked}")


def _is_question(text: str) -> bool:
    """Whether `text` is a question, with or without a question mark."""
    return text.endswith("?") or (is_request(text) and _first_word(text) in _OPENERS)


def _inside(text: str) -> str:
    """`text` as it is written after a comma: names keep their capitals."""
    return _lower(text) if _first_word(text) in _OPENERS else text


def _first_word(text: str) -> str:
    word = re.match(r"\w+", text)
    return word[0].lower() if word else ""


def _lower(text: str) -> str:
    return text[:1].lower() + text[1:]


_TASK: Final = re.compile(
    r"(?:(?:can|could|would|will) you )?(?:please )?(?P<task>\w.*?)[.?!]?",
    re.IGNORECASE | re.DOTALL,
)
_FORMS: Final = tuple(
    (re.compile(form, re.DOTALL), other)
    for form, other in (
        (r"Explain what (.+) (is|are)\.?", r"What \2 \1?"),
        (r"Explain how to (.+?)\.?", r"How do you \1?"),
        (r"How (?:do|can|should) (?:I|you|we|one) (.+)\?", r"Explain how to \1."),
        (r"(What|Who|Where|How) is (.+\?)", r"\1's \2"),
        (r"(What|Who|Where|How)['’]s (.+\?)", r"\1 is \2"),
        (r"Which (?!of\b|one\b|ones\b)(\w.*\?)", r"What \1"),
    )
)
