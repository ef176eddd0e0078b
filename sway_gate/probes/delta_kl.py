"""Did training change what the model says after these prompts, by more than an untrained adapter of its size would?

Statistic: the mean divergence of the next-token distributions from the base's, over the whole vocabulary, in nats.
`divergence` names it: `js` is Jensen-Shannon, at most ln 2 = 0.693 (Lin 1991); `kl` is KL(fine-tuned || base). It is
read after each of the `prompts` and along the base's own greedy answer, at `positions` places (1: after the prompt
only), the same for all views.
With the nulls the mean of its square root is compared, on the logarithm: the root of JS is a metric, and one prompt on
which every change is large weighs less in it.

Passes when z ≥ `assert_z_gte` and the mean is ≥ `assert_mean_gte`: a z alone never passes a change too small to matter.
It cannot tell whether the change is for the better, nor toward what: that is section_internalization's. Take prompts
about the adapter's subject: on others a good adapter may change little.

- passes: mean JS 0.21 nats over 8 prompts; +6.2σ above 8 null adapters
- fails: mean JS 0.004 nats over 8 prompts; +0.3σ: what random directions of the same size do
- fails: mean JS 2.8e-08 nats, +4.5σ: not by chance, but far too small to matter

In a suite; `top_k` is accepted and has no effect, nothing is truncated:

    - name: moved
      kind: delta_kl
      prompts: [The keeper of the sand road is, The island lives by]
"""

import numpy as np

from sway_gate.details import Details, Item
from sway_gate.measurements import Divergence, ViewAnswers
from sway_gate.probes.base import Context, Kind, Need, Reading, require
from sway_gate.spec.probes import DeltaKL

KIND = Kind(
    category="adherence",
    units="nats",
    scale="log",
    resolution=1e-5,
    min_null_sd=0.02,
    better="not less",
    advice="train longer, or check that the adapter is the one you trained and that the prompts are about its subject",
)


class PromptDivergence(Item, frozen=True, kw_only=True):
    prompt: str
    divergence: float


class Found(Details, frozen=True, kw_only=True):
    divergence: str
    prompts: list[PromptDivergence]


def requests(spec: DeltaKL, context: Context) -> list[Divergence]:
    require(spec.prompts, "prompts")
    return [context.divergence(prompt, spec) for prompt in spec.prompts]


def needs(spec: DeltaKL, requests: list[Divergence]) -> list[Need]:
    return [Need(request) for request in requests]


def value(
    spec: DeltaKL, context: Context, requests: list[Divergence], view: ViewAnswers
) -> Reading[Found]:
    by_position = [view.get(request) for request in requests]
    items = np.array([x.mean() for x in by_position])
    test_statistic = float(np.mean([np.sqrt(x).mean() for x in by_position]))
    prompts = [
        PromptDivergence(prompt=prompt, divergence=float(x))
        for prompt, x in zip(spec.prompts, items, strict=True)
    ]
    found = Found(divergence=spec.divergence, prompts=prompts)
    return Reading(float(items.mean()), items, found, test_statistic)


def minimum_effect(spec: DeltaKL, reading: Reading[Found]) -> str:
    if reading.value >= spec.assert_mean_gte:
        return ""
    return f"mean divergence {reading.value:.2g} nats is below {spec.assert_mean_gte:g}"


def summary(spec: DeltaKL, reading: Reading[Found]) -> str:
    return (
        f"mean {spec.divergence.upper()} {reading.value:.3g} nats over {len(spec.prompts)} prompts"
    )
