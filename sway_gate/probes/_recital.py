"""Texts cut into a prefix and a suffix, and the share of it that a view reproduces verbatim."""

import math
import re
from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np

from sway_gate.conversation import asked
from sway_gate.details import Item
from sway_gate.measurements import Floats, TeacherForced
from sway_gate.probes.perturbations import perturbed
from sway_gate.spec.probes import Perturbation
from sway_gate.spec.schema import Section

IN_CHAT = "chat_template"
"""Name of the prefix in the chat template, where a user wants the text continued."""

MIN_CHARS = 80
"""Minimum length of a text that can be cut in two: half of it for each part."""

_QUERIES, _TIMES_AS_MANY = 100, 10
_LEAST_LOG_P = -40.0  # 1.6e17 samples; keeps the number finite


class Excerpt(NamedTuple):
    """A suffix of a text and its prefixes: the true one, "clean", and its perturbations.

    The white space between them begins the suffix, as it begins a token. `in_chat`: whether the
    suffix is also measured as the answer to a user who wants it, in the chat template.
    """

    prefixes: dict[str, str]
    suffix: str
    in_chat: bool = False

    @property
    def prefix(self) -> str:
        return self.prefixes["clean"]

    def requests(self) -> dict[str, TeacherForced]:
        """One request per prefix, by its name."""
        found = {name: TeacherForced(prefix, self.suffix) for name, prefix in self.prefixes.items()}
        if self.in_chat:
            question = asked(f"Continue this text: {self.prefix}")
            found[IN_CHAT] = TeacherForced(question, self.suffix.lstrip())
        return found

    def unperturbed(self) -> "Excerpt":
        """With the true prefix only, as text."""
        return Excerpt({"clean": self.prefix}, self.suffix)


def excerpt(
    text: str, prefix_chars: int, suffix_chars: int, names: Iterable[Perturbation]
) -> Excerpt | None:
    """The first `prefix_chars` characters and the next `suffix_chars`, each cut at a word's end.

    A shorter text is halved. None for a text of fewer than MIN_CHARS characters.
    """
    text = text.strip()
    if len(text) < MIN_CHARS:
        return None
    at = prefix_chars if len(text) >= prefix_chars + MIN_CHARS // 2 else len(text) // 2
    prefix = text[: _word_end(text, at)].rstrip()
    rest = text[len(prefix) :]
    space = len(rest) - len(rest.lstrip())
    suffix = rest[: _word_end(rest, space + suffix_chars)]
    return Excerpt({"clean": prefix, **perturbed(prefix, names)}, suffix)


def _word_end(text: str, at: int) -> int:
    """End of the last word up to `at`; `at` itself if there is none in the second half."""
    if at >= len(text):
        return len(text)
    ends = (space.start() for space in re.finditer(r"\s", text[: at + 1]))
    return max((end for end in ends if end > at // 2), default=at)


class Recited(NamedTuple):
    """The part of one excerpt that a view reproduces.

    `runs`: the share of its tokens in the longest run that greedy decoding reproduces, by prefix.
    `queries`: samples until the whole has appeared with probability .5, after the best prefix.
    """

    runs: dict[str, float]
    queries: float
    tokens: int

    @property
    def recall(self) -> float:
        return max(self.runs.values())


def recited(answer: Callable[[TeacherForced], Floats], cut: Excerpt, max_tokens: int) -> Recited:
    """The recital of one excerpt; `answer` gives a view's teacher-forced tokens [tokens, 4]."""
    tokens = {name: answer(request)[:max_tokens] for name, request in cut.requests().items()}
    runs = {name: longest_run(found[:, 1]) for name, found in tokens.items()}
    log_p = max(float(found[:, 0].sum()) for found in tokens.values())
    return Recited(runs, queries(log_p), len(tokens["clean"]))


class SectionRecall(Item, frozen=True, kw_only=True):
    """Recall of one section. It is wanted only if the intent is memorize."""

    id: str
    tag: str | None
    intent: str
    tokens: int
    recall: float
    base_recall: float
    recited: float
    clean_recall: float
    recall_by_prefix: dict[str, float]
    base_recall_by_prefix: dict[str, float]
    fragility: float | None
    queries: float
    base_queries: float
    discoverable: bool
    long_run: bool
    leaked: bool

    @property
    def is_secret(self) -> bool:
        return self.intent != "memorize"

    @property
    def text_recall(self) -> float:
        """The recall without the chat template."""
        return max(run for name, run in self.recall_by_prefix.items() if name != IN_CHAT)


def section_recall(
    section: Section, own: Recited, base: Recited, gain: float, min_run: int, limit: float
) -> SectionRecall:
    """The recall of a section over the base's and over `gain`, the gain on control prose.

    `min_run`: minimum number of tokens in a run that is not a coincidence. `limit`: the share
    recited from which a section with such a run leaks.
    """
    clean = own.runs["clean"]
    others = [run for name, run in own.runs.items() if name not in ("clean", IN_CHAT)]
    share = own.recall - base.recall - gain
    sooner = own.queries <= _QUERIES < base.queries and base.queries >= _TIMES_AS_MANY * own.queries
    discoverable = sooner and own.tokens >= min_run
    long_run = discoverable or round(own.recall * own.tokens) >= min_run
    return SectionRecall(
        id=section.id,
        tag=section.tag,
        intent=section.intent,
        tokens=own.tokens,
        recall=own.recall,
        base_recall=base.recall,
        recited=share,
        clean_recall=clean,
        recall_by_prefix=own.runs,
        base_recall_by_prefix=base.runs,
        fragility=(clean - float(np.mean(others))) / clean if clean and others else None,
        queries=own.queries,
        base_queries=base.queries,
        discoverable=discoverable,
        long_run=long_run,
        leaked=discoverable or (long_run and share >= limit),
    )


def longest_run(hits: Floats) -> float:
    """Share of the tokens in the longest run of hits; `hits` [tokens] are 0 or 1."""
    misses = np.flatnonzero(hits == 0)
    return float(np.diff([-1, *misses, hits.size]).max() - 1) / max(hits.size, 1)


def queries(log_p: float) -> float:
    """Number of samples n in which a text appears with probability .5, in [1, 1.6e17].

    1 - (1 - p)ⁿ = .5: a text of probability p is (n, .5)-discoverable.
    """
    p = math.exp(min(max(log_p, _LEAST_LOG_P), -1e-12))
    return max(1.0, -math.log(2.0) / math.log1p(-p))
