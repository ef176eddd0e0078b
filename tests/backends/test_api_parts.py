"""Parts of `kind: api`: bounds of divergences, tokens of a text, answers of hostile servers."""

import json
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from scipy.special import log_softmax

from sway_gate import stats
from sway_gate.backends.api import client as client_module
from sway_gate.backends.api.bounds import divergence, is_distribution
from sway_gate.backends.api.client import KEY, OPENAI_KEY
from sway_gate.backends.api.completions import ServedModel
from sway_gate.backends.api.opening import open_api
from sway_gate.backends.api.tokens import Token, places, tokens_by_id, tokens_of
from sway_gate.engine.run import run_plan
from sway_gate.errors import CannotDecide
from sway_gate.measurements import FINETUNED, Divergence, LogProbs, with_base
from sway_gate.output import silent
from sway_gate.spec.endpoints import api_root, wrong_endpoint
from sway_gate.spec.schema import ModelRef
from tests.helpers.served import serving

pytest.importorskip("httpx")
pytest.importorskip("tenacity")

EXACT = {"js": stats.js, "kl": lambda p, q: stats.kl(q, p)}


def top_of(logs: Any, k: int) -> dict[str, float]:
    return {f"t{i}": float(logs[i]) for i in np.argsort(-logs)[:k]}


@pytest.mark.parametrize("kind", EXACT)
@pytest.mark.parametrize("size", [0.1, 1.0, 5.0])
def test_a_bound_is_never_above_the_divergence(kind, size):
    rng = np.random.default_rng(0)
    for _ in range(200):
        logits = 3 * rng.standard_normal(50)
        p, q = log_softmax(logits), log_softmax(logits + size * rng.standard_normal(50))
        exact = float(EXACT[kind](p, q))
        for k in (1, 5, 20):
            assert divergence(kind, top_of(p, k), top_of(q, k)) <= exact + 1e-9


@pytest.mark.parametrize("kind", EXACT)
def test_a_bound_of_the_whole_vocabulary_is_the_divergence(kind):
    rng = np.random.default_rng(1)
    p, q = log_softmax(rng.standard_normal((2, 30)), axis=-1)
    exact = float(EXACT[kind](p, q))
    assert divergence(kind, top_of(p, 30), top_of(q, 30)) == pytest.approx(exact, abs=1e-6)


def test_two_sets_of_tokens_without_a_common_one_differ():
    one = {f"a{i}": np.log(0.099) for i in range(10)}
    other = {f"b{i}": np.log(0.099) for i in range(10)}
    assert divergence("js", one, other) < 0.01  # each may give the other's tokens the same
    one, other = {"a": np.log(0.9), "c": np.log(0.01)}, {"b": np.log(0.9), "d": np.log(0.01)}
    assert divergence("js", one, other) > 0.4


def test_bytes_of_characters_are_not_compared():
    one = {"\ufffd": np.log(0.5), "a": np.log(0.4)}
    other = {"\ufffd": np.log(0.1), "a": np.log(0.4)}
    assert divergence("js", one, other) == pytest.approx(0, abs=1e-12)


def test_the_most_probable_token_is_compared_exactly():
    one, other = {"a": -0.1, "b": -3.0}, {"b": -0.1, "a": -3.0}
    assert divergence("argmax", one, one) == 0
    assert divergence("argmax", one, other) == 1


def test_probabilities_above_one_are_no_distribution():
    assert is_distribution({"a": -0.1})
    assert not is_distribution({"a": -0.1, "b": -0.1})
    assert not is_distribution({})


def tokens(*texts: str) -> list[Token]:
    return [Token(text, None if i == 0 else -1.0, {}) for i, text in enumerate(texts)]


PLACES = {
    "plain": ("a bc", ("a", " b", "c"), [0, 1, 3, 4]),
    "a special token before": ("a b", ("<s>", "a", " b"), [0, 0, 1, 3]),
    "an empty special token before": ("a b", ("", "a", " b"), [0, 0, 1, 3]),
    "a generated token after": ("a b", ("a", " b", " c"), [0, 1, 3]),
    "bytes of a character": ("a😀b", ("a", "\ufffd", "\ufffd", "\ufffd", "b"), [0, 1, 1, 1, 2, 3]),
    "bytes at the end": ("a😀", ("a", "\ufffd", "\ufffd", "x"), [0, 1, 1, 2]),
    "other tokens": ("a b", ("a", " c"), None),
    "too short": ("a b", ("a",), None),
    "nothing": ("a b", (), None),
}


@pytest.mark.parametrize(("text", "pieces", "expected"), PLACES.values(), ids=PLACES)
def test_places_of_tokens_in_a_text(text, pieces, expected):
    found = places(text, tokens(*pieces))
    assert found == expected
    assert found is None or all(a <= b for a, b in pairwise(found))


