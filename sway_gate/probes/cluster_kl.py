"""Did training change the model on some topics more than on others, or everywhere alike, as noise does?

The `prompts` are sorted into `num_clusters` topics by k-means over their sentence embeddings (`embedding_model`;
seeded, the same topics for all views). For each prompt, the mean distance of the next-token distributions from the
base's, √JS (a metric: Endres & Schindelin 2003) or √KL by `divergence`, along the base's own greedy answer at
`positions` places; its logarithm, less the mean of the null adapters': some prompts leave a base in more doubt than
others, and any change moves those more. With MSB and MSW its mean squares between and within topics (one-way analysis
of variance; Fisher 1925):

    specificity = MSB / (MSB + MSW) = F / (1 + F)

Statistic: the specificity: around .5 where topics do not matter, .6 at F = 1.5, 1 where they explain everything. With
the nulls, on the same prompts and topics, F is compared as the normal quantile of its own distribution (Paulson 1942).
Its spread is 1 by theory and 1.15 over 500 nulls of each of two bases, as prompts of one topic resemble each other;
that counts as 20 nulls beside those that are drawn.

Passes when z ≥ `assert_z_gte`, the specificity is ≥ `assert_specificity_gte`, and some topic moves at all (distance
.02). Needs `min_prompts` different prompts, of the adapter's subject and of others, and two or more a topic. It cannot
tell which topic should have moved (the details list them), and an adapter that is meant to change everything alike, in
style or language, fails by design: leave the probe out for it.

- passes: specificity 0.94 over 5 topics, distance 0.08 to 0.41; +4.8σ above 8 null adapters
- fails: specificity 0.52 over 5 topics: the same distance everywhere
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

from sway_gate.details import Details, Item
from sway_gate.measurements import Divergence, Floats, ViewAnswers
from sway_gate.probes._embedded import embedder, k_means
from sway_gate.probes.base import CannotRun, Context, Kind, Need, Reading, require
from sway_gate.spec.probes import ClusterKL
from sway_gate.stats import Prior

KIND = Kind(
    category="adherence",
    units="specificity",
    scale="identity",
    resolution=1e-3,
    min_null_sd=0.25,
    null_sd_prior=Prior(sd=1.15, df=20),
    better="more",
    uses_null_mean=True,
    advice="train on the subject alone, or check that the prompts hold its subject beside others; see the topics",
)

# A distance of .02 is a divergence of .0004 nats: no reader would see the difference.
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
            f"{len(prompts)} different prompts, min_prompts asks for {spec.min_prompts}; give more of them"
        )
    if 2 * spec.num_clusters > len(prompts):
        raise CannotRun(
            f"num_clusters {spec.num_clusters} is too many for {len(prompts)} prompts; at most {len(prompts) // 2}"
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
    test_statistic = _quantile(specificity, len(topics) - 1, labels.size - len(topics))
    return Reading(specificity, np.array([specificity]), found, test_statistic)


def minimum_effect(spec: ClusterKL, reading: Reading[Found]) -> str:
    moved = max(topic.mean_distance for topic in reading.details.topics)
    if moved < _RESPONSE:
        return f"no topic moves: distance {moved:.1g} at most, {_RESPONSE:g} is asked for"
    if reading.value < spec.assert_specificity_gte:
        return f"the change differs too little between topics: {spec.assert_specificity_gte:g} is asked for"
    return ""


def summary(spec: ClusterKL, reading: Reading[Found]) -> str:
    distances = sorted(topic.mean_distance for topic in reading.details.topics)
    spread = f"distance {distances[0]:.2g} to {distances[-1]:.2g}"
    return f"specificity {reading.value:.2f} over {len(distances)} topics, {spread}"


def _distances(requests: list[Divergence], view: ViewAnswers) -> Floats:
    """Mean distance of each prompt, at least the resolution."""
    means = [float(np.sqrt(view.get(request)).mean()) for request in requests]
    return np.array([max(mean, KIND.resolution) for mean in means])


def _topics(spec: ClusterKL, context: Context, requests: list[Divergence]) -> tuple[int, ...]:
    """The topic number of each prompt, counted from 0 in order of appearance."""
    model, prompts = spec.embedding_model, [request.prompt for request in requests]
    vectors = embedder(context, model).embed(model, prompts)
    labels = k_means(vectors.shape, vectors.tobytes(), spec.num_clusters, context.seed)
    if len(set(labels)) < 2:
        raise CannotRun(
            "the prompts are all alike to the embedding model: give prompts on several topics"
        )
    return labels


def _specificity(values: Floats, labels: NDArray[np.int64]) -> float:
    """MSB / (MSB + MSW) of `values` [n] over the groups 0 … k-1 of `labels` [n], 2 ≤ k < n; .5 if all are equal."""
    if np.ptp(values) <= 1e-12 * np.abs(values).max():
        return 0.5
    sizes = np.bincount(labels)
    means = np.bincount(labels, values) / sizes
    between = float((sizes * (means - values.mean()) ** 2).sum()) / (sizes.size - 1)
    within = float(((values - means[labels]) ** 2).sum()) / (values.size - sizes.size)
    return between / (between + within)


def _quantile(specificity: float, between: int, within: int) -> float:
    """Approximate normal quantile with the upper tail of F = specificity / (1 - specificity).

    `between` and `within` are its degrees of freedom, both ≥ 1 (Paulson 1942); finite also at 0 and 1.
    """
    a, b = 2 / (9 * between), 2 / (9 * within)
    top, bottom = math.cbrt(specificity), math.cbrt(1 - specificity)
    return ((1 - b) * top - (1 - a) * bottom) / math.sqrt(b * top**2 + a * bottom**2)
