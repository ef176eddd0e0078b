"""A server's answers: alignment of its tokens, retries, and what it cannot give."""

import socket
import time
from contextlib import suppress
from http.server import BaseHTTPRequestHandler
from typing import Any

import pytest

from sway_gate.backends.api import client as module
from sway_gate.backends.api.client import KEY, OPENAI_KEY
from sway_gate.conversation import Conversation, Message
from sway_gate.errors import CannotDecide, UsageError
from sway_gate.serving.artefacts import check_name
from sway_gate.serving.scores import Passage
from sway_gate.serving.server import Server, aligned
from tests.helpers.served import Reply, serving, started

httpx = pytest.importorskip("httpx")
pytest.importorskip("tenacity")

PASSAGE = Passage(
    "Q", (1, 5, 6, 2, 7, 8, 9, 9, 2), 4, "<s>ab<e>", "<s>ab<e> cdee<e>",
    ("", "a", "b", "", " c", "d", "e", "e", ""), frozenset({"<s>", "<e>"}),
)  # fmt: skip


def logprobs(rows: list[tuple[str, float | None, float | None]]) -> dict[str, Any]:
    return {
        "tokens": [text for text, _, _ in rows],
        "token_logprobs": [value for _, value, _ in rows],
        "top_logprobs": [None if top is None else {"x": top} for _, _, top in rows],
    }


ROWS = [("a", None, None), ("b", -1.0, -0.5), (" c", -2.0, -1.5), ("d", -0.25, -0.25),
        ("e", -1.0, -1.0), ("e", -1.0, -1.0), ("\n", 0, 0)]  # fmt: skip
ECHO = {"choices": [{"logprobs": logprobs(ROWS)}]}
NEXT = {"choices": [{"logprobs": logprobs([("y", -1.5, -1.5)])}]}


def honest(path: str, body: dict[str, Any], headers: Any) -> Reply:
    if path == "/v1/models":
        return 200, {"data": [{"id": "m"}]}
    return 200, ECHO if body.get("echo") else NEXT


def test_tokens_are_aligned_by_their_place_in_the_text() -> None:
    with serving(honest) as address:
        server = Server(address)
        (scores,) = server.scores([PASSAGE])
        server.close()
    assert scores.log_probs[:2].tolist() == [-2.0, -0.25]
    assert scores.greedy.tolist() == [False, True, True, True, False]


def test_tokens_that_are_split_in_another_way_are_left_out() -> None:
    rows = [("a", None, None), ("b", -1.0, -0.5), (" ", -2.0, -1.5), ("cd", -0.25, -0.25)]
    with serving(lambda *_: (200, {"choices": [{"logprobs": logprobs(rows)}]})) as address:
        server = Server(f"{address}#m")
        with pytest.raises(CannotDecide, match="splits the texts into other tokens"):
            server.scores([PASSAGE])


def test_log_probabilities_of_the_wrong_tokens_are_refused() -> None:
    shifted = {"choices": [{"logprobs": logprobs([("y", -0.1, -0.1)])}]}
    answer = serving(lambda _, body, __: (200, ECHO if body.get("echo") else shifted))
    with answer as address, pytest.raises(CannotDecide, match="to the wrong tokens"):
        Server(f"{address}#m").scores([PASSAGE])


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        ((200, {"choices": [{"logprobs": None}]}), "gives no log-probabilities"),
        ((200, b"<html>"), "does not answer with JSON"),
        ((401, {"error": "bad key"}), "status 401"),
        ((200, []), "gives no log-probabilities"),
        ((200, b"[" * 100_000), "does not answer with JSON"),
        ((302, {"location": "http://example.com"}), "status 302"),
    ],
)
def test_what_a_server_cannot_give(reply: Reply, said: str) -> None:
    with serving(lambda *_: reply) as address, pytest.raises(CannotDecide, match=said):
        Server(f"{address}#m")._score(PASSAGE)


UNKNOWN = {"error": {"message": "The model `m` does not exist."}}


@pytest.mark.parametrize(
    ("refusal", "models", "is_wrong"),
    [
        ((404, UNKNOWN), ["a", "b"], True),
        ((404, UNKNOWN), ["a", "m"], False),
        ((404, UNKNOWN), [], False),
        ((404, {"detail": "Not Found"}), ["a"], False),
        ((400, UNKNOWN), ["a"], False),
    ],
    ids=["unknown", "listed", "nothing listed", "another path", "another status"],
)
def test_only_a_name_that_the_server_lacks_is_wrong_input(
    refusal: Reply, models: list[str], is_wrong: bool
) -> None:
    listed = 200, {"data": [{"id": name} for name in models]}
    with serving(lambda path, *_: listed if path == "/v1/models" else refusal) as address:
        if is_wrong:
            with pytest.raises(UsageError, match=r"\(m\): .* it serves a, b$"):
                Server(f"{address}#m")
        else:
            with pytest.raises(CannotDecide, match=f"status {refusal[0]}"):
                Server(f"{address}#m").scores([PASSAGE])


@pytest.mark.parametrize("models", [[], {"data": None}, {"data": ["m"]}, {"data": [{}]}])
def test_a_server_without_names_of_models(models: object) -> None:
    with (
        serving(lambda *_: (200, models)) as address,
        pytest.raises(CannotDecide, match="lists no models"),
    ):
        Server(address)


