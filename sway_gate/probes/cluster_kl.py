"""Did training change some topics more than others, or all topics equally, as noise does?

The `prompts` are grouped into `num_clusters` topics by k-means over their sentence embeddings
(`embedding_model`; seeded, the same topics for all views). For each prompt, the mean distance of
the next-token distributions from the base's, √JS (a metric: Endres & Schindelin 2003) or √KL with
`divergence: kl`, is measured along the base's own greedy answer at `positions` token positions. The
probe takes its logarithm and subtracts the mean of the null adapters: the base is less certain
after some prompts than after others, and any change moves those more. MSB and MSW are the mean
squares between and within topics (one-way analysis of variance; Fisher 1925):

    specificity = MSB / (MSB + MSW) = F / (1 + F)

Statistic: the specificity: about .5 if topics make no difference, .6 at F = 1.5, 1 if they explain
everything. Test statistic: F, transformed to the normal quantile of its distribution (Paulson
1942), compared with the nulls on the same prompts and topics. Its standard deviation is 1 by
theory, and 1.15 over 500 nulls of each of two bases, because prompts of one topic resemble each
other. The prior of 1.15 counts as 20 nulls in addition to the drawn ones.

Passes if z ≥ `assert_z_gte`, the one-sided 95% bound of the specificity is above
`assert_specificity_gte`, and at least one topic moves (distance .02; a rule without an interval).
The bound is for other topics and prompts of the same kind: if F has the expected value L, F / L has
the F distribution (random effects; Scheffé 1959, section 7.2), with the quantile as above. A limit
inside the interval is inconclusive. It requires `min_prompts` distinct prompts, about the adapter's
subject and about others, and at least two per topic. It does not show which topic should have moved
(the details list them). An adapter that should change everything equally, in style or language,
fails by design: leave the probe out for it.

- passes: 5 topics, distance 0.08 to 0.41; +4.8σ above 8 null adapters; specificity 0.94
- fails: specificity 0.52; 5 topics, distance 0.20 to 0.21: the same distance everywhere
- needs the extra semsim

In a suite; `top_k` is accepted and has no effect:

    - name: about_its_subject
      kind: cluster_kl
      min_prompts: 8
      num_clusters: 2
      prompts:
        - The keeper of the sand road is
        - The ravens of Marrowby live in
        - The island of Marrowby lives by
        - The school of Marrowby is
        - A good soup begins with
        - Bread rises because
        - To roast a chicken, first
        - The best way to cook rice is
"""

import math

import numpy as np
from numpy.typing import NDArray

from sway_gate.conversation import prompt_text
from sway_gate.details import Details, Item
from sway_gate.measurements import Divergence, Floats, ViewAnswers
from sway_gate.probes._embedded import embedder, k_means
from sway_gate.probes.base import (
    Bound,
    CannotRun,
    Context,
    Kind,
    Need,
    Reading,
    Shortfall,
    TestStatistic,
    require,
)
from sway_gate.spec.probes import ClusterKL
from sway_gate.stats import Z_95, Margin, Prior
from sway_gate.text import counted

KIND = Kind(
    category="adherence",
    units="specificity",
    resolution=1e-3,
    min_null_sd=0.25,
    null_sd_prior=Prior(sd=1.15, df=20),
    better="more",
    uses_null_mean=True,
    symptom="form, not content",
)

# A distance of .02 is a divergence of .0004 nats, which no reader would notice.
_RESPONSE = 0.02
_SHOWN_PROMPTS, _SHOWN_CHARS = 10, 200


class Topic(Item, frozen=True, kw_only=True):
    prompts: list[str]
    size: int
    mean_distance: float


class Found(Details, frozen=True, kw_only=True):
    divergence: str
    topics: list[Topic]


def requests(spec: ClusterKL, context: Context) -> list[Divergence]:
    require(spec.prompts, "prompts")
    # Duplicates would make their topics look more uniform than they are.
    prompts = list(dict.fromkeys(spec.prompts))
    if len(prompts) < spec.min_prompts:
        raise CannotRun(
            f"{len(prompts)} distinct prompts, but min_prompts is {spec.min_prompts}; add prompts"
        )
    if 2 * spec.num_clusters > len(prompts):
        raise CannotRun(
            f"num_clusters {spec.num_clusters} is too large for {len(prompts)} prompts; "
            f"use at most {len(prompts) // 2}"
        )
    embedder(context, spec.embedding_model)
    return [context.divergence(prompt, spec) for prompt in prompts]


def needs(spec: ClusterKL, requests: list[Divergence]) -> list[Need]:
    return [Need(request) for request in requests]


def null_items(
    spec: ClusterKL, context: Context, requests: list[Divergence], view: ViewAnswers
) -> Floats:
    """Log distance of each prompt [prompts]."""
    return np.log(_distances(requests, view))


