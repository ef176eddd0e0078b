"""Harms that the first packaged items leave open: more items, if they can decide."""

from typing import Any

import numpy as np
import pytest
from msgspec import structs

from sway_gate import probes
from sway_gate.engine.estimate import Estimate
from sway_gate.engine.plan import ItemsLook, _second_look
from sway_gate.gate import stages
from sway_gate.gate.dry_run import dry_run
from sway_gate.gate.resolve import Options
from sway_gate.gate.run import run_gate
from sway_gate.judge import composite
from sway_gate.judge.composite import is_final, leaves_harm_open, suggests_harm
from sway_gate.measurements import Request
from sway_gate.probes.base import Context, Extensible
from sway_gate.results import GateResult, ProbeResult, Verdict
from sway_gate.spec.load import parse_spec
from sway_gate.spec.probes import KINDS, CalibrationDrift, Degeneration, Item
from sway_gate.stats import Z_95, mean_above, paired_fraction_below
from tests.helpers import results
from tests.helpers.stages import requests_by_stage

SPEC = """\
version: 1
models:
  base: {kind: dummy, base: b}
  ft: {kind: dummy, base: b, adapter: the old mill by the river grinds the corn}
suite:
  - {name: moved, kind: delta_kl, prompts: [the old mill, by the river], assert_mean_gte: MOVED}
  - {name: knows, kind: calibration_drift}
"""


@pytest.fixture
def texts(monkeypatch: Any) -> list[set[Request]]:
    """The requests that each stage measures, if every harm is left open."""
    monkeypatch.setattr(stages, "leaves_harm_open", lambda result: result.name == "knows")
    return requests_by_stage(monkeypatch)


def gate(moved: float = 0.0, waivers: str = "", **options: Any) -> GateResult:
    spec = parse_spec(SPEC.replace("MOVED", str(moved)) + waivers, "s", ".")
    return run_gate(spec, Options(**options))


def test_a_harm_in_doubt_is_decided_by_all_packaged_items(texts: list[set[Request]]) -> None:
    knows = gate().probes[1]
    assert len(texts) == 2
    assert not texts[0] & texts[1]
    assert "of 195" in knows.message


def test_a_gate_that_fails_anyway_measures_no_more(texts: list[set[Request]]) -> None:
    knows = gate(moved=0.69).probes[1]
    assert len(texts) == 1
    assert "of 60" in knows.message


@pytest.mark.parametrize(("expires", "items"), [("9999-12-31", 195), ("2020-01-01", 60)])
def test_a_waived_failure_leaves_a_harm_to_decide(
    texts: list[set[Request]], expires: str, items: int
) -> None:
    waivers = f"waivers: [{{probe: moved, reason: r, by: Ada, expires: {expires}}}]\n"
    assert f"of {items}" in gate(moved=0.69, waivers=waivers).probes[1].message


def test_without_time_the_first_look_stands(texts: list[set[Request]], monkeypatch: Any) -> None:
    seconds = iter([1.0, 1.0, 1e9])
    monkeypatch.setattr(Estimate, "seconds", lambda *_: next(seconds))
    knows = gate(budget=3600).probes[1]
    assert (knows.is_left_out, "of 60" in knows.message) == (False, True)


@pytest.mark.parametrize("budget", [None, 3600])
def test_a_failure_that_more_nulls_revoke_does_not_end_the_second_look(
    texts: list[set[Request]], monkeypatch: Any, budget: int | None
) -> None:
    real = stages.judge_probe

    def judge(run: Any, nulls: Any) -> ProbeResult:
        result = real(run, nulls)
        if run.spec.name != "moved":
            return result
        is_first = nulls.runs == 4
        verdict = Verdict.FAIL if is_first else Verdict.PASS
        return structs.replace(result, verdict=verdict, z=1.0 if is_first else 4.0, effect_ok=True)

    monkeypatch.setattr(stages, "judge_probe", judge)
    assert "of 195" in gate(budget=budget).probes[1].message


def test_a_verdict_without_its_second_look_is_not_cached(
    texts: list[set[Request]], monkeypatch: Any
) -> None:
    monkeypatch.setattr(composite, "leaves_harm_open", lambda result: result.name == "knows")
    assert is_final(gate().probes, has_budget=False)
    assert not is_final(gate(budget=3600).probes, has_budget=True)


def test_the_dry_run_names_the_harms_with_more_items() -> None:
    plan = dry_run(parse_spec(SPEC.replace("MOVED", "0"), "s", "."), "full", None)
    assert "more items if the first ones leave a harm open: knows" in plan