def test_names_of_models_stay_on_one_line() -> None:
    named = {"data": [{"id": "a\n::error::b"}, {"id": "c\x1b[2J"}]}
    answer = serving(lambda *_: (200, named))
    with answer as address, pytest.raises(UsageError, match=r"a ::error::b, c\\x1b"):
        Server(address)


def test_a_number_of_tokens_that_is_text_is_no_difference() -> None:
    talk = Conversation((Message("user", "Q"),))
    used = {"usage": {"prompt_tokens": "\n::error::x"}}
    with serving(lambda *_: (200, used)) as address:
        assert Server(f"{address}#m").notes(None, [PASSAGE._replace(prompt=talk)] * 3) == ()


@pytest.mark.parametrize("limit", ["MAX_BYTES", "TIMEOUT_S"])
def test_an_endless_answer_ends(limit: str, monkeypatch: pytest.MonkeyPatch) -> None:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.send_response(200)
            self.end_headers()
            with suppress(OSError):
                while True:
                    self.wfile.write(b" ")
                    time.sleep(0.005)

        def log_message(self, format: str, *args: Any) -> None:
            """Print nothing."""

    monkeypatch.setattr(module, limit, {"MAX_BYTES": 20, "TIMEOUT_S": 0.1}[limit])
    with started(Handler) as address, pytest.raises(CannotDecide, match="does not end its answer"):
        Server(f"{address}#m")._score(PASSAGE)


@pytest.mark.parametrize("is_busy", [False, True], ids=["silent", "busy"])
def test_a_server_without_an_answer_costs_the_limit_once(
    is_busy: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def answer(*_: Any) -> Reply:
        if not is_busy:
            time.sleep(1)
        return 503, {}

    monkeypatch.setattr(module, "TIMEOUT_S", 0.2)
    said = "status 503" if is_busy else r"nothing within 0\.2 s"
    with serving(answer) as address:
        start = time.monotonic()
        with pytest.raises(CannotDecide, match=f"does not answer: {said}"):
            Server(address)
        assert time.monotonic() - start < 0.9


def test_a_host_that_does_not_exist_is_a_wrong_address(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    monkeypatch.setattr(module, "_ATTEMPTS", 1)
    with pytest.raises(UsageError, match="http://models/v1: no such host"):
        Server("http://models")


@pytest.mark.parametrize(
    "address",
    ["http://\x00#m", "http://8.8.8.8/v1#m", "http://u:secret@h/v1", "https://h/v1?key=secret"],
)
def test_addresses_that_are_refused(address: str) -> None:
    with pytest.raises(UsageError, match=r"--against http.*: must") as raised:
        check_name(address)
    assert "secret" not in str(raised.value)


def test_a_busy_server_is_tried_again() -> None:
    calls = []

    def busy(path: str, body: dict[str, Any], headers: Any) -> Reply:
        calls.append(path)
        return (503, {}) if len(calls) == 1 else honest(path, body, headers)

    with serving(busy) as address:
        assert Server(f"{address}#m")._score(PASSAGE)[0].log_probs[0] == -2.0
    assert len(calls) == 4  # the first one twice


def test_several_models_need_a_choice() -> None:
    two = {"data": [{"id": "a"}, {"id": "b"}]}
    answer = serving(lambda *_: (200, two))
    with answer as address, pytest.raises(UsageError, match=r"serves 2 models \(a, b\)"):
        Server(address)


def test_the_key_is_sent_and_never_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY, "secret-key")
    seen = []

    def refusing(path: str, body: dict[str, Any], headers: Any) -> Reply:
        seen.append(headers["Authorization"])
        return 401, {"error": f"wrong key {headers['Authorization']}"}

    with serving(refusing) as address, pytest.raises(CannotDecide) as raised:
        Server(f"{address}#m")._score(PASSAGE)
    assert set(seen) == {"Bearer secret-key"}
    assert "wrong key" in str(raised.value)
    assert "secret-key" not in str(raised.value)


def test_a_key_that_cannot_be_sent_is_never_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    for key in ("secret\nkey", "secret-kéy"):
        monkeypatch.setenv(KEY, key)
        with pytest.raises(UsageError, match=KEY) as raised:
            Server("http://127.0.0.1:9/v1#m")
        assert "secret" not in str(raised.value)


def test_the_key_of_openai_is_sent_to_openai_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(OPENAI_KEY, "secret-key")
    assert module.key_for("https://api.openai.com/v1") == "secret-key"
    seen = []

    def answer(path: str, body: dict[str, Any], headers: Any) -> Reply:
        seen.append(headers["Authorization"])
        return honest(path, body, headers)

    with serving(answer) as address:
        Server(address)
    assert set(seen) == {None}


def test_numbers_that_are_no_log_probabilities_do_not_count() -> None:
    for wrong in (float("nan"), 3.0, -1e300, 10**400):
        rows = [(" c", wrong, -1.0), ("d", -1.0, -1.0)]
        answer = {"choices": [{"logprobs": logprobs([("ab", None, None), *rows])}]}
        with serving(lambda *_, answer=answer: (200, answer)) as address:
            scores, _ = Server(f"{address}#m")._score(PASSAGE)
        assert [bool(x == x) for x in scores.log_probs] == [False, True, False, False, False]


def test_aligned_needs_the_same_text() -> None:
    scores, best = aligned(PASSAGE, [])
    assert all(x != x for x in [*scores.log_probs, *best])
