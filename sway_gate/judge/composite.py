"""Combines probe results into the composite score, the verdict and the exit code."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from sway_gate.results import Category, ProbeResult, Verdict

EXIT_CODES = {"pass": 0, "fail": 1, "error": 3}
"""Exit code of the gate by its verdict."""
CATEGORIES = ("adherence", "attribution", "calibration", "ablation")


class Composite(NamedTuple):
    """The gate's decision over all probes."""

    verdict: str
    score: float | None
    categories: dict[str, Category]

    @property
    def exit_code(self) -> int:
        return EXIT_CODES[self.verdict]


def compose(
    results: Sequence[ProbeResult], weights: Mapping[str, float], threshold: float
) -> Composite:
    """The weighted mean of scores inside each category, then over the categories that have any.

    A category with a FAIL scores 0: other probes cannot compensate for a failure.

    fail (1) if a probe fails or the score is below `threshold`; error (3) if a probe ends in an
    error or nothing has a score; otherwise pass (0). A FAIL takes precedence over an ERROR.
    """
    categories = {
        name: Category(
            weight=weights[name], score=_category([r for r in results if r.category == name])
        )
        for name in CATEGORIES
    }
    scored = [c for c in categories.values() if c.score is not None and c.weight > 0]
    total = sum(c.weight for c in scored)
    score = (
        sum(c.weight * c.score for c in scored if c.score is not None) / total if total else None
    )
    verdict = _verdict({result.verdict for result in results}, score, threshold)
    return Composite(verdict, score, categories)


def _verdict(verdicts: set[Verdict], score: float | None, threshold: float) -> str:
    if Verdict.FAIL in verdicts:
        return "fail"
    if Verdict.ERROR in verdicts or score is None:
        return "error"
    return "fail" if score < threshold else "pass"


def _category(results: Sequence[ProbeResult]) -> float | None:
    failed = any(r.verdict is Verdict.FAIL and r.weight > 0 for r in results)
    return 0.0 if failed else _mean(results)


def _mean(results: Sequence[ProbeResult]) -> float | None:
    weighed = [(r.weight, r.score) for r in results if r.score is not None and r.weight > 0]
    return sum(w * s for w, s in weighed) / sum(w for w, _ in weighed) if weighed else None
