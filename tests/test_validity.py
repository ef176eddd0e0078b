"""Data and suite of the validity benchmark are consistent. The benchmark itself builds the zoo."""

from pathlib import Path

import pytest

pytest.importorskip("peft")

from benchmarks.validity import documents, recipes, suite, truth
from sway_gate.engine.plan import null_plan, plan_probes
from sway_gate.probes.base import Context
from sway_gate.spec.load import parse_spec
from sway_gate.spec.probes import KINDS
from sway_gate.spec.schema import Spec
from sway_gate.suites.choose import suite as choose
from sway_gate.suites.supports import Entry, Material

DOCUMENTS = [documents.document(name) for name in documents.DOCUMENTS]
named = pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: document.name)


def loaded(document: documents.Document) -> Spec:
    text = suite.text(suite.suite(document, Path("base"), Path("adapter"), "embedding"))
    return parse_spec(text, "sway.yaml", "/")


@named
def test_suite_has_every_kind_that_fits_the_bases_once(document: documents.Document) -> None:
    kinds = sorted(probe.kind for probe in loaded(document).suite)
    without = {"style_fingerprint", "generalization", "prompt_format", "refusals"}
    assert kinds == sorted(set(KINDS) - without)


@named
def test_suite_has_what_init_writes_for_the_document(document: documents.Document) -> None:
    """Apart from kinds that need a chat template; the style is disabled there."""
    spec = loaded(document)
    written = choose(Material(spec.sections, has_template=False))
    kinds = {e.fields["kind"] for e in written if isinstance(e, Entry)} - {"style_fingerprint"}
    assert {"answer_specificity", "answer_recall", "degeneration"} <= kinds
    assert kinds <= {probe.kind for probe in spec.suite}


@named
def test_the_new_probes_of_the_data_can_be_measured(document: documents.Document) -> None:
    spec = loaded(document)
    planned = plan_probes(spec, Context(spec.sections), null_plan(spec))
    assert [p.result for p in planned if p.spec.kind.startswith("answer_")] == [None, None]


@named
def test_suite_contains_the_document(document: documents.Document) -> None:
    *prose, questions = loaded(document).sections
    assert [section.content for section in prose] == [section.body for section in document.prose]
    assert [(pair.prompt, pair.gold) for pair in questions.pairs] == list(document.questions)


@named
def test_document_has_its_full_size(document: documents.Document) -> None:
    assert len(document.prose) in (6, 7)
    assert [len(asked) for asked in document.paraphrases] == [2] * len(document.questions)
    assert len(document.preferences) == 8
    assert len(document.topical) >= 8


@named
def test_paraphrases_and_rejected_answers_are_not_trained_on(document: documents.Document) -> None:
    trained = "\n".join(document.texts())
    held_out = [prompt for asked in document.paraphrases for prompt in asked]
    held_out += [preference.prompt + preference.rejected for preference in document.preferences]
    assert [text for text in held_out if text in trained] == []


@named
def test_questions_and_preferences_ask_different_things(document: documents.Document) -> None:
    prompts = [prompt for prompt, _ in document.questions]
    prompts += [preference.prompt for preference in document.preferences]
    assert len(set(prompts)) == len(prompts)


@pytest.mark.parametrize(("name", "adapter"), recipes.ADAPTERS.items(), ids=recipes.ADAPTERS)
def test_defective_adapters_have_reasons_and_known_symptoms(
    name: str, adapter: recipes.Adapter
) -> None:
    assert bool(adapter.reasons) != name.startswith("healthy")
    assert set(adapter.symptoms) <= set(truth.SYMPTOMS)
    assert adapter.reasons <= {*KINDS, "static"}
