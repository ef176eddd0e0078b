"""How likely an answer is, per token: what several probes compare between the base and a view."""

import math

from sway_gate.measurements import BASE, Fault, LogProbs, NoAnswer, ViewAnswers


def per_token(view: ViewAnswers, request: LogProbs) -> tuple[float, float]:
    """Mean log-likelihood per token, in nats, under the base and under this view.

    Raises NoAnswer where one is not finite: a difference to it would say nothing, and reports could not hold it.
    """
    base, own = float(view.base(request).mean()), float(view.get(request).mean())
    if not math.isfinite(base):
        raise NoAnswer(
            Fault(
                f"no finite likelihood under the {BASE} view, of {request.completion[:40]!r}",
                "base",
            )
        )
    if not math.isfinite(own):
        raise NoAnswer(
            Fault(
                f"no finite likelihood under the {view.view} view, of {request.completion[:40]!r}"
            )
        )
    return base, own
