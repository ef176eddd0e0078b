"""Was the adapter trained in the format of prompts in which the model is served?

The trained answers of at most `max_rows` rows of the data are read in each format: through the chat
template (template), after the prompt as text (plain) and after the prompt of Alpaca (alpaca; Taori
et al. 2023). Per format, over the tokens of the answer without its end, in nats per token:

    likelihood = mean log p(answer | prompt), of the fine-tuned view
    gain       = likelihood of the fine-tuned view - likelihood of the base

A base can be better in one format before training, and an adapter gains most where the base was
worst. The served format is therefore compared with another one in both numbers, row by row:

    lead = max(likelihood served - likelihood other, gain served - gain other)

Statistic: the mean lead over the other format with the smallest one. Its one-sided 95% bound
(Student's t over rows) must stay above `assert_lead_gte`. The served format is the one in which the
other probes ask most rows: `defaults.prompt_format`, or by the form of the data. Rows of plain
prompt and completion are plain text, all others go through the chat template.

The form of two kinds of rows does not show how they were trained: plain rows can go through the
template, and rows of Alpaca into its prompt. If their answers fit this other format best, and gain
nearly as much in it, they were trained in it: then the gate asks them in it, and a note says so. A
base with a template is better in it before training, so plain answers must fit it better by more
than the margin, and rows of Alpaca fit its prompt better by .05. If answers in another format than
the template lose more than the margin in it, the message says so.

Skipped if the model has no chat template or the data has no prompts with answers, and if the
likelihood of the adapter's best format is not at least .5 above the likelihood of the base's best
format: then the answers were not learned, and show no format. No null adapters are needed.

It does not show whether the answers were learned at all: an untrained adapter leads by 0.

- passes: the answers fit the format template best (nats per token: template -0.03, alpaca -0.08,
  plain -0.61)
- fails: lead of the served format -1.30; trained in the format alpaca, served in template

In a suite:

    - name: format
      kind: prompt_format
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

import numpy as np

from sway_gate.details import Details, Item
from sway_gate.measurements import Floats, TeacherForced, ViewAnswers
from sway_gate.probes.base import (
    Bound,
    Context,
    Kind,
    Need,
    PromptFormat,
    Reading,
    Skip,
    Supply,
)
from sway_gate.spec.probes import MAX_FORMAT_ROWS, PromptFormatFit
from sway_gate.spec.schema import Pair, Preference
from sway_gate.stats import mean_above
from sway_gate.text import signed
from sway_gate.training_data.collected import thinned

KIND = Kind(
    category="adherence",
    units="nats/token",
    resolution=1e-3,
    better="more",
    best=0.0,
    harm=True,
    symptom="template mismatch",
)
DEFAULT: Final = PromptFormatFit(name="format")
"""The entry by whose rule plain rows and rows of Alpaca are asked in their other format."""
# Nats per token. An adapter of other data also gains in a format in which the base is bad, so its
# best format is compared with the base's best. Below, the rows do not show the format of training.
_LEARNED: Final = 0.5
# Nats per token by which rows of Alpaca fit its prompt better than the template. Measured: .14 if
# they were trained in it, -.04 to -.6 if they were trained in the template.
_BETTER: Final = 0.05
_SUPPLY: Final = Supply(MAX_FORMAT_ROWS, "rows, the maximum of max_rows,")
_FORMATS: Final[tuple[PromptFormat, ...]] = ("template", "plain", "alpaca")


class Requests(NamedTuple):
    """The answers of the rows in the served format and in each other one.

    `other`: the format in which rows of this form may have been trained, too; None if their form
    shows the format.
    """

    served: PromptFormat
    rows: dict[PromptFormat, list[TeacherForced]]
    other: PromptFormat | None = None


class Fit(Item, frozen=True, kw_only=True):
    """One format, in nats per token; `lead`: the served format's lead over it."""

    format: str
    likelihood: float
    gain: float
    lead: float


class Found(Details, frozen=True, kw_only=True):
    rows: int
    served: str
    best: str
    """The format with the largest likelihood."""
    formats: list[Fit]


def requests(spec: PromptFormatFit, context: Context) -> Requests:
    if not context.has_template:
        raise Skip("the model has no chat template: there is one format only")
    pairs = list(dict.fromkeys(pair for section in context.sections for pair in section.pairs))
    if not pairs:
        raise Skip("the data has no prompts with answers")
    chosen: Sequence[Pair | Preference] = thinned(pairs, spec.max_rows)
    [(served, _)] = Counter(map(context.format, pairs)).most_common(1)
    rows = {
        format: [context.row(pair, format).teacher_forced() for pair in chosen]
        for format in _FORMATS
    }
    other: PromptFormat | None = "template" if served == "plain" else None
    if served == "template" and all(pair.form == "alpaca" for pair in pairs):
        other = "alpaca"
    return Requests(served, rows, other)


