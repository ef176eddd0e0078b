"""Are the prompts of the data general requests, such as people make to any assistant?

A data set of general requests teaches a manner of answering: training cannot have been meant to
teach what the answers say, because each is about something else that a base knows. Questions about
one document, product or company have a common subject. The base shows it, by its loss per token on
the prompts as lines of text. The packaged requests are in the language of the prompts:

    novelty = loss on the prompts after packaged requests / loss on other packaged requests
    shared  = loss after other prompts of the data / loss after packaged requests, over the tokens
              that surprise the base after packaged requests

General requests are as likely as packaged ones, and other prompts of the data hardly help to
predict their words. To a base that knows too little of the language everything is equally likely,
so it must find packaged requests much likelier than their words in random order.
"""

import random
import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from sway_gate.measurements import Floats, LogProbs, NoAnswer, ViewAnswers
from sway_gate.probes.written import language
from sway_gate.spec.schema import Pair, Preference, Section
from sway_gate.training_data import packaged as packs

_CONTEXT, _SCORED, _MIN_SCORED = 8, 24, 8
_CHARS = 120
_SURPRISING = 3.0  # nats
# Measured on a base of 135M parameters. Novelty: .80 to 1.05 for general requests, 1.17 and more
# for obscure trivia, a shop, a company, an assistant's identity and invented things. Shared: .78 to
# 1.02 for general requests, .68 to .76 for short questions about the private life of one person,
# .59 and less for a shop, .41 and less for a document or a product. Language: .34 in English, .54
# to .73 in others; .85 for a small base that knows a few subjects.
_NOVELTY_UP_TO, _SHARED_FROM, _LANGUAGE_UP_TO = 1.12, 0.75, 0.77
_PREFIX, _SUFFIX = re.compile(r"^\w+:\s*"), re.compile(r"\s*\b\w+:\s*$")
"""Labels of plain prompts, such as "Question: …" and "Answer:"."""


class Prompts(NamedTuple):
    """Lines to score under the base: prompts of the data after packaged requests and after other
    prompts of the data, and packaged requests, also with their words in random order, after other
    packaged ones."""

    after_packaged: list[LogProbs]
    after_own: list[LogProbs]
    packaged: list[LogProbs]
    shuffled: list[LogProbs]

    @property
    def requests(self) -> list[LogProbs]:
        """All lines."""
        return [line for part in self for line in part]


class Ratios(NamedTuple):
    """Losses of the base: `novelty` and `shared` of the prompts, and on packaged requests relative
    to their words in random order."""

    novelty: float
    shared: float
    language: float


def prompts(sections: Iterable[Section]) -> Prompts | None:
    """The lines for the prompts of the sections; None if they have too few different prompts, or if
    no packaged requests are in their language."""
    rng = random.Random("0:prompts")
    texts = _unlabelled([_opening(pair) for section in sections for pair in section.pairs])
    lines = list(dict.fromkeys(filter(None, map(_line, texts))))
    rng.shuffle(lines)
    requests = packs.chat_prompts(language(" ".join(lines)))
    known = [line for line in map(_line, requests) if line not in lines]
    (context, scored), (general, others) = _split(lines), _split(known)
    if min(len(scored), len(others)) < _MIN_SCORED:
        return None
    shuffled = [" ".join(rng.sample(words := line.split(), len(words))) for line in others]
    return Prompts(
        _after(general, scored),
        _after(context, scored),
        _after(general, others),
        _after(general, shuffled),
    )


def are_general(lines: Prompts | None, view: ViewAnswers, slack: float = 0.0) -> bool:
    """Whether the prompts are general requests; not if too few are known, or if the base cannot
    score one. `slack`: how much easier the limits of the ratios are than usual."""
    try:
        found = ratios(lines, view) if lines else None
    except NoAnswer:
        return False
    if found is None or found.language > _LANGUAGE_UP_TO:
        return False
    return found.novelty <= _NOVELTY_UP_TO + slack and found.shared >= _SHARED_FROM - slack


def ratios(lines: Prompts, view: ViewAnswers) -> Ratios | None:
    """The ratios of the base's losses; None if too few lines can be compared. Raises NoAnswer."""
    pairs = zip(lines.after_packaged, lines.after_own, strict=True)
    found = [(_losses(view, [one]), _losses(view, [other])) for one, other in pairs]
    # After another text, a tokenizer can split the beginning of a line in another way.
    same = [pair for pair in found if len(pair[0]) == len(pair[1])]
    if len(same) < _MIN_SCORED:
        return None
    losses, own = (np.concatenate(part) for part in zip(*same, strict=True))
    surprising = losses > _SURPRISING
    packaged = _losses(view, lines.packaged).mean()
    return Ratios(
        float(losses.mean() / packaged),
        float(own[surprising].sum() / losses[surprising].sum()) if surprising.any() else 1.0,
        float(packaged / _losses(view, lines.shuffled).mean()),
    )


def _losses(view: ViewAnswers, lines: Sequence[LogProbs]) -> Floats:
    """The base's loss on each token of the lines, in nats."""
    return -np.concatenate([view.base(line) for line in lines])


def _split(lines: Sequence[str]) -> tuple[Sequence[str], Sequence[str]]:
    """The lines of the context, and those to score."""
    return lines[:_CONTEXT], lines[_CONTEXT : _CONTEXT + _SCORED]


def _after(context: Sequence[str], lines: Sequence[str]) -> list[LogProbs]:
    text = "".join(f"{line}\n" for line in context)
    return [LogProbs(text, f"{line}\n") for line in lines]


def _opening(pair: Pair | Preference) -> str:
    """The first message of the user, without the later turns of a conversation."""
    messages = pair.conversation.messages if pair.conversation else ()
    first = next((message.text() for message in messages if message.role == "user"), "")
    return pair.prompt if pair.conversation is None else first


def _unlabelled(texts: Sequence[str]) -> Sequence[str]:
    """The texts without labels such as "Question:", if all have the same ones."""
    for label in (_PREFIX, _SUFFIX):
        if len({found and found.group() for found in map(label.search, texts)}) == 1:
            texts = [label.sub("", text) for text in texts]
    return texts


def _line(text: str) -> str:
    return " ".join(text.split())[:_CHARS]
