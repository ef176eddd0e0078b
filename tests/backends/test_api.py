"""`kind: api`: the same numbers and verdicts through a server as from the files."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from sway_gate import demo
from sway_gate.backends import hf, null_adapters
from sway_gate.backends.api import completions
from sway_gate.backends.api.opening import open_api
from sway_gate.backends.loading import Source
from sway_gate.engine.run import run_plan
from sway_gate.errors import CannotDecide
from sway_gate.measurements import (
    FINETUNED,
    Divergence,
    Generation,
    LogProbs,
    NoAnswer,
    TeacherForced,
    with_base,
)
from sway_gate.output import silent
from sway_gate.spec.schema import ModelRef
from tests.helpers.served import DemoServer, serving

pytest.importorskip("httpx")
pytest.importorskip("tenacity")

PROMPT, ANSWER = "The keeper of the sand road is", " Old Tamsin Vole"
NUMBERS = {
    "log-probabilities": LogProbs(PROMPT, ANSWER),
    "with the end of the text": LogProbs(PROMPT, ANSWER, end=True),
    "of a whole text": LogProbs("", PROMPT),
    "after a special token": LogProbs("One<s> two", ANSWER),
    "matches": TeacherForced(PROMPT, ANSWER),
    "changed tokens": Divergence(PROMPT, "argmax", 4),
}
WITH_IDS: dict[str, dict[str, Any]] = {
    "by id": {"gives_ids": True},
    "ids": {},
    "ids without the first token": {"shows_start": False},
    "texts": {"takes_ids": False},
    "texts of a server that does not know ids": {"takes_ids": False, "refusal": 404},
    "texts without the first token": {"takes_ids": False, "shows_start": False},
}


@pytest.fixture(scope="module")
def served() -> Iterator[tuple[DemoServer, str]]:
    server = DemoServer()
    with serving(server) as address:
        yield server, address


@pytest.fixture
def server(served: tuple[DemoServer, str], monkeypatch: pytest.MonkeyPatch) -> DemoServer:
    """The server, as it was at first."""
    for name, value in vars(DemoServer).items():
        if name in DemoServer.__dataclass_fields__:
            monkeypatch.setattr(served[0], name, value)
    monkeypatch.setattr(served[0], "requests", [])
    return served[0]


@pytest.fixture(scope="module")
def from_files() -> Any:
    source = Source(demo.MODEL, demo.HEALTHY, device="cpu")
    return hf.load(source, null_adapters.NullSettings(runs=3))


def opened(address: str, tokenizer: Any = demo.MODEL, ft: str = "") -> Any:
    models = {"base": address, "tuned": ft or address}
    refs = [ModelRef(kind="api", base=name, endpoint=at) for name, at in models.items()]
    return open_api(*refs, tokenizer, has_template=False)


def answers(backend: Any, *requests: Any) -> Any:
    return run_plan(with_base((FINETUNED, r) for r in requests), lambda: backend, None, silent)


@pytest.mark.parametrize("options", WITH_IDS.values(), ids=WITH_IDS)
def test_numbers_are_those_of_the_files(server, served, from_files, options):
    for name, value in options.items():
        setattr(server, name, value)
    given = answers(opened(served[1]), *NUMBERS.values(), Generation(PROMPT, 6)).answers
    known = answers(from_files, *NUMBERS.values(), Generation(PROMPT, 6)).answers
    assert given.text(FINETUNED, Generation(PROMPT, 6)) == known.text(
        FINETUNED, Generation(PROMPT, 6)
    )
    for request in NUMBERS.values():
        np.testing.assert_allclose(
            given.get(FINETUNED, request), known.get(FINETUNED, request), atol=1e-4
        )


def test_without_a_tokenizer_tokens_are_found_by_their_place_in_the_text(
    server, served, from_files
):
    requests = [r for name, r in NUMBERS.items() if "end of the" not in name]
    given, known = (answers(b, *requests) for b in (opened(served[1], None), from_files))
    for request in requests:
        found, expected = (one.answers.get(FINETUNED, request) for one in (given, known))
        if isinstance(request, TeacherForced):
            assert (found[:, 3] == -1).all()
            found, expected = found[:, :3], expected[:, :3]
        np.testing.assert_allclose(found, expected, atol=1e-4)
    assert all(isinstance(body["prompt"], str) for body in server.requests)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["js", "kl"])
def test_divergences_are_exact_if_the_server_gives_the_whole_vocabulary(
    server, served, from_files, kind, monkeypatch
):
    monkeypatch.setattr(completions, "_TOP", (2048,))
    server.most, server.gives_ids = 2048, True
    request = Divergence(PROMPT, kind, 4)
    given, known = (answers(b, request).answers for b in (opened(served[1]), from_files))
    np.testing.assert_allclose(
        given.get(FINETUNED, request)[:3], known.get(FINETUNED, request)[:3], atol=1e-4
    )


@pytest.mark.parametrize("tokenizer", [None, demo.MODEL], ids=["texts", "ids"])
def test_divergences_of_the_most_probable_tokens_are_lower_bounds(
    server, served, from_files, tokenizer
):
    request, backend = Divergence(PROMPT, "js", 4), opened(served[1], tokenizer)
    given, known = (answers(b, request).answers for b in (backend, from_files))
    bound, exact = given.get(FINETUNED, request), known.get(FINETUNED, request)
    assert (bound <= exact + 1e-6).all()
    assert (bound > exact / 4).all()
    assert "the 20 most probable tokens" in backend.facts.notes[-1]


LESS: dict[str, tuple[dict[str, Any], set[str], str]] = {
    "next token only": ({"echoes": False}, {"generation", "divergences"}, "first position"),
    "no log-probabilities": ({"gives_log_probs": False}, {"generation"}, ""),
    "few tokens": (
        {"most": 5},
        {"generation", "divergences", "log_probs", "teacher_forced"},
        "",
    ),
    "shifted": ({"shift": True}, {"generation", "divergences"}, "first position"),
}


@pytest.mark.parametrize(("options", "capabilities", "note"), LESS.values(), ids=LESS)
def test_the_capabilities_are_what_the_server_gives(server, served, options, capabilities, note):
    for name, value in options.items():
        setattr(server, name, value)
    backend = opened(served[1])
    assert backend.capabilities == capabilities
    if note:
        found = answers(backend, Divergence(PROMPT, "argmax", 4))
        assert note in found.notes[0]
        assert found.answers.get(FINETUNED, Divergence(PROMPT, "argmax", 4)).shape == (1,)


def test_two_servers_must_write_tokens_in_one_way(server, served):
    def by_id(path: str, body: Any, headers: Any) -> Any:
        status, found = server(path, body, headers)
        for choice in found.get("choices", ()):
            if body.get("echo"):
                choice["prompt_logprobs"] = [
                    None,
                    *({str(i): {"logprob": -1.0}} for i in body["prompt"][1:]),
                ]
        return status, found

    with serving(by_id) as other, pytest.raises(CannotDecide, match="in another way"):
        opened(served[1], ft=other)


def test_probabilities_of_two_servers_that_score_no_prompt_are_not_compared(server, served):
    server.echoes = False
    with serving(server) as other:
        assert opened(served[1], ft=other).capabilities == {"generation"}


def test_log_probabilities_of_wrong_tokens_are_not_used(server, served):
    server.shift = True
    with pytest.raises(NoAnswer, match="to the wrong tokens"):
        answers(opened(served[1]), LogProbs(PROMPT, ANSWER)).answers.get(
            FINETUNED, LogProbs(PROMPT, ANSWER)
        )
