"""Frozen results: what the judge hands to the reports, the cache and the Python caller."""

from enum import StrEnum
from typing import Any

import msgspec


class Verdict(StrEnum):
    """Of one probe. WARN is inconclusive: it does not fail the gate, its low z weighs on the composite."""

    PASS = "pass"
    FAIL = "fail"
    WARN = "warn"
    SKIP = "skip"
    ERROR = "error"


class ProbeResult(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=False):
    """One probe's verdict with everything it rests on."""

    name: str
    kind: str
    category: str
    verdict: Verdict
    message: str
    """One or two sentences for a person: what was found and, where it did not pass, why."""
    weight: float = 1.0
    score: float | None = None
    """In [0, 1); None where there is nothing to score (skip, error)."""
    raw: float | None = None
    """The probe's number for the fine-tuned view, in `units`."""
    units: str = ""
    z: float | None = None
    """Normal-equivalent; for an effect against the nulls, for a harm the distance to the margin in standard errors."""
    p: float | None = None
    """Monte-Carlo p against the nulls, (1 + #{null ≥ raw}) / (n + 1)."""
    n_null: int = 0
    null_values: tuple[float, ...] = ()
    """The probe's number for each null view, in `units`."""
    null_z: float | None = None
    """Harm probes: the position against the nulls, beside the distance to the margin."""
    ci_95: tuple[float, float] | None = None
    """Of `raw`, over items."""
    effect_ok: bool | None = None
    """Whether the probe's fixed rule (minimum effect, or margin) holds."""
    z_by_rank: dict[str, float] = {}
    """z against nulls of c times the variance, keyed by c as text ("0.5", "1", "2"); empty unless asked for."""
    advice: str = ""
    """What to do next, where there is something to do."""
    line: int | None = None
    """Line of the probe in the spec, 1-based."""
    details: dict[str, Any] = {}
    """JSON-ready, by kind: curve, sections, items, …"""
    items: tuple[float, ...] = ()
    """The parts of `raw`, in the probe's own order, that `ci_95` is over: what two results on the same items differ by
    is told item by item."""


class Category(msgspec.Struct, frozen=True, kw_only=True):
    """One category of the composite. `score` is None where no probe of it could be scored."""

    weight: float
    score: float | None = None


class ModelFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What was judged. `digest` is sha256 over the contents of the files that count, hexadecimal."""

    path: str
    digest: str
    revision: str | None = None


class NullSummary(msgspec.Struct, frozen=True, kw_only=True):
    """The calibration: how many null adapters of which kind."""

    runs: int
    null: str
    seed_base: int
    rank_multipliers: tuple[float, ...] = (1.0,)


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that the adapter's files alone tell. `level`: broken (exit 2), verdict (exit 1: never trained, NaN),
    warning, note."""

    id: str
    level: str
    message: str
    remedy: str = ""
    path: str = ""


class Regression(msgspec.Struct, frozen=True, kw_only=True):
    """A probe, or the composite, that is worse than the baseline, and why that counts."""

    name: str
    message: str


class Baseline(msgspec.Struct, frozen=True, kw_only=True):
    """The accepted result that this one was put beside. Any of the `regressions` fails the gate."""

    path: str
    adapter: ModelFacts
    score: float | None
    tolerance: float
    verdict: str
    """What the gate says without the baseline."""
    regressions: tuple[Regression, ...] = ()
    warnings: tuple[str, ...] = ()
    """Where the two were not asked the same."""


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
    """Label of the spec: its path, `<stdin>` or the command that made it."""
    adapter: ModelFacts
    base: ModelFacts
    nulls: NullSummary | None
    determinism: str
    """strict, best_effort or loose; like `device` and `dtype` empty where the files alone decided."""
    device: str
    dtype: str
    seed: int
    versions: dict[str, str]
    timing: dict[str, float] = {}
    """Seconds by phase. The one field that two runs on one machine do not share bit for bit."""
    findings: tuple[Finding, ...] = ()
    notes: tuple[str, ...] = ()
    """What the reader should know about how this was measured: cuts, fall-backs, floors."""
    cached: bool = False
    asked: dict[str, str] = {}
    """A digest of each probe's own settings, by its name: two results were asked the same where it agrees, and `texts`
    does."""
    texts: str = ""
    """A digest of what all probes read: sections, control prose, how the chat template is used."""
    baseline: Baseline | None = None

    def _repr_html_(self) -> str:
        """What a notebook shows: the HTML report in a frame."""
        from sway_gate.reports.html.page import notebook

        return notebook(self)