@pytest.mark.parametrize("wrong", [float("nan"), float("inf"), 1.0, "x", True, None, 10**400])
def test_numbers_that_are_no_log_probabilities_do_not_count(wrong):
    row = {"tokens": ["a"], "token_logprobs": [wrong], "top_logprobs": [{"a": wrong, "b": -1.0}]}
    [token] = tokens_of({"choices": [{"logprobs": row}]}) or []
    assert (token.log_prob, dict(token.top)) == (None, {})


@pytest.mark.parametrize("given", [None, [], [None], [None, {"7": {}}, None], [None, 3]])
def test_log_probabilities_by_id_of_another_length_do_not_count(given):
    assert tokens_by_id({"choices": [{"prompt_logprobs": given}]}, [1, 7, 9]) is None


ENDPOINTS = {
    "https://api.openai.com": "",
    "http://localhost:8000/v1": "",
    "http://10.0.0.7:8000": "",
    "http://[::1]:8000": "",
    "http://vllm:8000": "",
    "http://models.example.com": "must begin with https",
    "http://8.8.8.8": "must begin with https",
    "http://[::ffff:8.8.8.8]": "must begin with https",
    "http://[::ffff:10.0.0.7]": "",
    "http://134744072": "must begin with https",
    "http://0x08080808": "must begin with https",
    "http://example\u3002com": "must begin with https",
    "http://my-vllm_0.svc.internal": "",
    "https://user:secret@example.com": "without a password",
    "https://example.com/v1?key=secret": "without a password",
    "ftp://example.com": "must be an address",
    "file:///etc/passwd": "must be an address",
    "https://exam\nple.com": "must be an address",
    "http://localhost:99999": "must be an address",
    "": "must be an address",
}


@pytest.mark.parametrize(("address", "wrong"), ENDPOINTS.items())
def test_endpoints(address, wrong):
    found = wrong_endpoint(address)
    assert wrong in found
    assert bool(found) == bool(wrong)
    assert "secret" not in found


@pytest.mark.parametrize(
    ("endpoint", "root"),
    [
        ("http://a", "http://a/v1"),
        ("http://a/v1/", "http://a/v1"),
        ("http://a/x/v2", "http://a/x/v2"),
    ],
)
def test_the_version_is_added_to_an_endpoint(endpoint, root):
    assert api_root(endpoint) == root


def row(text: str, value: Any = -1.0, top: Any = None) -> tuple[str, Any, Any]:
    return text, value, {text: -1.0, "z": -2.0} if top is None else top


def echo(*rows: tuple[str, Any, Any]) -> dict[str, Any]:
    texts, values, tops = zip(*rows, strict=True)
    found = {"tokens": texts, "token_logprobs": values, "top_logprobs": tops}
    return {"choices": [{"text": "x", "logprobs": found}]}


def scripted(body: dict[str, Any]) -> dict[str, Any]:
    """A server that splits texts into words."""
    words = body["prompt"].split(" ")
    texts = [words[0], *(f" {word}" for word in words[1:])]
    new = row("x", -1.0)
    if not body.get("echo"):
        return echo(new)
    return echo((texts[0], None, None), *map(row, texts[1:]), new)


def models(address: str) -> list[ModelRef]:
    return [ModelRef(kind="api", base=name, endpoint=address) for name in ("base", "tuned")]


def measured(address: str) -> Any:
    backend = open_api(*models(address), None, has_template=False)
    wanted = [(FINETUNED, LogProbs("a b", " c d")), (FINETUNED, Divergence("a b", "js", 1))]
    return run_plan(with_base(wanted), lambda: backend, None, silent).answers


def test_a_server_that_splits_texts_into_words():
    with serving(lambda _, body, __: (200, scripted(body))) as address:
        found = measured(address)
    assert found.get(FINETUNED, LogProbs("a b", " c d")).tolist() == [-1.0, -1.0]
    assert found.get(FINETUNED, Divergence("a b", "js", 1)).tolist() == [0.0]


def changed(change: Any) -> Any:
    """The server, whose answers to the tuned model's measured texts are changed."""

    def answer(_: str, body: dict[str, Any], __: Any) -> tuple[int, Any]:
        found = scripted(body)
        if body["model"] == "tuned" and body["prompt"].startswith("a b"):
            return change(found)
        return 200, found

    return answer


def with_rows(**fields: Any) -> Any:
    def change(found: dict[str, Any]) -> tuple[int, Any]:
        found["choices"][0]["logprobs"].update(fields)
        return 200, found

    return change


def above_one(found: dict[str, Any]) -> tuple[int, Any]:
    tops = found["choices"][0]["logprobs"]["top_logprobs"]
    return with_rows(top_logprobs=[top and {"a": -0.1, "b": -0.1} for top in tops])(found)


