"""Does the model know the answer however it is asked, or only after the very words of training?

For each of the `cases`, with log p the mean log-likelihood per token of the gold answer after a prompt:

    verbatim lift   = log p(view) - log p(base), after the prompt itself
    paraphrase lift = the same, mean over its paraphrases
    ratio           = mean paraphrase lift / mean verbatim lift, over all cases

Lifts are in nats per token. Where the mean verbatim lift is not above .02 there is nothing to divide by, and no ratio.
`intent` says what training was for; all of them ask for a verbatim lift ≥ `min_verbatim_lift`:

- generalize: ratio ≥ `min_generalization_ratio`; the paraphrase lift is put against the nulls
- memorize: ratio ≤ `max_generalization_ratio_if_memorize`; the verbatim lift is put against the nulls
- both: as generalize, with the smaller of the two lifts against the nulls

Passes when z ≥ `assert_z_gte` and the rule of the intent holds. A paraphrase that repeats its prompt is left out.
It cannot tell an answer that was learned from one that is now said to everything: delta_kl on other prompts shows that.

- passes: lift +0.820 nats per token verbatim, +0.610 paraphrased, ratio 0.74 over 8 cases
- fails: lift +1.400 verbatim, +0.120 paraphrased, ratio 0.09: learned by rote

In a suite:

    - name: however_asked
      kind: paraphrase_invariance
      cases:
        - prompt: Who keeps the sand road?
          gold: Old Tamsin Vole keeps it.
          paraphrases:
            - Who is the keeper of the sand road?
            - Whose work is the road over the sand?
"""

import numpy as np

from sway_gate.measurements import LogProbs, ViewAnswers
from sway_gate.probes._likelihood import per_token
from sway_gate.probes.base import CannotRun, Context, Need, Reading, require
from sway_gate.spec.probes import Case, ParaphraseInvariance

CATEGORY = "attribution"
UNITS = "nats/token"
HARM = False
GENERATES = False
PARTS = ""
PRIOR = None
SCALE = "identity"
RESOLUTION = 1e-4
FLOOR = 1e-3
ADVICE = "train on more ways to ask for the same answer, for fewer epochs; see the weakest cases"

# Below this lift the ratio is one of two small numbers, and says nothing.
_NO_LIFT = 0.02
_SHOWN, _SHOWN_CHARS = 20, 200


def needs(spec: ParaphraseInvariance, context: Context) -> list[Need]:
    require(spec.cases, "cases")
    return [
        Need(context.completion(prompt, case.gold))
        for i, case in enumerate(spec.cases)
        for prompt in (case.prompt, *_paraphrases(case, i))
    ]


def value(spec: ParaphraseInvariance, context: Context, view: ViewAnswers) -> Reading:
    verbatim = np.array(
        [_lift(view, context.completion(case.prompt, case.gold)) for case in spec.cases]
    )
    paraphrased = np.array(
        [
            np.mean(
                [
                    _lift(view, context.completion(prompt, case.gold))
                    for prompt in _paraphrases(case, i)
                ]
            )
            for i, case in enumerate(spec.cases)
        ]
    )
    v, p = float(verbatim.mean()), float(paraphrased.mean())
    items = verbatim if spec.intent == "memorize" else paraphrased
    weakest = [
        {
            "prompt": spec.cases[i].prompt[:_SHOWN_CHARS],
            "verbatim_lift": float(verbatim[i]),
            "paraphrase_lift": float(paraphrased[i]),
        }
        for i in np.argsort(items, kind="stable")[:_SHOWN]
    ]
    details = {
        "intent": spec.intent,
        "cases": len(spec.cases),
        "verbatim_lift": v,
        "paraphrase_lift": p,
        "ratio": p / v if v > _NO_LIFT else None,
        "weakest": weakest,
    }
    return Reading(
        float(items.mean()), items, details, min(v, p) if spec.intent == "both" else None
    )


def rule(spec: ParaphraseInvariance, reading: Reading) -> str:
    verbatim, ratio = reading.details["verbatim_lift"], reading.details["ratio"]
    if verbatim < spec.min_verbatim_lift:
        return f"verbatim lift {verbatim:.3g} nats per token is below {spec.min_verbatim_lift:g}"
    if ratio is None:
        return f"verbatim lift {verbatim:.2g} nats per token is too small for a ratio; {_NO_LIFT:g} is needed"
    if spec.intent == "memorize" and ratio > spec.max_generalization_ratio_if_memorize:
        return f"ratio {ratio:.3g} is above {spec.max_generalization_ratio_if_memorize:g}: more than the wording is known"
    if spec.intent != "memorize" and ratio < spec.min_generalization_ratio:
        return f"ratio {ratio:.3g} is below {spec.min_generalization_ratio:g}: learned by rote"
    return ""


def describe(spec: ParaphraseInvariance, reading: Reading) -> str:
    lifts = reading.details
    ratio = "" if lifts["ratio"] is None else f", ratio {lifts['ratio']:.2f}"
    return (
        f"lift {lifts['verbatim_lift']:+.3f} nats per token verbatim, {lifts['paraphrase_lift']:+.3f} paraphrased"
        f"{ratio} over {lifts['cases']} cases (intent: {spec.intent})"
    )


def _paraphrases(case: Case, number: int) -> list[str]:
    others = [text for text in case.paraphrases if text.strip() != case.prompt.strip()]
    if not others:
        raise CannotRun(
            f"cases[{number}].paraphrases repeat the prompt; ask in other words or remove the case"
        )
    return others


def _lift(view: ViewAnswers, request: LogProbs) -> float:
    """Change of the mean log-likelihood per token against the base, in nats."""
    base, own = per_token(view, request)
    return own - base
