"""`kind: api` in a spec: the fields of dlm-sway, and its own."""

import pytest

from sway_gate.errors import SpecError
from sway_gate.spec.load import parse_spec
from sway_gate.spec.schema import Spec

SUITE = "suite: [{name: moved, kind: delta_kl, prompts: [a]}]\n"
BASE = "kind: api, base: a, endpoint: 'http://localhost:8000'"


def loaded(base: str = BASE, ft: str = "kind: api, base: b", more: str = "") -> Spec:
    models = f"models: {{base: {{{base}}}, ft: {{{ft}}}}}\n"
    return parse_spec(models + more + SUITE, "sway.yaml", ".")


def test_a_spec_of_dlm_sway_is_read_unchanged():
    ft = "kind: api, base: b, endpoint: 'https://api.openai.com'"
    spec = loaded(ft=ft, more="defaults: {differential: false}\n")
    assert spec.models.is_api
    assert spec.models.ft.endpoint == "https://api.openai.com"
    assert spec.notes == ()


def test_the_fine_tuned_model_is_on_the_same_server_unless_it_names_another():
    spec = loaded(base=BASE + ", api_key_env: SWAY_KEY, tokenizer: org/model")
    ft = spec.models.ft
    assert (ft.endpoint, ft.api_key_env) == ("http://localhost:8000", "SWAY_KEY")
    assert ft.tokenizer == "org/model"


def test_a_key_is_not_sent_to_another_server():
    spec = loaded(
        base=BASE + ", api_key_env: SWAY_KEY",
        ft="kind: api, base: b, endpoint: 'https://example.com'",
    )
    assert spec.models.ft.api_key_env is None


def test_an_adapter_is_ignored_with_a_note():
    spec = loaded(ft="kind: api, base: b, adapter: ./x")
    assert spec.models.ft.adapter is None
    assert "models.ft.adapter is ignored" in spec.notes[0]


def test_each_model_has_its_revision():
    spec = loaded(base=BASE + ", revision: x", ft="kind: api, base: b, revision: y")
    assert (spec.models.base.revision, spec.models.ft.revision) == ("x", "y")


MISTAKES = {
    "no endpoint": ("kind: api, base: a", "kind: api, base: b", "must have an endpoint"),
    "a public host without encryption": (
        "kind: api, base: a, endpoint: 'http://example.com'",
        "kind: api, base: b",
        "must begin with https",
    ),
    "the same model": (BASE, "kind: api, base: a", "must be another model"),
    "another kind": (BASE, "base: a, adapter: org/lora", "must have the kind"),
    "another secret": (
        BASE + ", api_key_env: AWS_SECRET_ACCESS_KEY",
        "kind: api, base: b",
        "api_key_env must begin with SWAY_",
    ),
    "a tokenizer that is not there": (
        BASE + ", tokenizer: ./absent",
        "kind: api, base: b",
        "tokenizer './absent' does not exist",
    ),
    "a tokenizer of files": (
        "base: org/a, tokenizer: org/b",
        "base: org/a, adapter: org/lora",
        "tokenizer must be absent for kind: hf",
    ),
}


@pytest.mark.parametrize(("base", "ft", "said"), MISTAKES.values(), ids=MISTAKES)
def test_mistakes(base, ft, said):
    with pytest.raises(SpecError) as raised:
        loaded(base, ft)
    assert said in str(raised.value)