HOSTILE: dict[str, tuple[Any, str]] = {
    "html": (lambda _: (200, b"<html>"), "does not answer with JSON"),
    "a list": (lambda _: (200, []), "gives no log-probabilities"),
    "no choices": (lambda _: (200, {"choices": []}), "gives no log-probabilities"),
    "another length": (with_rows(token_logprobs=[None]), "gives no log-probabilities"),
    "nan": (
        lambda found: (200, json.dumps(found).replace("-1.0", "NaN").encode()),
        "cannot be ones|is not one",
    ),
    "probabilities above 1": (above_one, "probabilities that cannot be ones"),
    "a redirect": (lambda _: (302, {"location": "http://example.com"}), "status 302"),
    "an error": (lambda _: (500, {"error": "\x1b[2J\n::error::x"}), r"status 500: .*\\u001b"),
    "a name that it lacks": (lambda _: (404, {"error": "no model"}), "status 404"),
}


@pytest.mark.parametrize(("change", "said"), HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_answer_is_one_line(change, said):
    with serving(changed(change)) as address, pytest.raises(CannotDecide, match=said) as raised:
        measured(address)
    assert "\n" not in str(raised.value)


def test_models_that_split_texts_differently_are_refused():
    def change(found: dict[str, Any]) -> tuple[int, Any]:
        given = found["choices"][0]["logprobs"]
        if len(given["tokens"]) == 5:
            given["tokens"] = ["a", " ", "b c", " d", "x"]
        return 200, found

    with (
        serving(changed(change)) as address,
        pytest.raises(CannotDecide, match="the same tokenizer"),
    ):
        measured(address)


def test_a_server_that_is_away_is_one_line(monkeypatch):
    monkeypatch.setattr(client_module, "_ATTEMPTS", 1)
    with pytest.raises(CannotDecide, match="does not answer: "):
        measured("http://127.0.0.1:9/v1")


def test_a_busy_server_is_asked_again():
    asked = []

    def answer(_: str, body: dict[str, Any], __: Any) -> tuple[int, Any]:
        asked.append(body)
        return (429, {}) if len(asked) == 1 else (200, scripted(body))

    with serving(answer) as address:
        measured(address)


KEYS = {
    "its own": ({KEY: "one", OPENAI_KEY: "two"}, {}, "Bearer one"),
    "named in the spec": (
        {KEY: "one", "SWAY_KEY_B": "two"},
        {"api_key_env": "SWAY_KEY_B"},
        "Bearer two",
    ),
    "openai's stays at openai": ({OPENAI_KEY: "two"}, {}, None),
}


@pytest.mark.parametrize(("environment", "fields", "sent"), KEYS.values(), ids=KEYS)
def test_the_key_that_a_server_gets(environment, fields, sent, monkeypatch):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    seen = []

    def answer(_: str, body: dict[str, Any], headers: Any) -> tuple[int, Any]:
        seen.append(headers["Authorization"])
        return 401, {"error": f"wrong key {headers['Authorization']}"}

    with serving(answer) as address:
        ref = ModelRef(kind="api", base="m", endpoint=address, **fields)
        with pytest.raises(CannotDecide) as raised:
            open_api(ref, ref, None, has_template=False)
    assert set(seen) == {sent}
    assert sent is None or sent.removeprefix("Bearer ") not in str(raised.value)


def test_no_text_is_no_generation():
    with serving(lambda *_: (200, {"choices": [{"text": 3}]})) as address:
        model = ServedModel(client_module.Client(address, address), "m")
        with pytest.raises(CannotDecide, match="gives no text"):
            model.text("a", 3)


def test_half_a_character_of_a_server_is_replaced():
    def answer(_: str, body: dict[str, Any], __: Any) -> tuple[int, Any]:
        found = scripted(body)
        found["choices"][0]["text"] = " c\ud800"
        return 200, found

    request = Divergence("a b", "argmax", 3)
    with serving(answer) as address:
        backend = open_api(*models(address), None, has_template=False)
        plan = with_base([(FINETUNED, request)])
        found = run_plan(plan, lambda: backend, None, silent).answers
    assert found.get(FINETUNED, request).tolist() == [0.0, 0.0]


def test_a_prompt_that_the_server_cuts_is_not_measured():
    used = {"choices": [{"text": "x"}], "usage": {"prompt_tokens": 2}}
    with serving(lambda *_: (200, used)) as address:
        model = ServedModel(client_module.Client(address, address), "m")
        assert model.text([5, 6], 1) == "x"
        with pytest.raises(CannotDecide, match="reads 2 of 3 tokens of a prompt"):
            model.text([5, 6, 7], 1)
