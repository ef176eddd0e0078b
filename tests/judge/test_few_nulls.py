"""The verdict and the composite with 3, 8 and 32 nulls, and the prior of the nulls' spread."""

from itertools import pairwise

import numpy as np
import pytest

from sway_gate import stats
from sway_gate.judge.composite import compose
from sway_gate.judge.criteria import against_nulls, of_bound, worst
from sway_gate.probes import module
from sway_gate.probes.base import Bound, Kind
from sway_gate.results import ProbeResult
from sway_gate.spec.schema import SCORE_WEIGHTS
from sway_gate.stats import Margin

# Standard deviation of ln of the test statistic over 24 spectrum nulls (64 of the demo), on 4 to 6
# prompts: SmolLM2-135M-Instruct with adapters of facts, of shuffled facts, of a style, rotated, and
# amplified by 4; the demo's base with its healthy adapter.
SPREADS = {
    "delta_kl": (
        *(0.064, 0.072, 0.068, 0.074, 0.118, 0.137, 0.073, 0.080, 0.068, 0.077),
        *(0.080, 0.113),
    ),
}
RUNS = (3, 8, 32)
# On the real base, the trained adapters' ln exceeds the mean of the nulls by 2.4 to 3.2.
SEPARATION = 2.4


def zs(kind: Kind, spread: float, runs: int, excess: float, draws: int) -> list[float]:
    """z of draws of a value, `excess` above the mean of its nulls on the log scale."""
    rng = np.random.default_rng(runs)
    values = rng.normal(0, spread, (draws, runs + 1)) + excess * (np.arange(runs + 1) == 0)
    return [
        stats.z_score(row[0], row[1:], kind.min_null_sd, kind.null_sd_prior).z for row in values
    ]


@pytest.mark.parametrize("runs", RUNS)
@pytest.mark.parametrize("name", SPREADS)
def test_a_null_passes_no_more_often_than_without_a_prior(name, runs):
    """P(z ≥ 3) is .135% for nulls of the same distribution; here over the measured spreads."""
    kind, draws = module(name).KIND, 800
    found = [z for spread in SPREADS[name] for z in zs(kind, spread, runs, 0.0, draws)]
    assert np.mean([z >= 3 for z in found]) <= 0.00135 + 3 * np.sqrt(0.00135 / len(found))


@pytest.mark.parametrize("name", SPREADS)
def test_the_prior_is_no_smaller_than_most_spreads(name):
    prior = module(name).KIND.null_sd_prior
    assert np.median(SPREADS[name]) <= prior.sd <= max(SPREADS[name])


def composite(z: float, size: float) -> tuple[str, float]:
    """Verdict and score of a suite whose only calibrated effects have this z.

    `size`: z of the distance of the effect's size to its limit.
    """
    moved = [
        against_nulls(z, 8, 3.0, "never trained"),
        of_bound(Bound("mean", Margin(size, 0.1, 0.2), 0.05), 8, "limit", None),
    ]
    scores = {
        "adherence": min(criterion.score for criterion in moved),
        "attribution": 0.8,
        "calibration": 0.75,
        "ablation": against_nulls(z, 8, 3.0, "never trained").score,
    }
    results = [
        ProbeResult(
            name=name, kind="delta_kl", category=name, verdict=worst(moved), message="", score=score
        )
        for name, score in scores.items()
    ]
    found = compose(results, {k: float(v) for k, v in SCORE_WEIGHTS.items()}, 0.6)
    assert found.score is not None
    return found.verdict, found.score


@pytest.mark.parametrize("spread", SPREADS["delta_kl"])
def test_the_number_of_nulls_changes_neither_the_verdict_nor_the_composite(spread):
    kind = module("delta_kl").KIND
    by_runs = [[composite(z, 3.0) for z in zs(kind, spread, runs, SEPARATION, 40)] for runs in RUNS]
    assert {verdict for found in by_runs for verdict, _ in found} == {"pass"}
    means = [np.mean([score for _, score in found]) for found in by_runs]
    assert max(means) - min(means) < 0.03
    for fewer, more in pairwise(by_runs):
        moved = [abs(a - b) for (_, a), (_, b) in zip(fewer, more, strict=True)]
        assert np.quantile(moved, 0.95) < 0.03
