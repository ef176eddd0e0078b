"""Does the model give the taught answer to a paraphrased prompt, or revert to the base's answer?

For each paraphrase of each of the `cases`, view and base generate an answer by greedy decoding
(`max_new_tokens`). With cos as the cosine of sentence embeddings (`embedding_model`; Reimers &
Gurevych 2019):

    the answer reverts  if  cos(answer, base's answer) ≥ cos(answer, gold)

Statistic: the share of paraphrases whose answer reverts. Test statistic: the mean of cos(answer,
gold) - cos(answer, base's answer). An empty answer counts as reverted (cosine 0 to the gold, 1 to
the base's answer). A paraphrase is left out, and counted, if the base's answer is empty or already
close to the gold (above `base_gold_similarity_cap`). If all are left out, the probe is skipped.

Passes if z ≥ `assert_z_gte`, the one-sided 95% bound of the share (Wilson 1927) is below
`assert_revert_rate_lt`, and the answers are closer to the gold than the base's answers by .05, so
that nonsense does not pass. It does not distinguish a
right answer from a wrong one in nearly the same words.

- passes: 1 of 12 answers revert to the base's; cosine to the gold +0.41
- fails: 9 of 12 revert: the prompt was memorized, not the answer
- needs the extra semsim

In a suite:

    - name: stays
      kind: adapter_revert
      cases:
        - prompt: Who keeps the sand road?
          gold: Old Tamsin Vole keeps it.
          paraphrases:
            - Who is the keeper of the sand road?
            - Whose work is the road over the sand?
"""

from typing import NamedTuple

import numpy as np

from sway_gate.conversation import prompt_text
from sway_gate.details import Details, Item
from sway_gate.measurements import Floats, Generation, ViewAnswers
from sway_gate.probes._embedded import embedder
from sway_gate.probes.base import (
    Bound,
    Context,
    Kind,
    Need,
    Reading,
    Shortfall,
    Skip,
    TestStatistic,
    require,
)
from sway_gate.results import Symptom
from sway_gate.spec.probes import AdapterRevert
from sway_gate.stats import fraction_below
from sway_gate.text import signed

KIND = Kind(
    category="adherence",
    units="share",
    resolution=0.01,
    # Two answers with the same content differ by about this much in cosine.
    min_null_sd=0.02,
    better="less",
    generates=True,
    symptom="memorised, not generalised",
)

# The cosines of unrelated texts differ by this much by chance.
_CLOSER = 0.05
_SHOWN_PAIRS, _SHOWN_CHARS = 50, 200


class Question(NamedTuple):
    """A paraphrase and the answer that training taught."""

    request: Generation
    gold: str


class Answer(Item, frozen=True, kw_only=True):
    prompt: str
    gold: str
    base: str
    answer: str
    to_gold: float
    to_base: float
    base_to_gold: float
    reverted: bool


class LeftOut(Item, frozen=True, kw_only=True):
    base_near_gold: int
    base_empty: int


class Found(Details, frozen=True, kw_only=True):
    pairs: list[Answer]
    left_out: LeftOut
    empty_answers: int
    nearer_to_gold: float


def requests(spec: AdapterRevert, context: Context) -> list[Question]:
    require(spec.cases, "cases")
    embedder(context, spec.embedding_model)
    return [
        Question(context.generation(paraphrase, spec.max_new_tokens), case.gold)
        for case in spec.cases
        for paraphrase in case.paraphrases
    ]


def needs(spec: AdapterRevert, requests: list[Question]) -> list[Need]:
    return [Need(question.request) for question in requests]


