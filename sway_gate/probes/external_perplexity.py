"""Did training reduce the model's fluency on prose that is unrelated to the training data?

For each chunk of packaged public-domain prose (`corpus`: novels, essays, science, law, letters, …):
the change of the mean log-likelihood per token from the base's, in nats. Its negative is the change
of the log perplexity.

Statistic: the mean change over chunks. Harm probe: the one-sided 95% bound of the mean (Student's
t over chunks) must stay above the margin `assert_mean_delta_gte`; z is the distance to the margin
in standard errors. A mean outside the margin is a FAIL. A mean inside the margin with a bound
outside is inconclusive; more chunks decide.

`chunk_chars` and `max_chunks` set the amount of text; chunks are taken from the registers in turn.
It does not show which knowledge was lost: calibration_drift shows that. The prose is English.

- passes: mean change -0.020 nats per token over 16 chunks of general prose
- fails: mean change -0.400 nats per token: the perplexity rises by half

In a suite; `assert_z_gte` is accepted and has no effect, the margin decides:

    - name: reads
      kind: external_perplexity
"""

import numpy as np

from sway_gate.details import Details
from sway_gate.measurements import LogProbs, ViewAnswers
from sway_gate.probes.base import Bound, Context, Kind, Need, Reading
from sway_gate.spec.probes import ExternalPerplexity
from sway_gate.stats import mean_above
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


class Found(Details, frozen=True, kw_only=True):
    chunks: int
    base_nll_nats: float


def requests(spec: ExternalPerplexity, context: Context) -> list[LogProbs]:
    chunks = packaged.chunks(packaged.prose(), spec.chunk_chars, spec.max_chunks)
    return [LogProbs("", chunk) for chunk in chunks]


def needs(spec: ExternalPerplexity, requests: list[LogProbs]) -> list[Need]:
    return [Need(request) for request in requests]


def value(
    spec: ExternalPerplexity, context: Context, requests: list[LogProbs], view: ViewAnswers
) -> Reading[Found]:
    items = np.array([(view.get(r) - view.base(r)).mean() for r in requests])
    base = -float(np.mean([view.base(r).mean() for r in requests]))
    return Reading(float(items.mean()), items, Found(chunks=len(items), base_nll_nats=base))


def bounds(spec: ExternalPerplexity, reading: Reading[Found]) -> tuple[Bound, ...]:
    margin = spec.assert_mean_delta_gte
    return (Bound("mean change", mean_above(reading.items, margin, KIND.resolution), margin),)


def summary(spec: ExternalPerplexity, reading: Reading[Found]) -> str:
    count = len(reading.items)
    return f"mean change {reading.value:+.3f} nats per token over {count} chunks of general prose"
