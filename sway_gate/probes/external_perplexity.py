"""Did training reduce the model's fluency on prose that is unrelated to the training data?

For each chunk of packaged prose: the change of the mean log-likelihood per token from the base's,
in nats. Its negative is the change of the log perplexity. The value of a passage is the mean of its
chunks. Prose is measured as text, without the chat template: no assistant's turn consists of it.
`corpus`:

- general_en (default): English of many registers (news, stories, manuals, letters, talk, ...),
  written for this package, so that no model has seen it in training;
- general_multi: the same in German, French, Spanish, Portuguese and Chinese. Damage to languages
  that the training data do not use appears first there;
- public_domain_en: English of the 18th and 19th century. Models have memorized parts of it.
  Such text loses several times as much as fresh prose, long before general fluency suffers.

Statistic: the mean change over passages. Harm probe: the one-sided 95% bound of the mean (Student's
t over passages) must stay above the margin `assert_mean_delta_gte`; z is the distance to the margin
in standard errors. The chunks of a passage are correlated (intraclass correlation .2 to .65),
so that a passage counts once, regardless of their number (Donner & Klar 2000). More chunks per
passage narrow the interval, but less than as many passages would.

The default margin of -.4 is a perplexity that is 49% higher. It is not tighter, because training in
a chat format moves a model away from prose before it harms the model's answers. The base of 135M
parameters on which it was measured answers 71% of short knowledge questions right. Of 110 adapters
whose training answers, general answers and knowledge are not defective, those that lost up to .1
nats of prose answer 69% right (68 adapters), up to .2 64% (16), up to .3 66% (12), up to .4 66%
(9), and up to .7 58% (5). In the open data sets noise and adapters that forgot lost .47 and more.
By the law of Hoffmann et al. (2022) a model with half the parameters loses .19 nats at 135M
parameters, .09 at 1B and .05 at 7B, so that a tighter margin suits larger models.

`max_chunks` chunks of at most `chunk_chars` characters are taken from passages that are spread over
the whole corpus, so that each register or language has its share. If the change is outside the
margin and its interval reaches inside, three times as many chunks decide. It does not show which
knowledge was lost: calibration_drift shows that. It does not show damage that exists only in the
chat template.

- passes: 24 chunks of 22 passages of prose (general_en), as text; mean change in nats per token:
  -0.02
- fails: mean change in nats per token: -0.5: the perplexity rises by two thirds

In a suite; `assert_z_gte` is accepted and has no effect, the margin decides:

    - name: reads
      kind: external_perplexity
"""

from collections.abc import Sequence

import numpy as np
from msgspec import structs

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


_MORE = 3


class Found(Details, frozen=True, kw_only=True):
    chunks: int
    base_nll_nats: float


Passages = list[list[LogProbs]]
"""The chunks of each passage."""


def requests(spec: ExternalPerplexity, context: Context) -> Passages:
    return [[LogProbs("", chunk) for chunk in passage] for passage in _chunks(spec)]


def _chunks(spec: ExternalPerplexity) -> Sequence[Sequence[str]]:
    """The chunks of each passage."""
    passages = _spread(packaged.prose(spec.corpus), spec.max_chunks)
    return packaged.chunks_by_passage(passages, spec.chunk_chars, spec.max_chunks)


def _spread(passages: Sequence[str], limit: int) -> list[str]:
    """At most `limit` passages, evenly spaced, so that their order does not select a register."""
    count = min(limit, len(passages))
    return [passages[i * len(passages) // count] for i in range(count)]


def extended(spec: ExternalPerplexity) -> ExternalPerplexity | None:
    more = structs.replace(spec, max_chunks=min(_MORE * spec.max_chunks, MAX_CHUNKS))
    return more if _chunks(more) != _chunks(spec) else None


def needs(spec: ExternalPerplexity, requests: Passages) -> list[Need]:
    return [Need(chunk) for passage in requests for chunk in passage]


def value(
    spec: ExternalPerplexity, context: Context, requests: Passages, view: ViewAnswers
) -> Reading[Found]:
    items = np.array([np.mean([_change(view, chunk) for chunk in own]) for own in requests])
    chunks = [chunk for passage in requests for chunk in passage]
    base = -float(np.mean([view.base(chunk).mean() for chunk in chunks]))
    return Reading(float(items.mean()), items, Found(chunks=len(chunks), base_nll_nats=base))


def _change(view: ViewAnswers, chunk: LogProbs) -> float:
    """Change of the mean log-likelihood per token, in nats."""
    return float((view.get(chunk) - view.base(chunk)).mean())


def bounds(spec: ExternalPerplexity, reading: Reading[Found]) -> tuple[Bound, ...]:
    margin = spec.assert_mean_delta_gte
    test = mean_above(reading.items, margin, KIND.resolution, error_share=reading.error_share)
    supply = Supply(len(packaged.prose(spec.corpus)), "packaged passages of prose")
    return (Bound("mean change in nats per token", test, margin, supply=supply),)


def summary(spec: ExternalPerplexity, reading: Reading[Found]) -> str:
    chunks = counted(reading.details.chunks, "chunk")
    passages = counted(len(reading.items), "passage")
    return f"{chunks} of {passages} of prose ({spec.corpus}), as text"
