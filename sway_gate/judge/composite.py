"""Combines probe results into the composite score, the verdict and the exit code."""

from collections.abc import Iterable, Mapping, Sequence
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
    categories = {}
    for name in CATEGORIES:
        own = [result for result in results if result.category == name]
        categories[name] = Category(weight=weights[name], score=_category(own))
    score = _mean(categories.values())
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


def _mean(scored: Iterable[ProbeResult | Category]) -> float | None:
    """The weighted mean of the scores; None if there are none."""
    weighed = [(s.weight, s.score) for s in scored if s.score is not None and s.weight > 0]
    return sum(w * s for w, s in weighed) / sum(w for w, _ in weighed) if weighed else None
