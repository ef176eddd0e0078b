"""Did training reduce the model's fluency on prose that is unrelated to the training data?

For each chunk of packaged prose: the change of the mean log-likelihood per token from the base's,
in nats. Its negative is the change of the log perplexity. Prose is measured as text, without the
chat template: no assistant's turn consists of it. `corpus`:

- general_en (default): English of many registers (news, stories, manuals, letters, talk, ...),
  written for this package, so that no model has seen it in training;
- general_multi: the same in German, French, Spanish, Portuguese and Chinese. Damage to languages
  that the training data do not use appears first there;
- public_domain_en: English of the 18th and 19th century. Models have memorized parts of it.
  Such text loses several times as much as fresh prose, long before general fluency suffers.

Statistic: the mean change over chunks. Harm probe: the one-sided 95% bound of the mean (Student's
t over chunks) must stay above the margin `assert_mean_delta_gte`; z is the distance to the margin
in standard errors. The default of -.3 is a perplexity that is 35% higher. It is not tighter,
because training in a chat format moves a model away from prose before it harms the model's answers:
adapters of a base of 135M parameters that kept their answers and their knowledge lost up to .28,
noise and adapters that forgot .47 and more. By the law of Hoffmann et al. (2022) a model with half
the parameters loses .19 nats at 135M parameters, .09 at 1B and .05 at 7B, so that a tighter margin
suits larger models.

`max_chunks` chunks of at most `chunk_chars` characters are taken from passages that are spread over
the whole corpus, so that each register or language has its share. It does not show which knowledge
was lost: calibration_drift shows that. It does not show damage that exists only in the chat
template.

- passes: mean change -0.020 nats per token, over 24 chunks of prose (general_en), as text
- fails: mean change -0.400 nats per token: the model forgot how to write

In a suite; `assert_z_gte` is accepted and has no effect, the margin decides:

    - name: reads
      kind: external_perplexity
"""

from collections.abc import Sequence

import numpy as np

from sway_gate.details import Details
from sway_gate.measurements import LogProbs, ViewAnswers
from sway_gate.probes.base import Bound, Context, Kind, Need, Reading, Supply
from sway_gate.spec.probes import MAX_CHUNKS, ExternalPerplexity
from sway_gate.stats import mean_above
from sway_gate.text import counted
from sway_gate.training_data import packaged

KIND = Kind(
    category="calibration",
    units="nats/token",
    resolution=1e-3,
    better="more",
    best=0.0,
    harm=True,
    symptom="forgot",
)


class Found(Details, frozen=True, kw_only=True):
    chunks: int
    base_nll_nats: float


def requests(spec: ExternalPerplexity, context: Context) -> list[LogProbs]:
    return [LogProbs("", chunk) for chunk in _chunks(spec, spec.max_chunks)]


def _chunks(spec: ExternalPerplexity, limit: int) -> tuple[str, ...]:
    passages = _spread(packaged.prose(spec.corpus), limit)
    return packaged.chunks(passages, spec.chunk_chars, limit)


def _spread(passages: Sequence[str], limit: int) -> list[str]:
    """At most `limit` passages, evenly spaced, so that their order does not select a register."""
    count = min(limit, len(passages))
    return [passages[i * len(passages) // count] for i in range(count)]


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
    test = mean_above(reading.items, margin, KIND.resolution)
    supply = Supply(len(_chunks(spec, MAX_CHUNKS)), "packaged chunks of prose")
    return (Bound("mean change", test, margin, supply=supply),)


def summary(spec: ExternalPerplexity, reading: Reading[Found]) -> str:
    chunks = counted(len(reading.items), "chunk")
    return f"nats per token over {chunks} of prose ({spec.corpus}), as text"