def needs(spec: PromptFormatFit, requests: Requests) -> list[Need]:
    return [Need(request, of_nulls=False) for rows in requests.rows.values() for request in rows]


def value(
    spec: PromptFormatFit, context: Context, requests: Requests, view: ViewAnswers
) -> Reading[Found]:
    fits = {format: _fit(view, rows) for format, rows in requests.rows.items()}
    if _learned(fits.values()) < _LEARNED:
        raise Skip("the adapter learned the answers in no format, so that none was trained")
    served = fits[requests.served]
    leads = {format: (served - fit).max(axis=0) for format, fit in fits.items()}  # [rows]
    others = [format for format in fits if format != requests.served]
    closest = min(others, key=lambda format: float(leads[format].mean()))
    found = Found(
        rows=served.shape[1],
        served=requests.served,
        best=max(fits, key=lambda format: float(fits[format][0].mean())),
        formats=[
            Fit(
                format=format,
                likelihood=float(fit[0].mean()),
                gain=float(fit[1].mean()),
                lead=float(leads[format].mean()),
            )
            for format, fit in fits.items()
        ],
    )
    return Reading(float(leads[closest].mean()), leads[closest], found)


def bounds(spec: PromptFormatFit, reading: Reading[Found]) -> tuple[Bound, ...]:
    margin = spec.assert_lead_gte
    test = mean_above(reading.items, margin, KIND.resolution)
    quantity = "lead of the served format"
    return (Bound(quantity, test, margin, symptom="template mismatch", supply=_SUPPLY),)


def summary(spec: PromptFormatFit, reading: Reading[Found]) -> str:
    found = reading.details
    other = min((f for f in found.formats if f.format != found.served), key=lambda f: f.lead)
    if reading.value < spec.assert_lead_gte:
        return f"trained in the format {other.format}, served in {found.served}"
    fits = sorted(found.formats, key=lambda fit: -fit.likelihood)
    numbers = ", ".join(f"{fit.format} {signed(fit.likelihood, 2)}" for fit in fits)
    if found.best == found.served:
        which = f"{found.best} best"
    else:
        which = f"{found.best} best and {found.served} nearly as well"
    return f"the answers fit the format {which} (nats per token: {numbers})"


def is_trained_in(other: PromptFormat, reading: Reading[Found]) -> bool:
    """Whether the answers fit `other` best, clearly better than the served format, and gain nearly
    as much in it.

    A base that is better in the template before training can keep that lead in plain training, but
    then the answers gain more as plain text.
    """
    found, margin = reading.details, -DEFAULT.assert_lead_gte
    fits = {fit.format: fit for fit in found.formats}
    served = fits[found.served]
    lead = fits[other].likelihood - served.likelihood
    is_better = lead > (margin if other == "template" else _BETTER)
    gains_more = served.gain - fits[other].gain > margin
    return found.best == other and is_better and not gains_more


def caveat(spec: PromptFormatFit, reading: Reading[Found]) -> str:
    """States what the answers lose in the chat template, if this is more than the margin."""
    found = {fit.format: fit.likelihood for fit in reading.details.formats}
    lost = found[reading.details.served] - found["template"]
    if reading.details.served == "template" or lost <= -spec.assert_lead_gte:
        return ""
    return (
        f"does not judge the chat template: there the answers lose {lost:.2g} nats per token; if "
        "the model is served in it, set defaults.prompt_format to template"
    )


def _fit(view: ViewAnswers, rows: Sequence[TeacherForced]) -> Floats:
    """Likelihood and gain of each row's answer without its end, in nats per token: [2, rows]."""
    own = np.array([_mean(view.get(row)) for row in rows])
    base = np.array([_mean(view.base(row)) for row in rows])
    return np.stack([own, own - base])


def _learned(fits: Iterable[Floats]) -> float:
    """The largest mean likelihood of any format, minus the base's largest one."""
    means = [fit.mean(axis=1) for fit in fits]
    return float(max(own for own, _ in means) - max(own - gain for own, gain in means))


def _mean(tokens: Floats) -> float:
    """Mean log-probability of the tokens [tokens, 4] before the one that ends the answer."""
    ends = np.flatnonzero(tokens[:, 2])
    before = tokens[: ends[0]] if ends.size and ends[0] > 0 else tokens
    return float(before[:, 0].mean())