SUGGESTED = {
    "outside, open": ("external_perplexity", Verdict.WARN, -0.5, True, True),
    "at the limit": ("external_perplexity", Verdict.WARN, 0.0, True, True),
    "close": ("external_perplexity", Verdict.WARN, 1.49, False, True),
    "not close": ("external_perplexity", Verdict.WARN, 1.5, False, False),
    "not tested": ("external_perplexity", Verdict.WARN, None, False, False),
    "passes": ("external_perplexity", Verdict.PASS, 0.5, False, False),
    "fails": ("external_perplexity", Verdict.FAIL, -3.0, False, False),
    "an effect": ("answer_recall", Verdict.WARN, -0.5, False, False),
    "not a kind": ("other", Verdict.WARN, -0.5, False, False),
}


@pytest.mark.parametrize(
    ("kind", "verdict", "z", "is_suggested", "is_open"), SUGGESTED.values(), ids=SUGGESTED
)
def test_harm_is_suggested_outside_the_limit_and_left_open_close_to_it(
    kind: str, verdict: Verdict, z: float | None, is_suggested: bool, is_open: bool
) -> None:
    found = results.probe(kind=kind, verdict=verdict, score_z=z)
    assert (suggests_harm(found), leaves_harm_open(found)) == (is_suggested, is_open)


@pytest.mark.parametrize("kind", [k for k in KINDS if isinstance(probes.module(k), Extensible)])
def test_more_items_contain_the_first_ones(kind: str) -> None:
    probe, spec = probes.module(kind), KINDS[kind](name="p")
    more = probe.extended(spec)
    first, all_of_them = (
        {need.request for need in probe.needs(s, probe.requests(s, Context()))}
        for s in (spec, more)
    )
    assert probe.KIND.harm
    assert first < all_of_them
    while more := probe.extended(spec):
        spec = more
    assert probe.extended(spec) is None


OWN = [
    Degeneration(name="d", prompts=("Hello?",)),
    CalibrationDrift(name="k", items=(Item("The sky is", " blue", (" red",)),)),
]


@pytest.mark.parametrize("spec", OWN)
def test_own_items_are_not_extended(spec: Any) -> None:
    assert probes.module(spec.kind).extended(spec) is None


# ------------------------------------------------------------------------------------- error rates

SHARE = ItemsLook(KINDS["degeneration"](name="d")).share


def rates(looks: Any, draws: int = 8000) -> tuple[float, float, float, float]:
    """Shares of passes and failures of the first look, and those that the second one adds."""
    counts = np.zeros(4)
    for _ in range(draws):
        first, second = looks()
        if abs(first) > Z_95:
            counts[0 if first > 0 else 1] += 1
        elif first < composite._NEAR and abs(z := second()) > Z_95:
            counts[2 if z > 0 else 3] += 1
    return tuple(counts / draws)


def test_the_second_look_at_answers_adds_few_errors_at_the_margin() -> None:
    rng, known = np.random.default_rng(0), {}

    def z(broken: Any, healed: Any, n: int, share: float) -> float:
        key = int(broken[:n].sum()), int(healed[:n].sum()), n, share
        if key not in known:
            known[key] = paired_fraction_below(*key[:3], 0.2, share).z
        return known[key]

    def looks() -> Any:
        drawn = rng.random(102)
        broken, healed = drawn < 0.23, drawn > 0.97
        return z(broken, healed, 30, 1.0), lambda: z(broken, healed, 102, SHARE)

    *_, passes, failures = rates(looks)
    assert passes <= 0.01
    assert failures <= 0.012


def test_the_second_look_at_prose_adds_few_errors_at_the_margin() -> None:
    rng = np.random.default_rng(1)

    def looks() -> Any:
        passages = rng.normal(-0.3, 0.16, 22)
        chunks = passages[:, None] + rng.normal(0, 0.19, (22, 3))
        first = mean_above(chunks[:, 0], -0.3, 1e-3).z

        def second() -> float:
            return mean_above(chunks.mean(1), -0.3, 1e-3, error_share=SHARE).z

        return first, second

    first_passes, first_failures, passes, failures = rates(looks, 1500)
    assert first_passes + passes <= 0.07
    assert first_failures + failures <= 0.075


def test_the_second_look_finds_half_of_the_harms_that_the_first_one_leaves_open() -> None:
    rng = np.random.default_rng(2)

    def looks() -> Any:
        broken = rng.random(102) < 0.4
        found = [
            paired_fraction_below(int(broken[:n].sum()), 0, n, 0.2, share).z
            for n, share in ((30, 1.0), (102, SHARE))
        ]
        return found[0], lambda: found[1]

    _, first, _, added = rates(looks, 500)
    assert added >= 0.5 * (1 - first)


def test_only_packaged_harms_have_a_second_look() -> None:
    found = {kind for kind in KINDS if _second_look(KINDS[kind](name="p"), probes.module(kind))}
    assert found == {"degeneration", "calibration_drift", "external_perplexity"}
