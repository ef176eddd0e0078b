"""Did training make the model forget general knowledge?

For each item, a sentence with its true ending and three false ones ("The capital city of Italy is
called" Rome, Paris, Milan, Madrid). The choice is measured in two registers: in the chat template,
if the model has one, as the assistant's answer to a question ("What is the capital city of
Italy?"), and as text that is continued. `registers: served` leaves out the text if the model has a
chat template. The answer begins with the sentence in both: bare endings ("Rome") would count
training to answer in sentences as loss. Per item, in nats:

    log-odds  = log p(true ending) - max log p(false ending)
    log share = log [p(true ending) / Σ p(ending)]

with log p the sum over an ending's tokens. All endings follow the same words, so that a style or a
format that training taught costs nothing: it changes the likelihood of all endings. An empty answer
counts as loss: in the chat template, with p the probability that the assistant's turn ends before
its first word, log(1 - p) is added to the log share, and the log-odds are at most log[(1 - p) / p].

An item is known if the base's log-odds are at least `regression_nats`: 1 nat is a true ending that
is 2.7 times as likely as any false one. Other items do not count, as a guess is not knowledge. A
known item is lost if a false ending is now likelier than the true one: then its log-odds fell by
more than `regression_nats`.

Statistic: the mean change of the log share over known items, an item's two registers averaged. The
log share of an item that is surely known is close to 0. It hardly changes if training makes the
model less sure of all endings, and falls as much as the log-odds once an item is lost. Harm probe
with two margins in each register, each tested with its one-sided 95% bound over items: the share of
known items that are lost must stay below `assert_fraction_regressed_lt` (score test; Wilson 1927),
and the mean change above `assert_mean_delta_gte` (Student's t). The worse register decides.

Items are the first 60 of the packaged set (`pack`, 195 items) or your own `items`, each [prompt,
true ending, [false endings], question]; `items_limit` sets another number. If a quantity is outside
its margin and its interval reaches inside, all packaged items decide. Without a question, the user
asks to complete the sentence. Your own items without false endings ([prompt, ending]) are
measured as text only, by the change of the ending's mean log-likelihood per token: an item has
regressed if it loses more than `regression_nats` per token. A style that training taught may count
as loss there.

It does not show whether the model still answers a question with what it knows: only the answers
that it writes show that. It does not show what the base does not know.

- passes: known items in the chat template 50 → 49 of 60, as text 52 → 52 of 60
- fails: known items in the chat template 50 → 28 of 60, as text 52 → 50 of 60

In a suite; `assert_z_gte` is accepted and has no effect, the margins decide:

    - name: knows
      kind: calibration_drift
"""

import math
from typing import Literal, NamedTuple

import numpy as np
from msgspec import structs

from sway_gate.conversation import Message, Prompt, asked
from sway_gate.details import Details, Item, ItemChange
from sway_gate.measurements import Floats, LogProbs, ViewAnswers
from sway_gate.probes._choice import Choice, chosen
from sway_gate.probes._likelihood import lift
from sway_gate.probes.base import Bound, Context, Kind, Need, Reading, Skip, Supply
from sway_gate.spec.probes import CalibrationDrift
from sway_gate.spec.probes import Item as Sentence
from sway_gate.stats import Margin, fraction_below, mean_above, mean_above_from
from sway_gate.training_data import packaged

KIND = Kind(
    category="calibration",
    units="nats",
    resolution=1e-3,
    better="more",
    best=0.0,
    harm=True,
    symptom="forgot",
)

_PACKAGED_ITEMS = 60
_SHOWN = 5

Register = Literal["in the chat template", "as text"]
Choices = dict[Register, list[Choice]]
"""The choices of each register, in the order of the items."""


class Change(NamedTuple):
    """What happened to a known item. `before` and `now`: the likeliest ending; the probabilities:
    of the true ending."""

    nats: float
    is_lost: bool
    before: str = ""
    now: str = ""
    base_probability: float | None = None
    probability: float | None = None


class Kept(Item, frozen=True, kw_only=True):
    """The items of one register. `se`: the standard error of the mean change.

    Without false endings all items are known, and lost if they have regressed.
    """

    register: Register
    items: int
    known: int
    lost: int
    mean_change: float
    se: float


class Found(Details, frozen=True, kw_only=True):
    registers: list[Kept]
    worst: list[ItemChange]


def requests(spec: CalibrationDrift, context: Context) -> Choices:
    limit = spec.items_limit or (None if spec.items else _PACKAGED_ITEMS)
    items = (spec.items or [Sentence(*choice[:4]) for choice in packaged.choices()])[:limit]
    found: Choices = {}
    if context.has_template and _has_choices(spec):
        found["in the chat template"] = [_answer(item) for item in items]
    if not found or spec.registers == "all":
        found["as text"] = [_choice(item, item.prompt, "") for item in items]
    return found


def extended(spec: CalibrationDrift) -> CalibrationDrift | None:
    limit, most = spec.items_limit or _PACKAGED_ITEMS, len(packaged.choices())
    if spec.items or limit >= most:
        return None
    return structs.replace(spec, items_limit=most)


def needs(spec: CalibrationDrift, requests: Choices) -> list[Need]:
    choices = (choice for found in requests.values() for choice in found)
    return [Need(request) for choice in choices for request in choice.all_requests()]


