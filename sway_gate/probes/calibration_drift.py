"""Did training make the model forget general knowledge?

For each item, a short statement with its true ending: the change of the ending's mean
log-likelihood per token from the base's, in nats. An item that loses more than `regression_nats`
has regressed.

Statistic: the mean change over items. Harm probe with two margins, each tested with its one-sided
95% bound over items: the share of regressed items must stay below `assert_fraction_regressed_lt`
(score test; Wilson 1927), and the mean change above `assert_mean_delta_gte` (Student's t). z is the
smaller distance to a margin, in standard errors. An estimate outside its margin is a FAIL. A bound
outside its margin is inconclusive; more items decide.

Items are the packaged set (`pack`, 195 items) or your own `items` as [prompt, ending];
`items_limit` keeps only the first ones. It does not show what the model never knew: an item that is
unlikely under the base has little to lose.

- passes: 1 of 160 items lost more than 1 nat per token; mean change -0.040
- fails: 61 of 160 items lost more than 1 nat per token; mean change -1.200

In a suite; `assert_z_gte` is accepted and has no effect, the margins decide:

    - name: knows
      kind: calibration_drift
"""

import numpy as np

from sway_gate.conversation import completion_text, prompt_text
from sway_gate.details import Details, Item
from sway_gate.measurements import LogProbs, ViewAnswers
from sway_gate.probes.base import Bound, Context, Kind, Need, Reading
from sway_gate.spec.probes import CalibrationDrift
from sway_gate.stats import fraction_below, mean_above
from sway_gate.training_data import packaged

KIND = Kind(
    category="calibration",
    units="nats/token",
    scale="identity",
    resolution=1e-3,
    min_null_sd=1e-3,
    better="more",
    best=0.0,
    harm=True,
    symptom="forgot",
)

_SHOWN = 5


class ItemChange(Item, frozen=True, kw_only=True):
    prompt: str
    gold: str
    delta_nats: float


class Found(Details, frozen=True, kw_only=True):
    items: int
    regressed: int
    worst: list[ItemChange]


def requests(spec: CalibrationDrift, context: Context) -> list[LogProbs]:
    return [LogProbs(*item) for item in (spec.items or packaged.knowledge())[: spec.items_limit]]


def needs(spec: CalibrationDrift, requests: list[LogProbs]) -> list[Need]:
    return [Need(request) for request in requests]


def value(
    spec: CalibrationDrift, context: Context, requests: list[LogProbs], view: ViewAnswers
) -> Reading[Found]:
    items = np.array([(view.get(r) - view.base(r)).mean() for r in requests])
    worst = [
        ItemChange(
            prompt=prompt_text(requests[i].prompt),
            gold=completion_text(requests[i].completion),
            delta_nats=float(items[i]),
        )
        for i in np.argsort(items, kind="stable")[:_SHOWN]
    ]
    regressed = int((items < -spec.regression_nats).sum())
    found = Found(items=len(items), regressed=regressed, worst=worst)
    return Reading(float(items.mean()), items, found)


def bounds(spec: CalibrationDrift, reading: Reading[Found]) -> tuple[Bound, ...]:
    fraction, mean = spec.assert_fraction_regressed_lt, spec.assert_mean_delta_gte
    regressed = fraction_below(reading.details.regressed, len(reading.items), fraction)
    change = mean_above(reading.items, mean, KIND.resolution)
    return (
        Bound("share of regressed items", regressed, fraction, is_upper=True),
        Bound("mean change", change, mean),
    )


def summary(spec: CalibrationDrift, reading: Reading[Found]) -> str:
    unit = "nat" if spec.regression_nats == 1 else "nats"
    return (
        f"{reading.details.regressed} of {len(reading.items)} items lost more than "
        f"{spec.regression_nats:g} {unit} per token; mean change {reading.value:+.3f}"
    )
