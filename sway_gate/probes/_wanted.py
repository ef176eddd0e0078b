"""What is judged of answers: their content, their form, or how likely they are if they reword
their prompts.

answer_specificity, answer_recall and generalization ask here, so that they judge the same.
"""

from typing import Literal, NamedTuple

from sway_gate.measurements import ViewAnswers
from sway_gate.probes._answers import Design, Gains, Rows, design, gains, occurring_labels
from sway_gate.probes.base import Context, Skip

Learned = Literal["content", "form"]
Part = Literal["all", "content", "form", "free"]
"""The surprising tokens of the answers that count. content: those that most answers do not share;
form: only those that most answers share; free: all, but not judged, because the wording is free."""
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
# Other blocks of the same rows change the share of first ranks by about this much.
_NEAR_KNOWN, _NEAR_SHARED = 0.1, 0.03


class Judged(NamedTuple):
    """What to judge, and why. `rewords`: whether the answers reword their prompts, so that their
    wording is free."""

    learned: Learned
    reason: str
    rewords: bool = False


def judged(learn: str, gains: Gains, design: Design) -> Judged:
    """What to judge. `learn`: the setting of the spec, "auto" if it is open."""
    if learn == "content":
        return Judged("content", "learn is content")
    if design.labels and learn == "auto":
        return Judged("content", "the answers are labels")
    if _reword(gains) and not design.labels:
        # The other answers reword other prompts: the form cannot show in them.
        return Judged("content", "the base reads the answers from their prompts", rewords=True)
    if learn == "form":
        return Judged("form", "learn is form")
    known, total = int(gains.first_before.sum()), len(gains.first_before)
    own, others = gains.losses.mean(axis=0)
    count = f"{known} of {total} own answers first"
    shared = f"its loss on them is {own / others:.0%} of the loss on other answers"
    more = _is_form(known / total + _NEAR_KNOWN, own / others + _NEAR_SHARED)
    less = _is_form(known / total - _NEAR_KNOWN, own / others - _NEAR_SHARED)
    hint = ", which is near the limit: set learn to content or form" if more != less else ""
    if _is_form(known / total, own / others):
        return Judged("form", f"the base ranks {count}, and {shared}{hint}")
    if known < _KNOWN_FROM * total:
        return Judged("content", f"the base ranks only {count}{hint}")
    return Judged("content", f"the base ranks {count}, but {shared}{hint}")


def _reword(gains: Gains) -> bool:
    own, others = gains.surprise.sum(axis=0)
    is_known = gains.first_before.mean() >= _KNOWN_FROM
    return bool(is_known and 0 < own <= _REWORDS_UP_TO * others)


def deciding(context: Context, found: Rows) -> Design | None:
    """The matrix by which `judged_part` decides; None if it needs none.

    The spec can decide. Labels and prose have no form that is judged apart, and of too few rows
    nothing is known.
    """
    if context.learn != "auto" or found.kind == "prose" or occurring_labels(found.rows):
        return None
    try:
        return design(found.rows)
    except Skip:
        return None


def judged_part(context: Context, matrix: Design | None, view: ViewAnswers) -> Part:
    """The tokens of answers that count, as answer_specificity decides between content and form."""
    if context.learn == "content" or context.learn == "form":
        return context.learn
    if matrix is None:
        return "all"
    found = judged(context.learn, gains(matrix, view), matrix)
    if found.rewords:
        return "free"
    return "form" if found.learned == "form" else "all"


def _is_form(known: float, shared: float) -> bool:
    """Whether the base knew the content, by its share of first ranks and its ratio of losses."""
    return known >= _KNOWN_FROM and shared >= _SHARED_FROM
