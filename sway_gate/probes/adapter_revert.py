"""Asked in other words, does the model answer what it was taught, or does it go back to the base's answer?

For each paraphrase of each of the `cases`, view and base write an answer by greedy decoding (`max_new_tokens`); with
cos the cosine of sentence embeddings (`embedding_model`; Reimers & Gurevych 2019):

    the answer reverts  if  cos(answer, base's answer) ≥ cos(answer, gold)

Statistic: the share of paraphrases whose answer reverts. With the nulls the mean of cos(answer, gold) - cos(answer,
base's answer) is compared. An answer without text reverts fully (0 to the gold, 1 to the base's). A paraphrase whose
base answer is near the gold already (above `base_gold_similarity_cap`) or empty cannot tell and is left out, counted;
where none is left, the probe is skipped.

Passes when z ≥ `assert_z_gte`, the share is < `assert_revert_rate_lt`, and the answers are nearer to the gold than the
base's were by .05: leaving the base's answers for nonsense is no adherence. It cannot tell a right answer from a
wrong one in nearly the same words.

- passes: 1 of 12 answers revert to the base's; cosine to the gold +0.41
- fails: 9 of 12 revert: the prompt was learned by heart, not the answer
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

import numpy as np

from sway_gate.measurements import Floats, Generation, ViewAnswers
from sway_gate.probes._embedded import embedder
from sway_gate.probes.base import Context, Need, Reading, Skip, require
from sway_gate.spec.probes import AdapterRevert

CATEGORY = "adherence"
UNITS = "share"
HARM = False
GENERATES = True
PARTS = ""
PRIOR = None
SCALE = "identity"
RESOLUTION = 0.01
# Two answers that say the same differ by about this much in cosine.
FLOOR = 0.02
ADVICE = "train on more ways to ask the same, or for longer; the reverted paraphrases are listed in the details"

# Unrelated texts are this far apart from each other by chance.
_NEARER = 0.05
_SHOWN_PAIRS, _SHOWN_CHARS = 50, 200


def needs(spec: AdapterRevert, context: Context) -> list[Need]:
    require(spec.cases, "cases")
    embedder(context, spec.embedding_model)
    return [Need(request) for request, _ in _pairs(spec, context)]


def value(spec: AdapterRevert, context: Context, view: ViewAnswers) -> Reading:
    pairs = _pairs(spec, context)
    base, answers = ([text(r).strip() for r, _ in pairs] for text in (view.base_text, view.text))
    golds = [gold.strip() for _, gold in pairs]
    to_gold, to_base, base_to_gold = _cosines(spec, context, answers, base, golds)
    empty = np.array([not text for text in base])
    near = ~empty & (base_to_gold > spec.base_gold_similarity_cap)
    kept = np.flatnonzero(~(empty | near))
    left_out = {"base_near_gold": int(near.sum()), "base_empty": int(empty.sum())}
    if not kept.size:
        raise Skip(_nothing_left(spec, left_out, len(pairs)))
    adherence = to_gold - to_base
    shown = [
        {
            "prompt": pairs[i][0].prompt[:_SHOWN_CHARS],
            "gold": golds[i][:_SHOWN_CHARS],
            "base": base[i][:_SHOWN_CHARS],
            "answer": answers[i][:_SHOWN_CHARS],
            "to_gold": float(to_gold[i]),
            "to_base": float(to_base[i]),
            "base_to_gold": float(base_to_gold[i]),
            "reverted": bool(adherence[i] <= 0),
        }
        for i in kept[np.argsort(adherence[kept], kind="stable")][:_SHOWN_PAIRS]
    ]
    items = (adherence[kept] <= 0).astype(np.float64)
    details = {
        "pairs": shown,
        "left_out": left_out,
        "empty_answers": sum(not answers[i] for i in kept),
        "nearer_to_gold": float((to_gold - base_to_gold)[kept].mean()),
    }
    return Reading(float(items.mean()), items, details, float(adherence[kept].mean()))


def rule(spec: AdapterRevert, reading: Reading) -> str:
    if reading.value >= spec.assert_revert_rate_lt:
        return f"{reading.value:.0%} of the answers revert; below {spec.assert_revert_rate_lt:.0%} is asked for"
    if (nearer := reading.details["nearer_to_gold"]) < _NEARER:
        return f"the answers left the base's, but not for the gold: cosine {nearer:+.3f}, {_NEARER:+g} is asked for"
    return ""


def describe(spec: AdapterRevert, reading: Reading) -> str:
    reverted, nearer = int(reading.items.sum()), reading.details["nearer_to_gold"]
    return (
        f"{reverted} of {len(reading.items)} answers revert to the base's; cosine to the gold {nearer:+.2f}"
        + (
            f"; {left_out} paraphrases cannot tell"
            if (left_out := sum(reading.details["left_out"].values()))
            else ""
        )
    )


def _pairs(spec: AdapterRevert, context: Context) -> list[tuple[Generation, str]]:
    """Each paraphrase, as what is to be written after it, with the gold answer."""
    return [
        (Generation(paraphrase, spec.max_new_tokens, context.asks(paraphrase)), case.gold)
        for case in spec.cases
        for paraphrase in case.paraphrases
    ]


def _cosines(
    spec: AdapterRevert, context: Context, answers: list[str], base: list[str], golds: list[str]
) -> tuple[Floats, Floats, Floats]:
    """For each pair cos(answer, gold), cos(answer, base's answer) and cos(base's answer, gold), each [pairs]."""
    vectors = embedder(context, spec.embedding_model).embed(
        spec.embedding_model, answers + base + golds
    )
    a, b, g = np.split(vectors, 3)  # each [pairs, dimensions]
    silent = np.array([not text for text in answers])
    to_gold, to_base, base_to_gold = (
        np.clip((x * y).sum(axis=1), -1, 1) for x, y in ((a, g), (a, b), (b, g))
    )
    return np.where(silent, 0.0, to_gold), np.where(silent, 1.0, to_base), base_to_gold


def _nothing_left(spec: AdapterRevert, left_out: dict[str, int], pairs: int) -> str:
    return (
        f"none of {pairs} paraphrases can tell: the base's answer is near the gold already (cosine above "
        f"{spec.base_gold_similarity_cap:g}) for {left_out['base_near_gold']} and empty for {left_out['base_empty']}"
    )
