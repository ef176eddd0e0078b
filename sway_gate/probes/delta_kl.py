"""Does the adapter change the output after these prompts more than a null adapter does?

Statistic: the mean divergence of the next-token distributions from the base's, over the whole
vocabulary, in nats. `divergence: js` is Jensen-Shannon, at most ln 2 = 0.693 (Lin 1991); `kl` is
KL(fine-tuned || base). It is measured after each of the `prompts`, teacher-forced along the base's
own greedy answer, at `positions` token positions (1: after the prompt only). The positions are the
same for all views. Test statistic: the mean of the square root of the divergence, compared with the
nulls on the log scale. The root of JS is a metric, and a single prompt with a large change weighs
less in it.

Passes if z ≥ `assert_z_gte` and the mean is ≥ `assert_mean_gte`: a change that is too small to
matter fails at any z. It does not show whether the change is an improvement, or what was learned:
section_internalization shows that. Use prompts about the adapter's subject: on other prompts a good
adapter may change little.

- passes: mean JS 0.21 nats over 8 prompts; +6.2σ above 8 null adapters
- fails: mean JS 0.004 nats over 8 prompts; +0.3σ: the same as random directions of this size
- fails: mean JS 2.8e-08 nats, +4.5σ: significant, but far too small to matter

In a suite; `top_k` is accepted and has no effect, the vocabulary is not truncated:

    - name: moved
      kind: delta_kl
      prompts: [The keeper of the sand road is, The island lives by]
"""

import numpy as np

from sway_gate.details import Details, Item
from sway_gate.measurements import Divergence, ViewAnswers
from sway_gate.probes.base import Context, Kind, Need, Reading, TestStatistic, require
from sway_gate.spec.probes import DeltaKL

KIND = Kind(
    category="adherence",
    units="nats",
    scale="log",
    resolution=1e-5,
    min_null_sd=0.02,
    better="not less",
    symptom="never trained",
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
    root = float(np.mean([np.sqrt(x).mean() for x in by_position]))
    test_statistic = TestStatistic(f"mean √{spec.divergence.upper()}", root)
    prompts = [
        PromptDivergence(prompt=prompt, divergence=float(x))
        for prompt, x in zip(spec.prompts, items, strict=True)
    ]
    found = Found(divergence=spec.divergence, prompts=prompts)
    return Reading(float(items.mean()), items, found, test_statistic)


def minimum_effect(spec: DeltaKL, reading: Reading[Found]) -> str:
    if reading.value >= spec.assert_mean_gte:
        return ""
    return (
        f"mean divergence {reading.value:.2g} nats is below the required {spec.assert_mean_gte:g}"
    )


def summary(spec: DeltaKL, reading: Reading[Found]) -> str:
    return (
        f"mean {spec.divergence.upper()} {reading.value:.3g} nats over {len(spec.prompts)} prompts"
    )
