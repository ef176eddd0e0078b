"""The plan: fewer nulls for generated text, chat templates, backends without a capability."""

from typing import Any

import pytest

from sway_gate.backends.base import ALL
from sway_gate.conversation import Conversation
from sway_gate.engine.plan import PlannedProbe, null_plan, plan_notes, plan_probes
from sway_gate.measurements import BASE, FINETUNED, LogProbs, View
from sway_gate.probes.base import Context
from sway_gate.spec.load import parse_spec
from sway_gate.spec.schema import Section, Spec

PROSE = (
    "The mill at the ford grinds the corn of the whole valley, "
    "and the miller keeps a goat that eats the sacks. " * 3
)
CONTEXT = Context(sections=(Section(kind="prose", id="s", content=PROSE),))
STYLE = "{name: style, kind: style_fingerprint, prompts: [Tell me a story, The mill is]}"
LEAK = "{name: leak, kind: leakage, evidence: generate}"
CURVE = "{name: curve, kind: adapter_ablation, prompts: [The mill is]}"
MOVED = "{name: moved, kind: delta_kl, prompts: ['What is a mill?', The mill is]}"


def loaded(*entries: str, nulls: str = "") -> Spec:
    models = "{base: {kind: dummy, base: b}, ft: {kind: dummy, base: b, adapter: a}}"
    suite = [f"{{name: n, kind: null_adapter{nulls}}}", *entries]
    return parse_spec(f"version: 1\nmodels: {models}\nsuite: [{', '.join(suite)}]", "s", ".")


def plan(given: Spec, context: Context = CONTEXT, capabilities: Any = ALL) -> list[PlannedProbe]:
    return plan_probes(given, context, null_plan(given), capabilities)


def null_views(planned: PlannedProbe) -> set[View]:
    return {m.view for m in planned.measurements if m.view.source == "null"}


RUNS = {"default": ("", 8, 4), "given": (", runs: 12", 12, 12), "raised": (", runs: 1", 3, 3)}


@pytest.mark.parametrize(("nulls", "runs", "generative"), RUNS.values(), ids=RUNS)
def test_generative_probes_use_fewer_nulls_by_default(
    nulls: str, runs: int, generative: int
) -> None:
    given = loaded(STYLE, MOVED, nulls=nulls)
    style, moved = (planned.with_all_nulls() for planned in plan(given))
    assert (len(null_views(style)), len(null_views(moved))) == (generative, runs)
    notes = plan_notes([style, moved], null_plan(given), CONTEXT)
    assert any("4 nulls for probes that generate text: style" in note for note in notes) == (
        generative < runs
    )


def test_harms_are_never_measured_under_nulls() -> None:
    [planned] = plan(loaded(LEAK))
    assert {m.view for m in planned.measurements} == {BASE, FINETUNED}
    assert planned.nulls is None


MODES = {"auto": ("auto", 2), "on": ("on", 2), "off": ("off", 0)}


@pytest.mark.parametrize(("mode", "through"), MODES.values(), ids=MODES)
def test_a_note_counts_the_prompts_with_the_template(mode: Any, through: int) -> None:
    given, context = loaded(MOVED), CONTEXT._replace(chat_template=mode)
    planned = plan(given, context)
    # Each prompt has two requests: its divergence, and the next tokens that change.
    assert len(planned[0].needs) == 4
    prompts = {need.request.prompt for need in planned[0].needs}
    assert sum(isinstance(prompt, Conversation) for prompt in prompts) == through
    notes = " ".join(plan_notes(planned, null_plan(given), context))
    assert (f"applied to {through} of 2 prompts" in notes) == (mode != "off")


LACKS = {
    "generation": (STYLE, "cannot generate text"),
    "teacher_forced": (LEAK, "does not report the most probable token"),
    "scales": (CURVE, "cannot scale the adapter"),
}


@pytest.mark.parametrize(
    ("capability", "entry", "words"), [(c, *x) for c, x in LACKS.items()], ids=LACKS
)
def test_probes_without_their_capability_are_skipped_with_a_reason(
    capability: str, entry: str, words: str
) -> None:
    entry = entry.replace(", evidence: generate", "") if capability == "teacher_forced" else entry
    [planned] = plan(loaded(entry), capabilities=ALL - {capability})
    assert planned.result is not None
    assert (planned.result.verdict, words in planned.result.message) == ("skip", True)


def test_without_nulls_there_is_no_calibration_and_a_note() -> None:
    given = loaded(MOVED)
    [planned] = plan(given, capabilities=ALL - {"nulls"})
    assert planned.nulls is None
    assert "no calibration" in plan_notes([planned], null_plan(given), CONTEXT, ALL - {"nulls"})[0]


def test_without_scales_there_are_no_rank_multipliers() -> None:
    given = loaded(MOVED, nulls=", rank_multipliers: [0.5, 1, 2]")
    [planned] = plan(given, capabilities=ALL - {"scales"})
    assert {view.scale for view in null_views(planned)} == {1.0}
    [note] = plan_notes([planned], null_plan(given), CONTEXT, ALL - {"scales"})
    assert "rank_multipliers are ignored" in note


def test_target_texts_are_scored_at_all_scales_of_the_adapter_only() -> None:
    [planned] = plan(loaded(CURVE))
    texts = [need for need in planned.needs if isinstance(need.request, LogProbs)]
    assert texts
    assert not any(need.of_nulls for need in texts)
    assert all(len(need.scales) == 5 for need in texts)
