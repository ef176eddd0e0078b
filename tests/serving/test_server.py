"""A server's answers: alignment of its tokens, retries, and what it cannot give."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from sway_gate.errors import CannotDecide
from sway_gate.serving.scores import Passage
from sway_gate.serving.server import KEY, Server, aligned

httpx = pytest.importorskip("httpx")
pytest.importorskip("tenacity")

PASSAGE = Passage(
    "Q", (1, 5, 6, 2, 7, 8, 9, 9, 2), 4, "<s>ab<e>", "<s>ab<e> cdee<e>",
    ("", "a", "b", "", " c", "d", "e", "e", ""), frozenset({"<s>", "<e>"}),
)  # fmt: skip
Reply = tuple[int, Any]


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


@contextmanager
def serving(answer: Callable[[str, dict[str, Any], Any], Reply]) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._reply({})

        def do_POST(self) -> None:
            self._reply(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

        def _reply(self, body: dict[str, Any]) -> None:
            status, found = answer(self.path, body, self.headers)
            data = found if isinstance(found, bytes) else json.dumps(found).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *args: Any) -> None:
            """Print nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1"
    finally:
        server.shutdown()
        server.server_close()


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
    ],
)
def test_what_a_server_cannot_give(reply: Reply, said: str) -> None:
    with serving(lambda *_: reply) as address, pytest.raises(CannotDecide, match=said):
        Server(f"{address}#m")._score(PASSAGE)


def test_a_busy_server_is_tried_again() -> None:
    calls = []

    def busy(path: str, body: dict[str, Any], headers: Any) -> Reply:
        calls.append(path)
        return (503, {}) if len(calls) == 1 else honest(path, body, headers)

    with serving(busy) as address:
        assert Server(f"{address}#m")._score(PASSAGE)[0].log_probs[0] == -2.0
    assert len(calls) == 3


def test_several_models_need_a_choice() -> None:
    two = {"data": [{"id": "a"}, {"id": "b"}]}
    answer = serving(lambda *_: (200, two))
    with answer as address, pytest.raises(CannotDecide, match=r"serves 2 models \(a, b\)"):
        Server(address)


def test_the_key_is_sent_and_never_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY, "secret-key")
    seen = []

    def refusing(path: str, body: dict[str, Any], headers: Any) -> Reply:
        seen.append(headers["Authorization"])
        return 401, {"error": "no"}

    with serving(refusing) as address, pytest.raises(CannotDecide) as raised:
        Server(f"{address}#m")._score(PASSAGE)
    assert seen == ["Bearer secret-key"]
    assert "secret-key" not in str(raised.value)


def test_numbers_that_are_no_log_probabilities_do_not_count() -> None:
    for wrong in (float("nan"), 3.0):
        rows = [(" c", wrong, -1.0), ("d", -1.0, -1.0)]
        answer = {"choices": [{"logprobs": logprobs([("ab", None, None), *rows])}]}
        with serving(lambda *_, answer=answer: (200, answer)) as address:
            scores, _ = Server(f"{address}#m")._score(PASSAGE)
        assert [bool(x == x) for x in scores.log_probs] == [False, True, False, False, False]


def test_aligned_needs_the_same_text() -> None:
    scores, best = aligned(PASSAGE, [])
    assert all(x != x for x in [*scores.log_probs, *best])
