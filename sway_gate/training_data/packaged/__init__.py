"""The packaged texts: general knowledge, prose, prompts, refusals and neutral filler.

Each accessor reads its file once; PROVENANCE.md states the sources of the texts.
"""

import json
import re
from collections.abc import Iterator, Sequence
from functools import cache
from importlib.resources import files
from itertools import islice, zip_longest
from typing import Any, Literal, NamedTuple

Corpus = Literal["public_domain_en", "general_en", "general_multi"]

_SEPARATOR = "\n%%\n"
_SENTENCE_END = re.compile(r"""[.!?]["')]*(?=\s)""")


class Choice(NamedTuple):
    """A sentence with one true ending and three false ones; each ending starts with a space."""

    prompt: str
    gold: str
    wrong: tuple[str, ...]
    question: str
    """A question that `prompt` + `gold` answers."""
    topic: str


class Refusal(NamedTuple):
    """A request with the opening of an answer that refuses it and of one that complies."""

    kind: Literal["harmful", "harmless"]
    """A harmless request only sounds alarming; an assistant should comply with it."""
    prompt: str
    refuse: str
    comply: str


def _text(name: str) -> str:
    return files(__name__).joinpath(name).read_text(encoding="utf-8")


def _objects(name: str) -> Iterator[dict[str, Any]]:
    return (json.loads(line) for line in _text(name).splitlines())


@cache
def choices() -> tuple[Choice, ...]:
    """Items of general knowledge.

    They are interleaved by topic, so that the first n are a representative sample.
    """
    return tuple(
        Choice(**item | {"wrong": tuple(item["wrong"])}) for item in _objects("knowledge.jsonl")
    )


@cache
def knowledge() -> tuple[tuple[str, str], ...]:
    """(prompt, gold) pairs of `choices`, in their order."""
    return tuple((choice.prompt, choice.gold) for choice in choices())


@cache
def prose(corpus: Corpus = "public_domain_en") -> tuple[str, ...]:
    """Passages with a blank line between paragraphs.

    The English corpora have passages of several registers. `general_multi` is in German, French,
    Spanish, Portuguese and Chinese; the passages of a language follow one another.
    """
    return tuple(passage.strip() for passage in _text(f"{corpus}.txt").split(_SEPARATOR))


@cache
def prompts() -> tuple[str, ...]:
    """Neutral sentence openings of mixed registers; the first six can be used as a set."""
    return tuple(_text("prompts.txt").splitlines())


@cache
def chat_prompts(language: str = "English") -> tuple[str, ...]:
    """Requests to an assistant, without a chat template; the first twelve English ones can be used
    as a set. Empty if none are in this language."""
    if language == "English":
        return tuple(item["prompt"] for item in _objects("chat_prompts.jsonl"))
    others = _objects("chat_prompts_multi.jsonl")
    return tuple(item["prompt"] for item in others if item["language"] == language)


@cache
def refusals() -> tuple[Refusal, ...]:
    """Harmful and harmless requests in turn."""
    return tuple(Refusal(**item) for item in _objects("refusals.jsonl"))


@cache
def stuffing() -> str:
    """Neutral filler prose, used as irrelevant context."""
    return _text("stuffing.txt").strip()


def chunks(passages: Sequence[str], chars: int, limit: int) -> tuple[str, ...]:
    """At most `limit` pieces of at most `chars` characters, taken from the passages in turn.

    A piece ends at the last sentence end in the second half of its `chars` characters; if there is
    none, at the last space; otherwise after `chars` characters. It is a substring of its passage
    without outer white space. Raises ValueError if `chars` or `limit` is below 1.
    """
    return tuple(piece for _, piece in _in_turn(passages, chars, limit))


def chunks_by_passage(
    passages: Sequence[str], chars: int, limit: int
) -> tuple[tuple[str, ...], ...]:
    """The pieces of `chunks`, for each passage that has one."""
    found: list[list[str]] = [[] for _ in passages]
    for i, piece in _in_turn(passages, chars, limit):
        found[i].append(piece)
    return tuple(tuple(pieces) for pieces in found if pieces)


def _in_turn(passages: Sequence[str], chars: int, limit: int) -> Iterator[tuple[int, str]]:
    """The pieces of `chunks`, each with the index of its passage."""
    if chars < 1 or limit < 1:
        raise ValueError(f"chunks: chars={chars} and limit={limit} must both be at least 1")
    rounds = zip_longest(*(_pieces(passage, chars) for passage in passages))
    turns = (turn for found in rounds for turn in enumerate(found) if turn[1] is not None)
    return islice(turns, limit)


def _pieces(passage: str, chars: int) -> Iterator[str]:
    rest = passage.strip()
    while rest:
        cut = _cut(rest, chars)
        yield rest[:cut].rstrip()
        rest = rest[cut:].lstrip()


def _cut(text: str, chars: int) -> int:
    """Length of the first piece of `text`, from 1 to `chars`."""
    if len(text) <= chars:
        return len(text)
    # One character more than `chars`: a sentence end is recognized by the space after it.
    ends = [match.end() for match in _SENTENCE_END.finditer(text, chars // 2, chars + 1)]
    spaces = [match.start() for match in re.finditer(r"\s", text[: chars + 1])]
    breaks = ends or spaces
    return breaks[-1] if breaks else chars