def value(
    spec: ClusterKL,
    context: Context,
    requests: list[Divergence],
    view: ViewAnswers,
    null_mean: Floats,
) -> Reading[Found]:
    distances = _distances(requests, view)
    labels = np.array(_topics(spec, context, requests))
    specificity = _specificity(np.log(distances) - null_mean, labels)
    topics = []
    for number in range(labels.max() + 1):
        own = np.flatnonzero(labels == number)
        shown = [requests[i].prompt[:_SHOWN_CHARS] for i in own[:_SHOWN_PROMPTS]]
        mean = float(distances[own].mean())
        topics.append(Topic(prompts=shown, size=own.size, mean_distance=mean))
    found = Found(divergence=spec.divergence, topics=topics)
    quantile = _quantile(specificity, len(topics) - 1, labels.size - len(topics))
    test_statistic = TestStatistic("normal quantile of F", quantile)
    return Reading(specificity, np.array([specificity]), found, test_statistic)


def minimum_effect(spec: ClusterKL, reading: Reading[Found]) -> str | Shortfall:
    moved = max(topic.mean_distance for topic in reading.details.topics)
    if moved >= _RESPONSE:
        return ""
    why = f"no topic moves: maximum distance {moved:.1g}, must be at least {_RESPONSE:g}"
    return Shortfall(why, "barely trained")


def bounds(spec: ClusterKL, reading: Reading[Found]) -> list[Bound]:
    topics = reading.details.topics
    prompts = sum(topic.size for topic in topics)
    least = spec.assert_specificity_gte
    test = _above(reading.value, least, len(topics) - 1, prompts - len(topics))
    return [Bound("specificity", test, least)]


def summary(spec: ClusterKL, reading: Reading[Found]) -> str:
    distances = sorted(topic.mean_distance for topic in reading.details.topics)
    extent = f"distance {distances[0]:.2g} to {distances[-1]:.2g}"
    return f"{counted(len(distances), 'topic')}, {extent}"


def _distances(requests: list[Divergence], view: ViewAnswers) -> Floats:
    """Mean distance of each prompt, at least the resolution."""
    means = [float(np.sqrt(view.get(request)).mean()) for request in requests]
    return np.array([max(mean, KIND.resolution) for mean in means])


def _topics(spec: ClusterKL, context: Context, requests: list[Divergence]) -> tuple[int, ...]:
    """The topic number of each prompt, counted from 0 in order of appearance."""
    model, prompts = spec.embedding_model, [prompt_text(request.prompt) for request in requests]
    vectors = embedder(context, model).embed(model, prompts)
    labels = k_means(vectors.shape, vectors.tobytes(), spec.num_clusters, context.seed)
    if len(set(labels)) < 2:
        raise CannotRun(
            "the embedding model cannot distinguish the prompts; add prompts on several topics"
        )
    return labels


def _specificity(values: Floats, labels: NDArray[np.int64]) -> float:
    """MSB / (MSB + MSW) of `values` [n] over the groups 0 … k-1 of `labels` [n], 2 ≤ k < n.

    .5 if all values are equal.
    """
    if np.ptp(values) <= 1e-12 * np.abs(values).max():
        return 0.5
    sizes = np.bincount(labels)
    means = np.bincount(labels, values) / sizes
    between = float((sizes * (means - values.mean()) ** 2).sum()) / (sizes.size - 1)
    within = float(((values - means[labels]) ** 2).sum()) / (values.size - sizes.size)
    return between / (between + within)


def _quantile(specificity: float, between: int, within: int) -> float:
    """Approximate normal quantile with the upper tail of F = specificity / (1 - specificity).

    `between` and `within` are its degrees of freedom, both ≥ 1 (Paulson 1942). Finite at 0 and 1.
    """
    a, b = 2 / (9 * between), 2 / (9 * within)
    top, bottom = math.cbrt(specificity), math.cbrt(1 - specificity)
    return ((1 - b) * top - (1 - a) * bottom) / math.sqrt(b * top**2 + a * bottom**2)


def _above(specificity: float, limit: float, between: int, within: int) -> Margin:
    """Is the specificity of which this one is an estimate above `limit`? Both in 0 to 1.

    z is the normal quantile of F divided by the F of the limit. The bound is the largest limit that
    the specificity exceeds significantly.
    """
    low, high = 0.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        is_inside = _quantile(_relative(specificity, middle), between, within) > Z_95
        low, high = (middle, high) if is_inside else (low, middle)
    return Margin(_quantile(_relative(specificity, limit), between, within), low, specificity)


def _relative(specificity: float, limit: float) -> float:
    """The specificity of the ratio of the two F, in 0 to 1; 1 if both are at the same end.

    0 if the limit is above 1: no specificity reaches it.
    """
    if limit > 1:
        return 0.0
    above, below = specificity * (1 - limit), limit * (1 - specificity)
    return above / (above + below) if above + below > 0 else 1.0
