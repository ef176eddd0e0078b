"""Did training cost the model fluency on prose that has nothing to do with it?

For each chunk of packaged public-domain prose (`corpus`: novels, essays, science, law, letters, …): the change of the
mean log-likelihood per token against the base, in nats; its negative is the change of log perplexity.

Statistic: the mean change over chunks. Harm: the one-sided 95 % bound of the mean (Student's t over chunks) must stay
above `assert_mean_delta_gte`; z is the distance to that margin in standard errors. Outside the margin is a FAIL;
inside, but not by 1.64 standard errors, is inconclusive: more chunks decide.

`chunk_chars` and `max_chunks` set how much is read; chunks are taken over the registers in turn. It cannot tell which
knowledge suffered: that is calibration_drift's. The prose is English, and nothing else is read.

- passes: mean change -0.020 nats per token over 16 chunks of general prose
- fails: mean change -0.400 nats per token: perplexity up by half

In a suite; `assert_z_gte` is accepted and has no effect, the margin decides:

    - name: reads
      kind: external_perplexity
"""

import numpy as np

from sway_gate.measurements import LogProbs, ViewAnswers
from sway_gate.probes.base import Context, Need, Reading
from sway_gate.spec.probes import ExternalPerplexity
from sway_gate.stats import Margin, mean_above
from sway_gate.training_data import packaged

CATEGORY = "calibration"
UNITS = "nats/token"
HARM = True
GENERATES = False
PARTS = ""
PRIOR = None
SCALE = "identity"
RESOLUTION = 1e-3
FLOOR = 1e-3
ADVICE = (
    "mix general text into the training data, or lower the learning rate or the number of steps"
)


def needs(spec: ExternalPerplexity, context: Context) -> list[Need]:
    return [Need(request) for request in _requests(spec)]


def value(spec: ExternalPerplexity, context: Context, view: ViewAnswers) -> Reading:
    requests = _requests(spec)
    items = np.array([(view.get(r) - view.base(r)).mean() for r in requests])
    base = -float(np.mean([view.base(r).mean() for r in requests]))
    return Reading(float(items.mean()), items, {"chunks": len(items), "base_nll_nats": base})


def margins(spec: ExternalPerplexity, reading: Reading) -> tuple[Margin, ...]:
    return (mean_above(reading.items, spec.assert_mean_delta_gte, RESOLUTION),)


def describe(spec: ExternalPerplexity, reading: Reading) -> str:
    return f"mean change {reading.value:+.3f} nats per token over {len(reading.items)} chunks of general prose"


def _requests(spec: ExternalPerplexity) -> list[LogProbs]:
    return [
        LogProbs("", chunk)
        for chunk in packaged.chunks(packaged.prose(), spec.chunk_chars, spec.max_chunks)
    ]
