"""Null adapters in sequence: the false-pass rate by simulation, and when the drawing stops."""

import numpy as np
import pytest
from scipy import stats as reference

from sway_gate import stats
from sway_gate.engine.plan import NullPlan, null_plan
from sway_gate.judge.probe import NullViews, is_open
from sway_gate.probes import module
from sway_gate.results import ProbeResult, Verdict
from sway_gate.spec.probes import DeltaKL, NullAdapter
from sway_gate.spec.schema import ModelRef, Models, Spec
from sway_gate.stats import Prior

NOMINAL = 0.00135
MODELS = Models(base=ModelRef(base="b"), ft=ModelRef(base="b", adapter="a"))
MOVED = DeltaKL(name="moved", prompts=("x",))
UNMODERATED = None
MODERATED = Prior(sd=1.0, df=20)


def plan(runs: int | None) -> NullPlan:
    suite = (NullAdapter(name="nulls", runs=runs), MOVED)
    return null_plan(Spec(models=MODELS, suite=suite))


def looks(runs: int | None) -> tuple[NullViews, ...]:
    return plan(runs).for_probe("delta_kl", module("delta_kl"), frozenset({"nulls"}))


def result(z: float, n: int = 4, *, effect_ok: bool = True) -> ProbeResult:
    return ProbeResult(
        name="moved",
        kind="delta_kl",
        category="adherence",
        verdict=Verdict.WARN,
        message="",
        z=z,
        n_null=n,
        effect_ok=effect_ok,
    )


def is_passed(values: np.ndarray, steps: tuple[NullViews, ...], prior: Prior | None) -> bool:
    """Whether a probe with these values, of which the first is the adapter's, reaches 3 sigma."""
    for step in steps:
        nulls = values[1 : 1 + step.runs]
        z = stats.z_score(values[0], nulls, 1e-9, prior, step.share).z
        if not is_open(MOVED, result(z)):
            return z >= MOVED.assert_z_gte
    return False


def rate(steps: tuple[NullViews, ...], prior: Prior | None, draws: int = 300_000) -> float:
    """The share of adapters of the nulls' own distribution that pass.

    Only draws with a t near the quantile of z = 3, or above it, go through the statistic.
    """
    values = np.random.default_rng(7).standard_normal((draws, 1 + steps[-1].runs))
    can_pass = np.zeros(draws, bool)
    for step in steps:
        nulls, df = values[:, 1 : 1 + step.runs], step.runs - 1
        weight, spread = (prior.df, prior.df * prior.sd**2) if prior else (0, 0.0)
        variance = (spread + df * nulls.var(axis=1, ddof=1)) / (weight + df)
        t = (values[:, 0] - nulls.mean(axis=1)) / np.sqrt(variance * (1 + 1 / step.runs))
        can_pass |= t > 0.95 * reference.t.isf(NOMINAL, weight + df)
    return sum(is_passed(row, steps, prior) for row in values[can_pass]) / draws


@pytest.mark.parametrize("prior", [UNMODERATED, MODERATED], ids=["unmoderated", "moderated"])
@pytest.mark.parametrize("runs", [8, 16], ids=str)
def test_a_null_passes_no_more_often_than_with_one_look(runs: int, prior: Prior | None) -> None:
    error = np.sqrt(NOMINAL / 300_000)
    assert 0.3 * NOMINAL < rate(looks(runs), prior) <= NOMINAL + 2 * error


def test_looking_twice_without_shares_would_pass_too_many() -> None:
    unshared = tuple(step._replace(share=1.0) for step in looks(8))
    assert rate(unshared, UNMODERATED) > 1.3 * NOMINAL


def test_the_tail_of_a_look_is_divided_by_its_share() -> None:
    tail = reference.norm.sf(stats.of_look(4.0, 0.1))
    assert tail == pytest.approx(reference.norm.sf(4.0) / 0.1, rel=1e-9)
    assert stats.of_look(4.0, 1.0) == 4.0


@pytest.mark.parametrize(("z", "expected"), [(-2.0, -2.0), (0.0, 0.0), (0.5, 0.0), (1.2, 0.0)])
def test_a_look_does_not_move_z_below_zero(z: float, expected: float) -> None:
    assert stats.of_look(z, 0.1) == expected


LOOKS = {
    "three": (3, [3]),
    "four": (4, [4]),
    "seven is one look": (7, [7]),
    "default": (None, [4, 8]),
    "sixteen": (16, [4, 8, 16]),
    "twenty": (20, [4, 8, 20]),
}


@pytest.mark.parametrize(("runs", "expected"), LOOKS.values(), ids=LOOKS)
def test_the_nulls_are_drawn_in_these_steps(runs: int | None, expected: list[int]) -> None:
    found = looks(runs)
    assert [step.runs for step in found] == expected
    assert sum(step.share for step in found) == pytest.approx(1.0)


def test_a_profile_of_ranks_is_drawn_at_once() -> None:
    suite = (NullAdapter(name="nulls", rank_multipliers=(0.5, 2.0)), MOVED)
    scales = frozenset({"nulls", "scales"})
    found = null_plan(Spec(models=MODELS, suite=suite)).for_probe(
        "delta_kl", module("delta_kl"), scales
    )
    assert found == (NullViews(8, (1.0, 0.5, 2.0)),)


OPEN = {
    "near the limit": (result(2.9), True),
    "at zero": (result(0.0), True),
    "reaches the limit": (result(3.0), False),
    "below the nulls": (result(-0.1), False),
    "fails by another rule": (result(2.0, effect_ok=False), False),
    "no nulls": (result(2.0, n=0), False),
}


@pytest.mark.parametrize(("found", "expected"), OPEN.values(), ids=OPEN)
def test_more_nulls_are_drawn_only_if_they_can_decide(found: ProbeResult, expected: bool) -> None:
    assert is_open(MOVED, found) is expected


@pytest.mark.parametrize(("lost", "side"), [(27, -1), (20, 1)])
def test_a_look_that_decides_nothing_keeps_the_side_of_the_estimate(lost: int, side: int) -> None:
    """With a quarter of the error, less than half of the tail is left: z would be 0."""
    found = stats.paired_fraction_below(lost, 0, 96, 0.24, 0.25)
    assert 0 < side * found.z < stats.Z_95
