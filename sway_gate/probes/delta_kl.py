"""Does the adapter change the output after these prompts more than a null adapter does?

Statistic: the mean divergence of the next-token distributions from the base's, over the whole
vocabulary, in nats. `divergence: js` is Jensen-Shannon, at most ln 2 = 0.693 (Lin 1991); `kl` is
KL(fine-tuned || base). It is measured after each of the `prompts`, teacher-forced along the base's
own greedy answer, at `positions` token positions (1: after the prompt only). The positions are the
same for all views. Test statistic: the mean of the square root of the divergence, compared with the
nulls on the log scale. The root of JS is a metric, and a single prompt with a large change weighs
less in it.

If the nulls change as much, the adapter was never trained. But if its JS after most prompts is .3
or more, random weights of its size break the model, too: then it is diverged or broken.

The share of these positions at which the most probable token changes is reported next to it.

Passes if z ≥ `assert_z_gte` and the one-sided 95% bound of the mean (Student's t of its logarithm,
over prompts, with a prior for few prompts) is above `assert_mean_gte`: a change that is too small
to matter fails at any z. On a base of 135M parameters, two training steps at a tiny rate read .0004
(3% of the next tokens change), training on preferences .0065 (8 to 11%). It does not show whether
the change is an improvement, or what was learned: answer_specificity shows that. Use prompts about
the adapter's subject: on other prompts a good adapter may change little.

On a server (`kind: api`) the divergence is a lower bound, because only the most probable tokens are
known: a pass holds for the whole vocabulary, a change of rare tokens only can fail.

- passes: 41% of the next tokens change, over 8 prompts; +6.2σ above 8 null adapters
- fails: indistinguishable from 8 null adapters (+0.3σ); 2% of the next tokens change
- fails: mean divergence 2.8e-08 nats, +4.5σ: significant, but far too small

In a suite; `top_k` is accepted and has no effect, the vocabulary is not truncated:

    - name: moved
      kind: delta_kl
      prompts: [The keeper of the sand road is, The island lives by]
"""

from dataclasses import replace
from typing import NamedTuple

import numpy as np
from msgspec import UNSET, UnsetType, structs

from sway_gate.details import Details, Item
from sway_gate.measurements import Divergence, ViewAnswers
from sway_gate.probes.base import Bound, Context, Kind, Need, Reading, TestStatistic, require
from sway_gate.results import Symptom
from sway_gate.spec.probes import DeltaKL
from sway_gate.stats import Prior, positive_mean_above
from sway_gate.text import counted

KIND = Kind(
    category="adherence",
    units="nats",
    scale="log",
    resolution=1e-5,
    min_null_sd=0.02,
    better="not less",
    takes_lower_bounds=True,
    null_sd_prior=Prior(sd=0.1, df=20),
    symptom="never trained",
)


# Divergences of prompts differ by about half of their mean to all of it; weighs like 5 prompts.
_PROMPTS = Prior(sd=0.7, df=4)
# Nats. If most next tokens change, random weights of this size break the model, too, and the
# comparison with them does not show that the adapter was never trained.
_SATURATED = 0.3


class PromptDivergence(Item, frozen=True, kw_only=True):
    """`register`: template, or text that is continued. `changed`: share of the next tokens."""

    prompt: str
    register: str = "text"
    divergence: float
    changed: float | UnsetType = UNSET


class Requests(NamedTuple):
    divergences: list[Divergence]
    argmax: list[Divergence]


class Found(Details, frozen=True, kw_only=True):
    divergence: str
    changed: float | UnsetType = UNSET
    """Share of the next tokens whose most probable one changes; of the fine-tuned view only."""
    prompts: list[PromptDivergence]


def requests(spec: DeltaKL, context: Context) -> Requests:
    require(spec.prompts, "prompts")
    found = [context.divergence(prompt, spec) for prompt in spec.prompts]
    return Requests(found, [replace(request, divergence="argmax") for request in found])


def needs(spec: DeltaKL, requests: Requests) -> list[Need]:
    compared = [Need(request) for request in requests.divergences]
    return compared + [Need(request, of_nulls=False) for request in requests.argmax]


def value(spec: DeltaKL, context: Context, requests: Requests, view: ViewAnswers) -> Reading[Found]:
    by_position = [view.get(request) for request in requests.divergences]
    items = np.array([x.mean() for x in by_position])
    root = float(np.mean([np.sqrt(x).mean() for x in by_position]))
    test_statistic = TestStatistic(f"mean √{spec.divergence.upper()}", root)
    prompts = [
        PromptDivergence(
            prompt=prompt,
            register="text" if isinstance(request.prompt, str) else "template",
            divergence=float(x),
        )
        for prompt, request, x in zip(spec.prompts, requests.divergences, items, strict=True)
    ]
    found = Found(divergence=spec.divergence, prompts=prompts)
    is_saturated = spec.divergence == "js" and np.median(items) >= _SATURATED
    symptom: Symptom | None = "broken" if is_saturated else None
    return Reading(float(items.mean()), items, found, test_statistic, symptom=symptom)


def details(spec: DeltaKL, context: Context, requests: Requests, view: ViewAnswers) -> Found:
    found = value(spec, context, requests, view).details
    changed = [view.get(request) for request in requests.argmax]
    prompts = [
        structs.replace(prompt, changed=float(x.mean()))
        for prompt, x in zip(found.prompts, changed, strict=True)
    ]
    mean = float(np.mean([x.mean() for x in changed]))
    return structs.replace(found, changed=mean, prompts=prompts)


def bounds(spec: DeltaKL, reading: Reading[Found]) -> list[Bound]:
    least = spec.assert_mean_gte
    test = positive_mean_above(reading.items, least, KIND.resolution, _PROMPTS)
    return [Bound("mean divergence", test, least, symptom="barely trained")]


def summary(spec: DeltaKL, reading: Reading[Found]) -> str:
    prompts = counted(len(spec.prompts), "prompt")
    return f"{reading.details.changed:.0%} of the next tokens change, over {prompts}"