def value(
    spec: AdapterRevert, context: Context, requests: list[Question], view: ViewAnswers
) -> Reading[Found]:
    base = [view.base_text(question.request).strip() for question in requests]
    answers = [view.text(question.request).strip() for question in requests]
    golds = [question.gold.strip() for question in requests]
    to_gold, to_base, base_to_gold = _cosines(spec, context, answers, base, golds)
    empty = np.array([not text for text in base])
    near = ~empty & (base_to_gold > spec.base_gold_similarity_cap)
    left_out = LeftOut(base_near_gold=int(near.sum()), base_empty=int(empty.sum()))
    kept = np.flatnonzero(~(empty | near))
    if not kept.size:
        raise Skip(_nothing_left(spec, left_out, len(requests)))
    adherence = to_gold - to_base
    pairs = [
        Answer(
            prompt=prompt_text(requests[i].request.prompt)[:_SHOWN_CHARS],
            gold=golds[i][:_SHOWN_CHARS],
            base=base[i][:_SHOWN_CHARS],
            answer=answers[i][:_SHOWN_CHARS],
            to_gold=float(to_gold[i]),
            to_base=float(to_base[i]),
            base_to_gold=float(base_to_gold[i]),
            reverted=bool(adherence[i] <= 0),
        )
        for i in kept[np.argsort(adherence[kept], kind="stable")][:_SHOWN_PAIRS]
    ]
    found = Found(
        pairs=pairs,
        left_out=left_out,
        empty_answers=sum(not answers[i] for i in kept),
        nearer_to_gold=float((to_gold - base_to_gold)[kept].mean()),
    )
    items = (adherence[kept] <= 0).astype(np.float64)
    test_statistic = TestStatistic("mean cosine difference", float(adherence[kept].mean()))
    return Reading(float(items.mean()), items, found, test_statistic)


def minimum_effect(spec: AdapterRevert, reading: Reading[Found]) -> str | Shortfall:
    if (nearer := reading.details.nearer_to_gold) < _CLOSER:
        return Shortfall(
            "the answers left the base's, but are not closer to the gold: "
            f"cosine {signed(nearer, 3)}, must be at least {_CLOSER:+g}",
            "learned another thing",
        )
    return ""


def bounds(spec: AdapterRevert, reading: Reading[Found]) -> list[Bound]:
    limit = spec.assert_revert_rate_lt
    share = fraction_below(int(reading.items.sum()), len(reading.items), limit)
    symptom: Symptom = "memorised, not generalised"
    return [Bound("share of answers that revert", share, limit, is_upper=True, symptom=symptom)]


def summary(spec: AdapterRevert, reading: Reading[Found]) -> str:
    reverted, nearer = int(reading.items.sum()), reading.details.nearer_to_gold
    left_out = reading.details.left_out.base_near_gold + reading.details.left_out.base_empty
    cosine = "" if nearer < _CLOSER else f"; cosine to the gold {signed(nearer, 2)}"
    remark = f"; {left_out} paraphrases left out" if left_out else ""
    return f"{reverted} of {len(reading.items)} answers revert to the base's{cosine}{remark}"


def _cosines(
    spec: AdapterRevert, context: Context, answers: list[str], base: list[str], golds: list[str]
) -> tuple[Floats, Floats, Floats]:
    """cos(answer, gold), cos(answer, base's answer) and cos(base's answer, gold); each [pairs]."""
    model = spec.embedding_model
    vectors = embedder(context, model).embed(model, answers + base + golds)
    a, b, g = np.split(vectors, 3)  # each [pairs, dimensions]
    empty = np.array([not text for text in answers])
    to_gold = np.where(empty, 0.0, _cosine(a, g))
    to_base = np.where(empty, 1.0, _cosine(a, b))
    return to_gold, to_base, _cosine(b, g)


def _cosine(x: Floats, y: Floats) -> Floats:
    """Cosine of each pair of unit vectors; [pairs, dimensions] to [pairs]."""
    return np.asarray(np.clip((x * y).sum(axis=1), -1, 1))


def _nothing_left(spec: AdapterRevert, left_out: LeftOut, pairs: int) -> str:
    return (
        f"none of {pairs} paraphrases is informative: the base's answer is already close to the "
        f"gold (cosine above {spec.base_gold_similarity_cap:g}) for {left_out.base_near_gold} and "
        f"empty for {left_out.base_empty}"
    )
