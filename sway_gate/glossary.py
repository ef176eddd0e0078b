"""The terms of the reports, for `sway explain TERM`: term -> explanation.

Names in parentheses are other spellings of a term.
"""

from typing import Final

TERMS: Final = {
    "PASS": """\
A probe passes if its effect is significant and large enough, or if its harm is inside the margin.
The gate passes (exit code 0) if no probe fails, the data was learned (if the spec has data), and
the composite reaches the threshold. It does not mean that the model is good, or that its answers
are true.""",
    "FAIL": """\
A probe fails if its effect is missing, or if its harm is outside the margin, with statistical
certainty. The gate fails (exit code 1) if a probe fails, or if the composite does not reach the
threshold. The diagnosis states what is wrong with the adapter.""",
    "WARN (inconclusive)": """\
The data are not sufficient to decide: the limit is inside the interval of the estimate, or z is
between 1.64 and the required z. It is not a mild FAIL. It does not fail the gate, but its score
is below 0.60. The report states how many items would decide.""",
    "SKIP": """\
The probe does not apply to these inputs, for example a comparison with nulls on a backend without
null adapters. The row states the reason. A skipped probe has no score, and never counts as a
pass.""",
    "WAIVED (waiver)": """\
A FAIL or WARN that was accepted on purpose, with a reason, a name and a last day, in the spec
or in `.sway-waivers.yaml`. It does not fail the gate, and it is not evidence either: the result has
no score. After the last day the gate fails.""",
    "ERROR (could not decide)": """\
A probe could not run, a model is not available, or nothing shows whether the data was learned.
The gate then ends with exit code 3, which is neither a pass nor a fail.""",
    "MOVED": """\
The answer of `sway check` without data: the adapter changes the model more than random weights
do, and no harm was found. Whether it learned its data is not judged; add `--data FILE`.""",
    "UNCLEAR": """\
The answer of `sway check` without data if it is inconclusive whether the adapter changes the
model more than random weights do.""",
    "z (sigma, σ)": """\
How unlikely the result is by chance, in standard deviations: the normal quantile with the same
tail probability as the probe's test. If the adapter has nothing that the probe tests for, z >= 3
has a probability of 0.135%. A high z does not mean a large effect: the minimum effect is a second
condition.""",
    "p": """\
The probability of a result at least this large without the effect. In a comparison with n null
adapters it is at least 1/(n + 1), and it does not affect the verdict.""",
    "null (nulls, null adapters)": """\
An adapter that learned nothing, but is otherwise like yours: each module keeps its singular
values and gets random singular vectors. An effect must exceed the effects of the null adapters.
`runs` of the `null_adapter` entry sets how many are drawn at most: 4 come first, and more only
while they can change the verdict.""",
    "score": """\
The result of one probe as a number from 0 to 1, for the composite. A probe whose z equals its
limit has 0.60; a probe that fails its rule has 0.""",
    "composite": """\
The weighted mean of the scores in each category, then over the categories that have one. A
category with a FAIL scores 0. The composite must reach the threshold.""",
    "threshold": """\
The smallest composite with which the gate passes: `defaults.coverage_threshold`, or
`--threshold`.""",
    "category": """\
The question that a probe answers: adherence (did the model change?), attribution (was the data
learned?), calibration (is the rest unharmed?), ablation (does the response to the adapter's scale
look right?). `defaults.score_weights` sets their weights.""",
    "effect (effect probe)": """\
What training should cause. The probe passes if the effect is significant and at least as large as
its limit.""",
    "harm (harm probe)": """\
What training should not cause, such as lost knowledge. The probe passes if the 95% bound of the
harm is inside the margin.""",
    "margin (limit)": """\
The largest harm that you accept, or the smallest effect that counts. It is compared with a 95%
bound over the items, not only with the estimate: bound inside is PASS, limit inside the interval
is WARN, whole interval outside is FAIL.""",
    "minimum effect": """\
The smallest effect that counts, in the units of the probe. A change can be significant and still
too small to matter.""",
    "interval (bound, ci)": """\
The range of values that other items of the same kind could give: 95% of such intervals contain
the true value. A bound is one end of it.""",
    "JS (divergence)": """\
The Jensen-Shannon divergence between the next-token probabilities of the base and of the
fine-tuned model, in nats: 0 if they are equal, at most ln 2 = 0.69.""",
    "lift": """\
How much more likely the fine-tuned model makes a text than the base, per token. Relative lift is
the share of the base's loss that is gone.""",
    "baseline": """\
An accepted result. `sway gate --baseline FILE` also fails if a probe is significantly worse than
in that result. `sway baseline update` writes it.""",
    "tolerance": """\
The loss against the baseline that you accept, from 0 to 1: a share of an effect, or points of the
score of a harm probe or of the composite.""",
    "tier (quick, full)": """\
Which probes a run judges: `full` the whole suite, `quick` only the probes that answer most for
their time. Each probe has the same items, limits and verdict in both; a note names the others.
`sway gate` judges the full tier, `sway check` and the hooks the quick one, unless `--tier` is
given.""",
    "budget (time budget)": """\
The time that a run may take: `--budget`, or `defaults.budget`. Probes that do not fit are left out:
they are inconclusive, have no score, and never count as a pass.""",
    "held-out (held-out rows)": """\
Rows of the same kind as the training data that training did not see. They show whether the
adapter generalises. Give them with `held_out:` in the spec or with `--held-out FILE`.""",
    "diagnosis": """\
What all probes together say about the adapter, in one sentence, and what to do.""",
    "base": """\
The model that training started from. The adapter is always compared with it.""",
    "adapter": """\
The trained weights that change the base, such as a LoRA: a folder with adapter_config.json and
adapter_model.safetensors.""",
    "spec (suite)": """\
The file, usually sway.yaml, that names the models, the training data and the suite of probes.
`sway init` writes one.""",
    "readings (cache)": """\
The measured numbers of a run. They are stored in the cache, so that an interrupted run, or one
with other limits, does not measure them again. `sway cache` shows where.""",
}
