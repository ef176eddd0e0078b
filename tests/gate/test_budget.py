"""The time budget and the tiers: what is judged, and that the rest is never a silent pass."""

from pathlib import Path
from typing import Any

import pytest

from sway_gate import cli
from sway_gate.engine.estimate import Estimate
from sway_gate.gate import stages
from sway_gate.gate.dry_run import dry_run
from sway_gate.gate.resolve import Options, of_tier
from sway_gate.gate.run import run_gate
from sway_gate.judge.composite import compose
from sway_gate.reports.wording import headline
from sway_gate.results import GateResult, ProbeResult, Verdict
from sway_gate.spec.load import parse_spec
from sway_gate.spec.schema import SCORE_WEIGHTS, Spec

HEAD = """\
version: 1
models:
  base: {kind: dummy, base: b}
  ft: {kind: dummy, base: b, adapter: the old mill by the river grinds the corn of the whole valley}
suite:
"""
KNOWS = "- {name: knows, kind: calibration_drift, items_limit: 8}"
PROSE = "- {name: prose, kind: external_perplexity, max_chunks: 4}"
SCALE = "- {name: scale, kind: adapter_ablation, prompts: [the old mill]}"
MOVED = "- {name: moved, kind: delta_kl, prompts: [the old mill, by the river, grinds the corn]}"
HOUR = Options(budget=3600)


def spec(*entries: str) -> Spec:
    return parse_spec(HEAD + "\n".join(entries), "s.yaml", ".")


@pytest.fixture
def expected(monkeypatch: Any) -> list[float]:
    """The seconds that the stages are estimated to take, in order; the last one repeats."""
    seconds = [0.0]
    monkeypatch.setattr(
        Estimate, "seconds", lambda *_: seconds.pop(0) if len(seconds) > 1 else seconds[0]
    )
    return seconds


def by_verdict(result: GateResult) -> dict[str, str]:
    return {probe.name: str(probe.verdict) for probe in result.probes}


def test_a_large_budget_changes_nothing() -> None:
    suite = spec(KNOWS, SCALE, MOVED)
    assert run_gate(suite, HOUR).probes == run_gate(suite).probes


def test_the_most_telling_probe_comes_first(expected: list[float]) -> None:
    expected[:] = [1.0, 1e9]
    result = run_gate(spec(PROSE, SCALE, MOVED), HOUR)
    assert [probe.name for probe in result.probes if probe.is_left_out] == ["prose", "scale"]
    assert by_verdict(result)["moved"] == str(run_gate(spec(MOVED)).probes[0].verdict)
    assert all("time budget" in probe.message for probe in result.probes if probe.is_left_out)


def test_without_time_the_gate_cannot_decide(expected: list[float]) -> None:
    expected[:] = [1e9]
    result = run_gate(spec(PROSE, MOVED), HOUR)
    assert (result.verdict, result.exit_code, result.score) == ("error", 3, None)
    assert by_verdict(result) == {"prose": "warn", "moved": "warn"}
    assert "could not decide: the time budget ended before prose, moved" in headline(result)


def test_a_pass_names_what_the_budget_left_out(expected: list[float]) -> None:
    expected[:] = [1.0, 1.0, 1e9]
    result = run_gate(spec(MOVED, PROSE, KNOWS), HOUR)
    assert result.verdict == "pass"
    assert result.diagnosis
    assert "knows, for lack of time" in result.diagnosis.sentence


def test_a_waiver_does_not_accept_what_the_budget_left_out(expected: list[float]) -> None:
    expected[:] = [1.0, 1e9]
    waived = "waivers: [{probe: knows, reason: r, by: Ada, expires: 9999-12-31}]\nsuite:\n"
    text = HEAD.replace("suite:\n", waived) + "\n".join([MOVED, KNOWS])
    result = run_gate(parse_spec(text, "s.yaml", "."), HOUR)
    assert by_verdict(result) == {"moved": "pass", "knows": "warn"}
    assert result.exit_code == 3
    assert "the waiver of knows has no effect, because the probe was left out" in result.notes[0]


def test_a_stage_that_takes_longer_than_estimated_ends_between_two_passes(monkeypatch: Any) -> None:
    now = iter(float(i * 1000) for i in range(10**6))
    monkeypatch.setattr("sway_gate.gate.resolve.time.monotonic", lambda: next(now))
    result = run_gate(spec(MOVED), Options(budget=3500))
    assert by_verdict(result) == {"moved": "warn"}
    assert result.exit_code == 3


def test_an_open_probe_without_time_for_more_nulls_is_inconclusive(
    monkeypatch: Any, expected: list[float]
) -> None:
    monkeypatch.setattr(stages, "is_open", lambda *_: True)
    expected[:] = [1.0, 1e9]
    [moved] = run_gate(spec(MOVED), HOUR).probes
    assert (moved.verdict, moved.is_left_out) == (Verdict.WARN, True)


def result_of(name: str, kind: str, category: str, score: float | None) -> ProbeResult:
    verdict = Verdict.WARN if score is None else Verdict.PASS
    return ProbeResult(
        name=name, kind=kind, category=category, verdict=verdict, message="", score=score
    )


