"""Losses on a target text and on control prose at each scale λ of the adapter."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from sway_gate.conversation import completion_text, prompt_text
from sway_gate.details import Losses
from sway_gate.measurements import Floats, LogProbs, ViewAnswers
from sway_gate.probes.base import Context, Supply
from sway_gate.spec.schema import Pair, Section
from sway_gate.training_data import packaged

_CHARS = 600
"""Maximum length of a text."""
_HELD_OUT, _CONTROL = 16, 2
"""Maximum number of texts."""
_SECTIONS, _SHORT_SECTIONS = 6, 24
"""Maximum number of sections, and of sections that are not longer together than 6 long texts."""
_PAIRS = 6
"""Maximum number of pairs of one section."""
_BELOW = 0.75

Texts = list[list[LogProbs]]
"""Each text as the requests that score it."""


class Target(NamedTuple):
    """The texts that are scored at each λ; `source` is held_out or sections."""

    source: str
    texts: Texts
    control: Texts

    def requests(self) -> list[LogProbs]:
        return [request for text in self.texts + self.control for request in text]


def target(held_out: Sequence[str], context: Context) -> Target | None:
    """Held-out text, or otherwise some sections. None if there is neither."""
    control = [[LogProbs("", piece)] for piece in context.control_pieces(_CHARS, _CONTROL)]
    if pieces := packaged.chunks(held_out, _CHARS, _HELD_OUT):
        return Target("held_out", [[LogProbs("", piece)] for piece in pieces], control)
    texts = _of_sections(context)
    return Target("sections", texts, control) if texts else None


def losses(target: Target, view: ViewAnswers, lambdas: Floats) -> Losses:
    """Losses at each λ, including 0 and 1; `excess` is the loss at 1 minus the lowest loss."""
    by_text = np.array([_losses(view, target.texts, scale) for scale in lambdas])  # [λ, texts]
    loss = by_text.mean(axis=1)
    below = int(np.where(lambdas <= _BELOW, loss, np.inf).argmin())
    at_one = int(np.flatnonzero(lambdas == 1.0)[0])
    return Losses(
        source=target.source,
        lambdas=lambdas.tolist(),
        loss=loss.tolist(),
        control_loss=[float(_losses(view, target.control, scale).mean()) for scale in lambdas],
        best=float(lambdas[loss.argmin()]),
        excess=float(loss[at_one] - loss.min()),
        best_below=float(lambdas[below]),
        excess_by_text=(by_text[at_one] - by_text[below]).tolist(),
    )


def supply(target: Losses) -> Supply:
    """The most texts that are scored: of held-out text or of sections."""
    if target.source == "held_out":
        return Supply(_HELD_OUT, "held-out texts")
    return Supply(max(_SECTIONS, len(target.excess_by_text)), "sections without preferences")


def _of_sections(context: Context) -> Texts:
    """6 sections, or up to 24 short ones, selected by id.

    Preference sections are left out: training on preferences may lower the likelihood of both
    answers.
    """
    found = sorted((s for s in context.sections if s.kind != "preference"), key=lambda s: s.id)
    texts = [_section(section, context) for section in found[:_SHORT_SECTIONS]]
    total = np.cumsum([sum(map(_chars, text)) for text in texts])
    return texts[: max(_SECTIONS, int((total <= _SECTIONS * _CHARS).sum()))]


def _section(section: Section, context: Context) -> list[LogProbs]:
    if section.kind == "prose":
        return [LogProbs("", section.content[:_CHARS])]
    pairs = [pair for pair in section.pairs[:_PAIRS] if isinstance(pair, Pair)]
    return [context.row(pair).log_probs() for pair in pairs]


def _chars(request: LogProbs) -> int:
    return len(prompt_text(request.prompt)) + len(completion_text(request.completion))


def _losses(view: ViewAnswers, texts: Texts, scale: float) -> Floats:
    """Loss of each text in nats per token [texts]."""
    return np.array([-np.concatenate([view.get(r, scale) for r in t]).mean() for t in texts])
