"""Did training teach the preferences: is the chosen answer now more likely than the rejected one?

For each triple of a prompt, a chosen and a rejected answer, in nats per token (length-normalised, so that a longer
answer is not less likely for its length; as in SimPO, Meng et al. 2024):

    margin = mean log p(chosen | prompt) - mean log p(rejected | prompt)
    gain   = margin(view) - margin(base)

The base is wrong on a triple when its margin is below 0; such a triple is flipped when the view's is above 0.
With at least `min_triples_for_decision` base-wrong triples the value is the share of them that was flipped, and at
least `assert_flip_rate_gte` is asked for. With fewer, a share would say little: the value is the mean gain over all
triples. The mean gain is what is put against the nulls, in either case, and it must be at least .02 nats per token.

Passes when z ≥ `assert_z_gte`, these rules hold, and of the triples that the base had right (where there are
`min_triples_for_decision`) at least half still are. It cannot tell whether the model would write the chosen answer.

- `triples:`, or else the preference sections of the spec; skipped where there are none
- passes: 9 of 10 base-wrong triples flipped; mean margin gain +0.410 nats per token over 14 triples
- fails: 2 of 10 flipped, mean gain +0.050: the wording moved, the preference did not

In a suite:

    - name: prefers
      kind: preference_flip
      triples:
        - prompt: How do you tell the time on the island?
          chosen: By the water.
          rejected: By the clock.
"""

import numpy as np

from sway_gate.measurements import ViewAnswers
from sway_gate.probes._likelihood import per_token
from sway_gate.probes.base import Context, Need, Reading, Skip
from sway_gate.spec.probes import PreferenceFlip
from sway_gate.spec.schema import Preference

CATEGORY = "attribution"
UNITS = "share"
HARM = False
GENERATES = False
PARTS = ""
PRIOR = None
SCALE = "identity"
RESOLUTION = 1e-4
FLOOR = 1e-3
ADVICE = "train longer on preferences, or check that chosen and rejected are not swapped; see the triples"

# Nats per token: 2 % of likelihood.
_MIN_GAIN = 0.02
_KEPT = 0.5
_SHOWN, _SHOWN_CHARS = 20, 200


def needs(spec: PreferenceFlip, context: Context) -> list[Need]:
    return [
        Need(context.completion(triple.prompt, answer))
        for triple in _triples(spec, context)
        for answer in (triple.chosen, triple.rejected)
    ]


def value(spec: PreferenceFlip, context: Context, view: ViewAnswers) -> Reading:
    triples = _triples(spec, context)
    margins = np.array(
        [_margins(view, context, triple) for triple in triples]
    )  # [triples, 2]: base, view
    base, own = margins.T
    gains, wrong, right = own - base, base < 0, own > 0
    kept = (~wrong & (own >= 0)).sum()
    gain = float(gains.mean())
    details = {
        "triples": len(triples),
        "base_wrong": int(wrong.sum()),
        "flipped": int((wrong & right).sum()),
        "kept": int(kept),
        "mean_gain_nats": gain,
        "judged": "flip rate" if wrong.sum() >= spec.min_triples_for_decision else "mean gain",
        "weakest": [
            {
                "prompt": triples[i].prompt[:_SHOWN_CHARS],
                "base_margin": float(base[i]),
                "margin": float(own[i]),
            }
            for i in np.argsort(own, kind="stable")[:_SHOWN]
        ],
    }
    if details["judged"] == "mean gain":
        return Reading(gain, gains, details, units="nats/token")
    flips = right[wrong].astype(np.float64)
    return Reading(float(flips.mean()), flips, details, gain)


def rule(spec: PreferenceFlip, reading: Reading) -> str:
    counts = reading.details
    if counts["judged"] == "flip rate" and reading.value < spec.assert_flip_rate_gte:
        return f"{reading.value:.1%} flipped is below {spec.assert_flip_rate_gte:.1%}"
    if counts["mean_gain_nats"] < _MIN_GAIN:
        return f"mean gain {counts['mean_gain_nats']:.2g} nats per token is below {_MIN_GAIN:g}"
    base_right = counts["triples"] - counts["base_wrong"]
    if base_right >= spec.min_triples_for_decision and counts["kept"] < _KEPT * base_right:
        return (
            f"only {counts['kept']} of the {base_right} triples that the base had right still are"
        )
    return ""


def describe(spec: PreferenceFlip, reading: Reading) -> str:
    counts = reading.details
    gain = f"mean margin gain {counts['mean_gain_nats']:+.3f} nats per token over {counts['triples']} triples"
    if counts["judged"] == "flip rate":
        return f"{counts['flipped']} of {counts['base_wrong']} base-wrong triples flipped; {gain}"
    fewer = f"judged by the gain, as the base has {counts['base_wrong']} wrong"
    return f"{gain}; {fewer}, fewer than {spec.min_triples_for_decision}"


def _triples(spec: PreferenceFlip, context: Context) -> list[Preference]:
    of_sections = [
        pair
        for section in context.sections
        for pair in section.pairs
        if isinstance(pair, Preference)
    ]
    if triples := list(spec.triples) or of_sections:
        return triples
    raise Skip("no preference triples: give `triples:`, or sections of kind preference")


def _margins(view: ViewAnswers, context: Context, triple: Preference) -> tuple[float, float]:
    """The margin of the base and of this view."""
    chosen, rejected = (
        per_token(view, context.completion(triple.prompt, answer))
        for answer in (triple.chosen, triple.rejected)
    )
    return chosen[0] - rejected[0], chosen[1] - rejected[1]