def test_harms_alone_do_not_pass_if_the_effect_was_left_out() -> None:
    prose = result_of("prose", "external_perplexity", "calibration", 0.9)
    moved = result_of("moved", "delta_kl", "adherence", None)
    weights = dict(SCORE_WEIGHTS)
    assert compose([prose], weights, 0.6).verdict == "pass"
    assert compose([prose, moved], weights, 0.6).verdict == "error"


def test_effects_alone_do_not_pass_if_all_harms_were_left_out() -> None:
    moved = result_of("moved", "delta_kl", "adherence", 0.9)
    prose, knows = (
        result_of("knows", "calibration_drift", "calibration", score) for score in (None, 0.9)
    )
    weights = dict(SCORE_WEIGHTS)
    assert compose([moved], weights, 0.6).verdict == "pass"
    assert compose([moved, prose], weights, 0.6).verdict == "error"
    assert compose([moved, prose, knows], weights, 0.6).verdict == "pass"


@pytest.mark.parametrize(("device", "at_first"), [("cpu", 5.0), ("cuda", 0.0)])
def test_the_estimate_follows_the_measured_speed(
    monkeypatch: Any, device: str, at_first: float
) -> None:
    monkeypatch.setattr(Estimate, "_planned", lambda _, measurements: float(len(measurements)))
    estimate = Estimate(None, "auto", device)
    assert estimate.seconds([None] * 5) == at_first  # type: ignore[list-item]
    estimate.learn([None] * 4, 12.0)  # type: ignore[list-item]
    assert estimate.seconds([None] * 5) == 15.0  # type: ignore[list-item]


def test_the_quick_tier_leaves_out_late_probes_and_states_it() -> None:
    suite = spec(KNOWS, SCALE, MOVED)
    judged, tier = of_tier(suite, "quick")
    assert (tier, [probe.name for probe in judged.suite]) == ("quick", ["knows", "moved"])
    assert judged.notes == ("quick tier: not judged: scale; add --tier full",)
    assert of_tier(suite, "full") == (suite, "full")


def test_a_suite_without_a_quick_effect_is_judged_in_full() -> None:
    suite = spec(PROSE, SCALE)
    assert of_tier(suite, "quick") == (suite, "full")


def test_a_suite_whose_probes_of_harm_are_all_late_is_judged_in_full() -> None:
    refuses = "- {name: refuses, kind: refusals}"
    late = spec(MOVED, refuses)
    assert of_tier(late, "quick") == (late, "full")
    assert of_tier(spec(MOVED, refuses, KNOWS), "quick")[1] == "quick"


def test_a_probe_has_the_same_result_in_both_tiers() -> None:
    suite = spec(PROSE, SCALE, MOVED)
    quick, full = (run_gate(suite, Options(tier=tier)) for tier in ("quick", "full"))
    assert (quick.tier, full.tier) == ("quick", "full")
    assert [p for p in full.probes if p.name != "scale"] == list(quick.probes)


def test_the_reports_name_the_tier(tmp_path: Path, capsys: Any) -> None:
    path = tmp_path / "sway.yaml"
    path.write_text(HEAD + "\n".join([PROSE, SCALE, MOVED]), encoding="utf-8")
    files = {name: tmp_path / f"report.{name}" for name in ("json", "markdown", "html")}
    options = [text for name, file in files.items() for text in (f"--{name}", str(file))]
    cli.main(["gate", str(path), "--tier", "quick", *options])
    assert "quick tier" in capsys.readouterr().out
    assert '"tier": "quick"' in files["json"].read_text(encoding="utf-8")
    assert all("quick tier" in file.read_text(encoding="utf-8") for file in files.values())


@pytest.mark.parametrize("command", ["gate s.yaml", "check x"])
def test_a_wrong_budget_is_refused(command: str, capsys: Any) -> None:
    assert cli.main([*command.split(), "--budget", "soon"]) == 2
    assert "must be a duration such as 90" in capsys.readouterr().err


def test_the_budget_of_the_spec_applies_unless_an_option_overrides_it(monkeypatch: Any) -> None:
    found: list[float | None] = []
    monkeypatch.setattr(
        "sway_gate.gate.evaluate.evaluate", lambda job, *_: found.append(job.deadline) or 1 / 0
    )
    monkeypatch.setattr("sway_gate.gate.resolve.time.monotonic", lambda: 100.0)
    suite = parse_spec(HEAD + MOVED + "\ndefaults: {budget: 2m}", "s.yaml", ".")
    for options in (Options(), Options(budget=5)):
        with pytest.raises(ZeroDivisionError):
            run_gate(suite, options)
    assert found == [220.0, 105.0]


def test_the_dry_run_plans_what_the_run_measures() -> None:
    suite = spec(SCALE, MOVED)
    assert "scale (adapter_ablation)" in dry_run(suite, "full", None)
    plan = dry_run(suite, "quick", 90).splitlines()
    assert [line.split(" ")[0] for line in plan if "adapters," in line] == ["moved"]
    assert "quick tier: not judged: scale; add --tier full" in plan
    assert "budget: 90 s; the run leaves out the probes that do not fit" in plan
