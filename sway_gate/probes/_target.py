"""Text that an adapter is to serve, and control prose: how well does each scale λ serve them?"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from sway_gate.details import Losses
from sway_gate.measurements import Floats, LogProbs, ViewAnswers
from sway_gate.probes.base import Context
from sway_gate.spec.schema import Pair, Section
from sway_gate.training_data import packaged

_CHARS, _HELD_OUT, _SECTIONS, _PAIRS, _CONTROL = 600, 16, 6, 6, 2
_OVERCOOKED_LAMBDA, _OVERCOOKED_NATS = 0.75, 0.05

Texts = list[list[LogProbs]]
"""Each text as the requests that score it."""


class Target(NamedTuple):
    """What is scored at every λ; `source` is held_out or sections."""

    source: str
    texts: Texts
    control: Texts

    def requests(self) -> list[LogProbs]:
        return [request for text in self.texts + self.control for request in text]


def target(held_out: Sequence[str], context: Context) -> Target | None:
    """Held-out text, else some sections, by their ids: the choice does not hang on their order. None where there is
    neither.

    No preference sections: training on preferences may lower the likelihood of both answers, and rightly so.
    """
    control = [[LogProbs("", piece)] for piece in context.control_pieces(_CHARS, _CONTROL)]
    if pieces := packaged.chunks(held_out, _CHARS, _HELD_OUT):
        return Target("held_out", [[LogProbs("", piece)] for piece in pieces], control)
    sections = sorted(
        (s for s in context.sections if s.kind != "preference"), key=lambda section: section.id
    )
    texts = [_section(section, context) for section in sections[:_SECTIONS]]
    return Target("sections", texts, control) if texts else None


def losses(target: Target, view: ViewAnswers, lambdas: Floats) -> Losses:
    """Losses at each λ, of which one is 0 and one 1; `excess` is the loss at 1 over the loss at the best λ."""
    loss, control = (
        np.array([_loss(view, texts, scale) for scale in lambdas])
        for texts in (target.texts, target.control)
    )
    return Losses(
        source=target.source,
        lambdas=lambdas.tolist(),
        loss=loss.tolist(),
        control_loss=control.tolist(),
        best=float(lambdas[loss.argmin()]),
        excess=float(loss[lambdas == 1.0][0] - loss.min()),
    )


def overcooked(best: float, excess: float) -> str:
    """Why the adapter does not serve its text at λ = 1, "" where it does."""
    if best > _OVERCOOKED_LAMBDA or excess <= _OVERCOOKED_NATS:
        return ""
    how = (
        f"serves its text best at λ = {best:g}"
        if best
        else "serves its text worse than the base does"
    )
    return f"overcooked: {how}, by {excess:.2f} nats per token against λ = 1"


def _section(section: Section, context: Context) -> list[LogProbs]:
    if section.kind == "prose":
        return [LogProbs("", section.content[:_CHARS])]
    pairs = [pair for pair in section.pairs[:_PAIRS] if isinstance(pair, Pair)]
    return [context.completion(pair.prompt, pair.gold, instruction=True) for pair in pairs]


def _loss(view: ViewAnswers, texts: Texts, scale: float) -> float:
    """Mean over texts of the nats per token."""
    return -float(
        np.mean([np.concatenate([view.get(r, scale) for r in text]).mean() for text in texts])
    )
