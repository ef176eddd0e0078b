"""What is judged of answers: their content, their form, or how likely they are if they reword
their prompts.

answer_specificity, answer_recall and generalization ask here, so that they judge the same, unless
the spec decides. With `learn: form` only answer_specificity looks for rewording. answer_recall
counts all phrases if the model shows that their wording is not free.
"""

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np

from sway_gate.measurements import Request, ViewAnswers
from sway_gate.probes import general_requests as general
from sway_gate.probes._answers import (
    MIN_ROWS,
    Design,
    Gains,
    Rows,
    cells,
    design,
    gains,
    occurring_labels,
)
from sway_gate.probes.base import Context, Need, Skip

Learned = Literal["content", "form"]
Part = Literal["all", "content", "form", "free"]
"""The surprising tokens of the answers that count. content: those that most answers do not share;
form: only those that most answers share; free: all, but not judged, because the wording is free."""
GENERAL = "the prompts are general requests without a common subject"
# A question and its answer share words, so a base ranks most answers first even if their facts are
# unknown to it. Training taught the form only if the base's loss on the own answer is also
# nearly as large as on the others. Measured: .59 and .63 for invented facts, .82 for a style, .84
# for function calls.
_KNOWN_FROM, _SHARED_FROM = 0.75, 0.73
# Answers such as headlines reword their prompts: the base's loss on their surprising tokens is much
# smaller after their own prompts than after others. A fact is about as surprising after any prompt.
# Measured ratios: .54 for headlines, .62 for summaries, .69 for answers from a passage, .82 to 1.00
# for facts, .86 to .98 for styles.
_REWORDS_UP_TO = 0.72
# Other blocks or other prompts of the same data change the ratios by about this much.
_NEAR_KNOWN, _NEAR_SHARED, _NEAR_REWORDED, _NEAR_GENERAL = 0.1, 0.03, 0.03, 0.08


class Judged(NamedTuple):
    """What to judge, and why. `rewords`: whether the answers reword their prompts, so that their
    wording is free. `hint`: what to do if the choice is near a limit."""

    learned: Learned
    reason: str
    rewords: bool = False
    hint: str = ""


class Evidence(NamedTuple):
    """What decides between content and form: the matrix, and the prompts if the spec does not
    decide."""

    matrix: Design
    prompts: general.Prompts | None = None

    @property
    def needs(self) -> list[Need]:
        """The requests; of the prompts, only the base's answers."""
        lines = self.prompts.requests if self.prompts else []
        return [*map(Need, cells(self.matrix)), *of_base(lines)]


def of_base(requests: Sequence[Request]) -> list[Need]:
    """Needs of which only the base's answers count."""
    return [Need(request, (0.0,), of_nulls=False) for request in requests]


def judged(learn: str, evidence: Evidence, view: ViewAnswers, gains: Gains) -> Judged:
    """What to judge. `learn`: the setting of the spec, "auto" if it is open."""
    labels = evidence.matrix.labels
    if learn == "content":
        return Judged("content", "learn is content")
    if labels and learn == "auto":
        return Judged("content", "the answers are labels")
    if learn == "form" and (labels or not _reword(gains)):
        return Judged("form", "learn is form")
    found = _from_base(evidence, view, gains)
    others = [_from_base(evidence, view, gains, slack) for slack in (-1.0, 1.0)]
    is_clear = all((o.learned, o.rewords) == (found.learned, found.rewords) for o in others)
    if learn == "form" or is_clear:
        return found
    return found._replace(hint="; this choice is near a limit: set learn to content or form")


def _from_base(evidence: Evidence, view: ViewAnswers, gains: Gains, slack: float = 0.0) -> Judged:
    """What the base's losses show. `slack`: how much easier each limit is, as a multiple of what
    other blocks or prompts of the same data change."""
    if _reword(gains, slack):
        # The other answers reword other prompts: the form cannot show in them.
        return Judged("content", "the base reads the answers from their prompts", rewords=True)
    if general.are_general(evidence.prompts, view, slack * _NEAR_GENERAL):
        return Judged("form", GENERAL)
    known, total = int(gains.first_before.sum()), len(gains.first_before)
    own, others = gains.losses.mean(axis=0)
    count = f"{known} of {total} own answers first"
    shared = f"its loss on them is {own / others:.0%} of the loss on other answers"
    is_known = known / total + slack * _NEAR_KNOWN >= _KNOWN_FROM
    is_shared = own / others + slack * _NEAR_SHARED >= _SHARED_FROM
    if is_known and is_shared:
        return Judged("form", f"the base ranks {count}, and {shared}")
    if not is_known:
        return Judged("content", f"the base ranks only {count}")
    return Judged("content", f"the base ranks {count}, but {shared}")


def _reword(gains: Gains, slack: float = 0.0) -> bool:
    """Whether the answers reword their prompts."""
    own, others = gains.surprise.sum(axis=0)
    is_known = gains.first_before.mean() >= _KNOWN_FROM
    are_enough = np.count_nonzero(gains.surprise[:, 0]) >= MIN_ROWS
    return bool(
        is_known and are_enough and own <= (_REWORDS_UP_TO + slack * _NEAR_REWORDED) * others
    )


def evidence(context: Context, found: Rows, matrix: Design) -> Evidence:
    """The matrix, with the prompts of the rows if they can decide.

    The spec can decide. Labels and prose have no form that is judged apart.
    """
    is_open = context.learn == "auto" and found.kind == "answers"
    if not is_open or occurring_labels(found.rows):
        return Evidence(matrix)
    return Evidence(matrix, general.prompts(context.sections))


def deciding(context: Context, found: Rows) -> Evidence | None:
    """The evidence by which `judged_part` decides; None if it needs none, or if there are too few
    rows."""
    if context.learn != "auto" or found.kind == "prose" or occurring_labels(found.rows):
        return None
    try:
        return evidence(context, found, design(found.rows))
    except Skip:
        return None


def judged_part(context: Context, evidence: Evidence | None, view: ViewAnswers) -> Part:
    """The tokens of answers that count, as answer_specificity decides between content and form."""
    if context.learn == "content" or context.learn == "form":
        return context.learn
    if evidence is None:
        return "all"
    found = judged(context.learn, evidence, view, gains(evidence.matrix, view))
    if found.rewords:
        return "free"
    return "form" if found.learned == "form" else "all"
