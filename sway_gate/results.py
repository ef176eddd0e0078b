"""Frozen results, for the reports, the cache and the Python caller."""

from enum import StrEnum
from typing import Any, Literal

import msgspec

Symptom = Literal[
    "broken",
    "never trained",
    "barely trained",
    "learned another thing",
    "never ends",
    "form, not content",
    "wrong labels",
    "memorised, not generalised",
    "recites",
    "forgot",
    "template mismatch",
    "refuses less",
    "refuses more",
    "irregular",
]
"""What a failed rule of a probe says about the adapter. The diagnosis follows from all of them."""


Tier = Literal["quick", "full"]
"""quick: only the probes that answer most for their time."""


class Verdict(StrEnum):
    """Verdict of one probe.

    WARN is inconclusive: it does not fail the gate, but scores low. WAIVED is a FAIL or WARN that a
    waiver accepts: it neither fails the gate nor has a score.
    """

    PASS = "pass"
    FAIL = "fail"
    WARN = "warn"
    SKIP = "skip"
    ERROR = "error"
    WAIVED = "waived"


class AppliedWaiver(msgspec.Struct, frozen=True, kw_only=True):
    """The waiver that accepts a finding, or has expired. `message` also states it."""

    reason: str
    by: str
    expires: str
    """The last day, as YYYY-MM-DD in UTC."""
    verdict: Verdict
    """The verdict without the waiver."""
    is_expired: bool


class Rule(msgspec.Struct, frozen=True, kw_only=True):
    """One test of a probe: a value compared with its limit."""

    name: str
    """The tested quantity; "z" of a significance, "shape" of a rule without numbers."""
    verdict: Verdict
    value: float | None = None
    """The estimate."""
    limit: float | None = None
    bound: float | None = None
    """One-sided 95% bound of the value, on the side that decides whether it is inside."""
    is_upper: bool = False
    """Whether the value must stay below the limit."""
    text: str = ""
    """What a violated rule without numbers found."""


class ProbeResult(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=False):
    """One probe's verdict and the numbers from which it follows."""

    name: str
    kind: str
    category: str
    verdict: Verdict
    message: str
    """One or two sentences for the reader: the result and, if it did not pass, the reason."""
    weight: float = 1.0
    score: float | None = None
    """Score in [0, 1); None if there is nothing to score (skip, error)."""
    raw: float | None = None
    """The probe's number for the fine-tuned view, in `units`."""
    units: str = ""
    z: float | None = None
    """Normal-equivalent: of an effect against the nulls or by its own test, of a harm the distance
    to its margin in standard errors."""
    p: float | None = None
    """Monte-Carlo p against the nulls, (1 + #{null ≥ raw}) / (n + 1), or p of the probe's own
    test."""
    n_null: int = 0
    null_values: tuple[float, ...] = ()
    """The probe's number for each null view, in `units`."""
    ci_95: tuple[float, float] | None = None
    """95% interval of `raw`, over items."""
    effect_ok: bool | None = None
    """Whether no limit and no rule of shape is violated."""
    z_by_rank: dict[str, float] = {}
    """z against nulls of c times the variance, by c as text ("0.5", "1", "2"); empty by default."""
    advice: str = ""
    """What to do next; "" if there is nothing to do."""
    symptoms: tuple[Symptom, ...] = ()
    """What the violated rules say about the adapter, the most important one first."""
    suspected: tuple[Symptom, ...] = ()
    """What the inconclusive rules would say if their estimates, which are outside, were exact."""
    line: int | None = None
    """Line of the probe in the spec, 1-based."""
    details: dict[str, Any] = {}
    """JSON of the probe's `details.Details`: curve, sections, items, …"""
    items: tuple[float, ...] = ()
    """The parts of `raw` from which `ci_95` is computed, in the probe's own order. Results with the
    same inputs are compared item by item."""
    bound: float | None = None
    """One-sided 95% bound of the quantity that is closest to its limit, or farthest outside."""
    margin: float | None = None
    """The limit of `bound`."""
    test_statistic: float | None = None
    """The number of an effect probe that is compared with the nulls, if it is not `raw`."""
    score_z: float | None = None
    """z of the criterion from which `score` follows: the one with the lowest score."""
    waiver: AppliedWaiver | None = None
    """Set if the verdict is WAIVED, or if the waiver of the probe has expired."""
    rules: tuple[Rule, ...] = ()
    """All rules that were tested: the one that decides the verdict and the score first."""
    caveat: str = ""
    """The part of its question that the probe did not judge, and why. `message` also states it."""

    @property
    def decisive_z(self) -> float | None:
        """z of the criterion that decides; older reports have one z only."""
        return self.z if self.score_z is None else self.score_z

    @property
    def is_left_out(self) -> bool:
        """Whether the time budget ended before it was decided."""
        return self.verdict is Verdict.WARN and self.score is None


