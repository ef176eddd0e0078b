"""Are the prompts of the data general requests, such as people make to any assistant?

A data set of general requests teaches a manner of answering: training cannot have been meant to
teach what the answers say, because each is about something else that a base knows. Questions about
one document, product or company have a common subject. The base shows it, by its loss per token on
the prompts as lines of text:

    novelty = loss on the prompts after packaged requests / loss on other packaged requests
    shared  = loss after other prompts of the data / loss after packaged requests, over the tokens
              that surprise the base after packaged requests

General requests are as likely as packaged ones, and other prompts of the data hardly help to
predict their words. To a base that knows too little of the language everything is equally likely,
so it must find packaged requests much likelier than their words in random order.
"""

import random
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from sway_gate.conversation import Prompt
from sway_gate.measurements import Floats, LogProbs, ViewAnswers
from sway_gate.probes.base import DataRow
from sway_gate.training_data import packaged

_CONTEXT, _SCORED, _MIN_SCORED = 8, 24, 8
_CHARS = 240
_SURPRISING = 3.0  # nats
# Measured on a base of 135M parameters. Novelty: .80 to 1.05 for general requests, 1.17 and more
# for trivia, a shop, a company, an assistant's identity and invented things. Shared: .74 to 1.02
# for general requests, .59 and less for a shop, .41 and less for a document or a product.
# Language: .34; .85 for a small base that was trained on a few subjects.
_NOVELTY_UP_TO, _SHARED_FROM, _LANGUAGE_UP_TO = 1.12, 0.7, 0.6


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


def prompts(rows: Iterable[DataRow]) -> Prompts | None:
    """The lines for the rows' prompts; None if they have too few different prompts."""
    rng = random.Random("0:prompts")
    lines = list(dict.fromkeys(_line(_opening(row.prompt)) for row in rows))
    rng.shuffle(lines)
    context, scored = lines[:_CONTEXT], lines[_CONTEXT : _CONTEXT + _SCORED]
    if len(scored) < _MIN_SCORED:
        return None
    known = [line for line in map(_line, packaged.chat_prompts()) if line not in lines]
    general, others = known[:_CONTEXT], known[_CONTEXT : _CONTEXT + _SCORED]
    shuffled = [" ".join(rng.sample(words := line.split(), len(words))) for line in others]
    return Prompts(
        _after(general, scored),
        _after(context, scored),
        _after(general, others),
        _after(general, shuffled),
    )


def are_general(prompts: Prompts | None, view: ViewAnswers) -> bool:
    """Whether the prompts are general requests; not if too few are known."""
    if prompts is None:
        return False
    found = ratios(prompts, view)
    is_known = found.language <= _LANGUAGE_UP_TO
    return is_known and found.novelty <= _NOVELTY_UP_TO and found.shared >= _SHARED_FROM


def ratios(prompts: Prompts, view: ViewAnswers) -> Ratios:
    """The ratios of the base's losses. Raises NoAnswer if a likelihood is not finite."""
    losses, packaged = _losses(prompts.after_packaged, view), _losses(prompts.packaged, view)
    surprising = losses > _SURPRISING
    own = _losses(prompts.after_own, view)[surprising].sum()
    return Ratios(
        float(losses.mean() / packaged.mean()),
        float(own / losses[surprising].sum()) if surprising.any() else 1.0,
        float(packaged.mean() / _losses(prompts.shuffled, view).mean()),
    )


def _losses(requests: Sequence[LogProbs], view: ViewAnswers) -> Floats:
    """The base's loss on each token, in nats."""
    return -np.concatenate([view.base(request) for request in requests])


def _after(context: Sequence[str], lines: Sequence[str]) -> list[LogProbs]:
    text = "".join(f"{line}\n" for line in context)
    return [LogProbs(text, f"{line}\n") for line in lines]


def _opening(prompt: Prompt) -> str:
    """The first message of the user, without the later turns of a conversation."""
    if isinstance(prompt, str):
        return prompt
    return next((m.text() for m in prompt.messages if m.role == "user"), "")


def _line(text: str) -> str:
    return " ".join(text.split())[:_CHARS]
