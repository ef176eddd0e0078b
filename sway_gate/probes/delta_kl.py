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

from sway_gate.measurements import Divergence, ViewAnswers
from sway_gate.probes.base import Context, Need, Reading, require
from sway_gate.spec.probes import DeltaKL

CATEGORY = "adherence"
UNITS = "nats"
HARM = False
GENERATES = False
PARTS = ""
PRIOR = None
SCALE = "log"
RESOLUTION = 1e-5
FLOOR = 0.02
ADVICE = "train longer, or check that the adapter is the one you trained and that the prompts are about its subject"


def needs(spec: DeltaKL, context: Context) -> list[Need]:
    require(spec.prompts, "prompts")
    return [Need(request) for request in _requests(spec, context)]


def value(spec: DeltaKL, context: Context, view: ViewAnswers) -> Reading:
    places = [view.get(request) for request in _requests(spec, context)]
    items = np.array([x.mean() for x in places])
    contrast = float(np.mean([np.sqrt(x).mean() for x in places]))
    per_prompt = [
        {"prompt": p, "divergence": float(x)} for p, x in zip(spec.prompts, items, strict=True)
    ]
    return Reading(
        float(items.mean()), items, {"divergence": spec.divergence, "prompts": per_prompt}, contrast
    )


def rule(spec: DeltaKL, reading: Reading) -> str:
    if reading.value >= spec.assert_mean_gte:
        return ""
    return f"mean divergence {reading.value:.2g} nats is below {spec.assert_mean_gte:g}"


def describe(spec: DeltaKL, reading: Reading) -> str:
    return (
        f"mean {spec.divergence.upper()} {reading.value:.3g} nats over {len(spec.prompts)} prompts"
    )


def _requests(spec: DeltaKL, context: Context) -> list[Divergence]:
    return [
        Divergence(prompt, spec.divergence, spec.positions, chat=context.asks(prompt))
        for prompt in spec.prompts
    ]