def value(
    spec: CalibrationDrift, context: Context, requests: Choices, view: ViewAnswers
) -> Reading[Found]:
    measure = _choice_change if _has_choices(spec) else _likelihood_change
    changes = {
        name: [measure(spec, view, choice) for choice in choices]
        for name, choices in requests.items()
    }
    items = _per_item(list(changes.values()))
    if not items.size:
        asked = max(map(len, requests.values()))
        raise Skip(f"the base knows none of the {asked} items")
    registers = [_kept(name, found) for name, found in changes.items()]
    details = Found(registers=registers, worst=_worst(requests, changes))
    units = "" if _has_choices(spec) else "nats/token"
    return Reading(float(items.mean()), items, details, units=units)


def bounds(spec: CalibrationDrift, reading: Reading[Found]) -> list[Bound]:
    fraction, mean = spec.assert_fraction_regressed_lt, spec.assert_mean_delta_gte
    share = "share of known items lost" if _has_choices(spec) else "share of regressed items"
    supply = None if spec.items else Supply(len(packaged.choices()), "packaged items")
    found = []
    for kept in reading.details.registers:
        if not kept.known:
            continue
        lost = fraction_below(kept.lost, kept.known, fraction, reading.error_share)
        change = _mean_change(kept, mean, reading.error_share)
        found += [
            Bound(
                f"{share} {kept.register}",
                lost,
                fraction,
                is_upper=True,
                n=kept.items,
                supply=supply,
            ),
            Bound(f"mean change {kept.register}", change, mean, n=kept.items, supply=supply),
        ]
    return found


def summary(spec: CalibrationDrift, reading: Reading[Found]) -> str:
    if not _has_choices(spec):
        return _regressed(spec, reading.details.registers[0])
    kept = ", ".join(
        f"{each.register} {each.known} → {each.known - each.lost} of {each.items}"
        for each in reading.details.registers
    )
    return f"known items {kept}"


def _regressed(spec: CalibrationDrift, kept: Kept) -> str:
    unit = "nat" if spec.regression_nats == 1 else "nats"
    return (
        f"{kept.lost} of {kept.items} items lost more than {spec.regression_nats:g} {unit} per "
        "token as text"
    )


def _has_choices(spec: CalibrationDrift) -> bool:
    return not spec.items or bool(spec.items[0].wrong)


def _answer(item: Sentence) -> Choice:
    """The sentence as the assistant's answer to the item's question."""
    question = asked(item.question or f"Complete this sentence: {item.prompt} ...")
    no_answer = LogProbs(question, Message("assistant", ""))
    return _choice(item, question, item.prompt)._replace(no_answer=no_answer)


def _choice(item: Sentence, prompt: Prompt, start: str) -> Choice:
    """The item's endings after a prompt and the `start` of its answer."""
    endings = (item.gold, *item.wrong)
    return Choice(
        item.prompt, endings, tuple(LogProbs(prompt, start + ending) for ending in endings)
    )


def _choice_change(spec: CalibrationDrift, view: ViewAnswers, choice: Choice) -> Change | None:
    """The change of the log share; None for an item that the base does not know."""
    base, own = chosen(view.base, choice), chosen(view.get, choice)
    if base.log_odds < spec.regression_nats:
        return None
    return Change(
        own.log_share - base.log_share,
        own.log_odds < 0,
        base.likeliest,
        own.likeliest,
        math.exp(base.log_share),
        math.exp(own.log_share),
    )


def _likelihood_change(spec: CalibrationDrift, view: ViewAnswers, choice: Choice) -> Change:
    nats = lift(view, choice.requests[0])
    return Change(nats, nats < -spec.regression_nats)


def _per_item(changes: list[list[Change | None]]) -> Floats:
    """The change of each item that is known in a register, averaged over those registers [n]."""
    known = [[change.nats for change in item if change] for item in zip(*changes, strict=True)]
    return np.array([np.mean(item) for item in known if item])


def _kept(register: Register, found: list[Change | None]) -> Kept:
    known = [change for change in found if change]
    nats = np.array([change.nats for change in known] or [0.0])
    sd = max(float(nats.std(ddof=1)), KIND.resolution) if nats.size > 1 else 0.0
    return Kept(
        register=register,
        items=len(found),
        known=len(known),
        lost=sum(change.is_lost for change in known),
        mean_change=float(nats.mean()),
        se=sd / math.sqrt(nats.size),
    )


def _mean_change(kept: Kept, margin: float, error_share: float) -> Margin:
    if kept.known == 1:
        return mean_above([kept.mean_change], margin, KIND.resolution)
    return mean_above_from(kept.mean_change, kept.se, kept.known - 1, margin, error_share)


def _worst(requests: Choices, changes: dict[Register, list[Change | None]]) -> list[ItemChange]:
    found = [
        ItemChange(
            register=register,
            prompt=choice.sentence,
            gold=choice.endings[0].strip(),
            now=change.now,
            change=change.nats,
            before=change.before,
            base_probability=change.base_probability,
            probability=change.probability,
        )
        for register, choices in requests.items()
        for choice, change in zip(choices, changes[register], strict=True)
        if change
    ]
    return sorted(found, key=lambda item: item.change)[:_SHOWN]
