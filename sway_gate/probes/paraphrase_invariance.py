"""Does the model know the answer to a paraphrased prompt, or only to the wording used in training?

For each of the `cases`, with log p the mean log-likelihood per token of the gold answer after a
prompt:

    verbatim lift   = log p(view) - log p(base), after the prompt itself
    paraphrase lift = the same, mean over its paraphrases
    ratio           = mean paraphrase lift / mean verbatim lift, over all cases

Lifts are in nats per token. `intent` states the purpose of training; each requires a verbatim lift
≥ `min_verbatim_lift` (of at least .02, because the ratio of two small numbers is not informative):

- generalize: ratio ≥ `min_generalization_ratio`; the paraphrase lift is compared with the nulls
- memorize: ratio ≤ `max_generalization_ratio_if_memorize`; the verbatim lift is compared with the
  nulls
- both: like generalize, but the smaller of the two lifts is compared with the nulls

Passes if z ≥ `assert_z_gte` and the one-sided 95% bounds over cases are inside these limits: of the
mean verbatim lift (Student's t), and then of the ratio (ratio estimator, Cochran 1977, section
6.4), both with a prior for few cases. The ratio is tested only if the verbatim lift is inside its
limit. A limit inside the interval is inconclusive. A paraphrase that repeats its prompt is left
out. It does not distinguish a learned answer from an answer that the model gives to every prompt:
delta_kl on other prompts shows that.

- passes: lift on paraphrases +0.610 nats per token, over 8 cases; ratio 0.74
- fails: ratio 0.09; lift on paraphrases +0.120 nats per token: memorized wording

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

from typing import NamedTuple

import numpy as np

from sway_gate.details import Details, Item
from sway_gate.measurements import LogProbs, ViewAnswers
from sway_gate.probes._likelihood import lift
from sway_gate.probes.base import (
    Bound,
    CannotRun,
    Context,
    Kind,
    Need,
    Reading,
    TestStatistic,
    require,
)
from sway_gate.spec.probes import Case, ParaphraseInvariance
from sway_gate.stats import Z_95, Margin, Prior, mean_above, ratio_above
from sway_gate.text import counted, signed

KIND = Kind(
    category="attribution",
    units="nats/token",
    resolution=1e-4,
    min_null_sd=1e-3,
    better="more",
    judges_answers=False,
    symptom="learned another thing",
)

# Below this lift the ratio of two small numbers is not informative.
_NO_LIFT = 0.02
# Standard deviations over cases: of the lifts relative to their size, and of the ratio. Measured on
# the demo's adapter at several scales: .7 to .8, and .3. The priors weigh like 5 cases.
_SPREAD, _RATIO, _DF = 0.7, Prior(sd=0.3, df=4), 4
_SHOWN, _SHOWN_CHARS = 20, 200


class CaseRequests(NamedTuple):
    verbatim: LogProbs
    paraphrases: list[LogProbs]


class CaseLift(Item, frozen=True, kw_only=True):
    prompt: str
    verbatim_lift: float
    paraphrase_lift: float


class Found(Details, frozen=True, kw_only=True):
    intent: str
    cases: int
    verbatim_lift: float
    paraphrase_lift: float
    ratio: float | None
    weakest: list[CaseLift]
    verbatim: list[float]
    paraphrased: list[float]


def requests(spec: ParaphraseInvariance, context: Context) -> list[CaseRequests]:
    require(spec.cases, "cases")
    found = []
    for i, case in enumerate(spec.cases):
        verbatim = context.completion(case.prompt, case.gold)
        others = [context.completion(prompt, case.gold) for prompt in _paraphrases(case, i)]
        found.append(CaseRequests(verbatim, others))
    return found


def needs(spec: ParaphraseInvariance, requests: list[CaseRequests]) -> list[Need]:
    return [Need(request) for case in requests for request in (case.verbatim, *case.paraphrases)]


def value(
    spec: ParaphraseInvariance, context: Context, requests: list[CaseRequests], view: ViewAnswers
) -> Reading[Found]:
    verbatim = np.array([lift(view, case.verbatim) for case in requests])
    paraphrased = np.array(
        [np.mean([lift(view, request) for request in case.paraphrases]) for case in requests]
    )
    v, p = float(verbatim.mean()), float(paraphrased.mean())
    items = verbatim if spec.intent == "memorize" else paraphrased
    weakest = [
        CaseLift(
            prompt=spec.cases[i].prompt[:_SHOWN_CHARS],
            verbatim_lift=float(verbatim[i]),
            paraphrase_lift=float(paraphrased[i]),
        )
        for i in np.argsort(items, kind="stable")[:_SHOWN]
    ]
    found = Found(
        intent=spec.intent,
        cases=len(spec.cases),
        verbatim_lift=v,
        paraphrase_lift=p,
        ratio=p / v if v > _NO_LIFT else None,
        weakest=weakest,
        verbatim=verbatim.tolist(),
        paraphrased=paraphrased.tolist(),
    )
    smaller = TestStatistic("smaller mean lift", min(v, p)) if spec.intent == "both" else None
    return Reading(float(items.mean()), items, found, smaller)


def bounds(spec: ParaphraseInvariance, reading: Reading[Found]) -> list[Bound]:
    found = reading.details
    least = max(spec.min_verbatim_lift, _NO_LIFT)
    prior = Prior(_SPREAD * float(np.abs(found.verbatim).mean()), _DF)
    lifted = mean_above(found.verbatim, least, KIND.resolution, prior)
    tests = [Bound("verbatim lift", lifted, least)]
    return tests if lifted.z <= Z_95 else [*tests, _ratio(spec, found)]


def _ratio(spec: ParaphraseInvariance, found: Found) -> Bound:
    if spec.intent == "memorize":
        most = spec.max_generalization_ratio_if_memorize
        test = ratio_above([-lift for lift in found.paraphrased], found.verbatim, -most, _RATIO)
        return Bound("ratio", Margin(test.z, -test.bound, -test.estimate), most, is_upper=True)
    least = spec.min_generalization_ratio
    test = ratio_above(found.paraphrased, found.verbatim, least, _RATIO)
    return Bound("ratio", test, least, symptom="memorised, not generalised")


def summary(spec: ParaphraseInvariance, reading: Reading[Found]) -> str:
    found = reading.details
    lift = f"lift on paraphrases {signed(found.paraphrase_lift, 3)} nats per token"
    return f"{lift}, over {counted(found.cases, 'case')} (intent: {spec.intent})"


def _paraphrases(case: Case, number: int) -> list[str]:
    others = [text for text in case.paraphrases if text.strip() != case.prompt.strip()]
    if not others:
        raise CannotRun(
            f"cases[{number}].paraphrases repeat the prompt; add other wordings or remove the case"
        )
    return others