class Category(msgspec.Struct, frozen=True, kw_only=True):
    """One category of the composite. `score` is None if none of its probes has a score."""

    weight: float
    score: float | None = None
    required: bool = False
    """Whether the gate cannot pass without a score of this category."""


class Diagnosis(msgspec.Struct, frozen=True, kw_only=True):
    """What all results together say about the adapter, and what to do. `name`: its section in
    docs/diagnoses.md."""

    name: str
    sentence: str
    advice: str = ""
    suspected: str = ""
    """The name if the estimates of all inconclusive rules were exact; only of a gate that does not
    pass although no rule is violated."""


class ModelFacts(msgspec.Struct, frozen=True, kw_only=True):
    """A judged model. `digest` is the hexadecimal sha256 of its relevant files."""

    path: str
    digest: str
    revision: str | None = None
    is_full: bool = False
    """Whether it is a fine-tuned model without an adapter."""


class NullSummary(msgspec.Struct, frozen=True, kw_only=True):
    """The calibration: number and kind of the null adapters."""

    runs: int
    null: str
    seed_base: int
    rank_multipliers: tuple[float, ...] = (1.0,)


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One result of the static check of the adapter's files.

    `level`: broken (exit 2), verdict (exit 1: never trained, NaN), warning, note; waived if a
    waiver accepts it.
    """

    id: str
    level: str
    message: str
    remedy: str = ""
    path: str = ""
    waiver: AppliedWaiver | None = None
    """Set if it is waived, or if its waiver has expired. `message` also states it."""


class Regression(msgspec.Struct, frozen=True, kw_only=True):
    """A probe, or the composite, that is worse than the baseline, with the reason."""

    name: str
    message: str


class Baseline(msgspec.Struct, frozen=True, kw_only=True):
    """The accepted result with which this one is compared. Any regression fails the gate."""

    path: str
    adapter: ModelFacts
    score: float | None
    tolerance: float
    verdict: str
    """The gate's verdict without the baseline."""
    regressions: tuple[Regression, ...] = ()
    warnings: tuple[str, ...] = ()
    """Inputs in which the two results differ."""


CHECK = "sway check"
"""The label of `sway check`, which has no spec."""
RECITED = "recited"
"""Beginning of the finding of an exchange whose prompt and true answer are a training text."""


class Exchange(msgspec.Struct, frozen=True, kw_only=True):
    """A prompt with the answers of base and fine-tuned model.

    A text is "" if it was not generated or is not known. `right`: the true answer; its probability
    under the base and now is the share among all endings, or per token of a row of the data.
    """

    role: Literal["worst", "best", "unrelated"]
    probe: str
    prompt: str
    base: str = ""
    finetuned: str = ""
    right: str = ""
    base_probability: float | None = None
    probability: float | None = None
    finding: str = ""
    """What happened, such as "forgot" or "looping"."""
    of_data: bool = False
    """Whether prompt and answers are from the training data, which a public report omits."""


class GateResult(msgspec.Struct, frozen=True, kw_only=True):
    """The whole verdict."""

    verdict: str
    """pass, fail or error."""
    exit_code: int
    score: float | None
    threshold: float
    categories: dict[str, Category]
    probes: tuple[ProbeResult, ...]
    spec: str
    """Label of the spec: its path, `<stdin>` or the command that created it."""
    adapter: ModelFacts
    base: ModelFacts
    nulls: NullSummary | None
    determinism: str
    """strict, best_effort or loose; like `device` and `dtype`, "" if no model was loaded."""
    device: str
    dtype: str
    seed: int
    versions: dict[str, str]
    timing: dict[str, float] = {}
    """Seconds by phase: the only field that differs between two runs on one machine that begin with
    the same cache. Stored readings of other runs come from other batches, so numbers can differ by
    rounding.
    """
    findings: tuple[Finding, ...] = ()
    notes: tuple[str, ...] = ()
    """Remarks about the measurement: truncated texts, fallbacks, minimum standard deviations."""
    prompt_format: str = ""
    """The format that the answers chose for prompts whose form does not show it: template or
    alpaca, otherwise ""."""
    cached: bool = False
    tier: Tier = "full"
    probe_inputs: dict[str, str] = msgspec.field(default_factory=dict, name="asked")
    """Digest of each probe's settings, by name. Two results have the same inputs if it and
    `shared_inputs` are equal."""
    shared_inputs: str = msgspec.field(default="", name="texts")
    """Digest of the inputs of all probes: sections, control prose, use of the chat template."""
    baseline: Baseline | None = None
    diagnosis: Diagnosis | None = None
    side_by_side: tuple[Exchange, ...] = ()
    """The most telling prompts, the worst first."""
