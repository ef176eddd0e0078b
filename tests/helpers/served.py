"""A small server with OpenAI's interface for completions, on the demo's models or on a function."""

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer

from sway_gate import demo

Reply = tuple[int, Any]
_NAMES = ("base", "tuned")
Answer = Callable[[str, dict[str, Any], Mapping[str, str]], Reply]


@contextmanager
def serving(answer: Answer) -> Iterator[str]:
    """The address of a server that answers with `answer(path, body, headers)`: (status, JSON)."""

    class Handler(BaseHTTPRequestHandler):
        wbufsize = -1  # one packet per answer

        def do_GET(self) -> None:
            self._reply({})

        def do_POST(self) -> None:
            self._reply(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

        def _reply(self, body: dict[str, Any]) -> None:
            status, found = answer(self.path, body, self.headers)
            data = found if isinstance(found, bytes) else json.dumps(found).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            if status == 302:
                self.send_header("Location", found["location"])
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *args: Any) -> None:
            """Print nothing."""

    with started(Handler) as address:
        yield address


@contextmanager
def started(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    """The address of a server that is shut down at the end."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1"
    finally:
        server.shutdown()
        server.server_close()


@dataclass
class DemoServer:
    """The demo's base, and its healthy adapter under the name `tuned`.

    `takes_ids`, `echoes`: what the server supports. `refusal`: the status for the rest.
    `gives_ids`: log-probabilities of a prompt by token id, as vLLM. `shows_start`: whether answers
    have the token that begins a text. `shift`: log-probabilities of a prompt are the next token's.
    `most`: of the most probable tokens. `drops_adapter`: answer for the base under each name.
    """

    takes_ids: bool = True
    refusal: int = 400
    echoes: bool = True
    gives_ids: bool = False
    shows_start: bool = True
    shift: bool = False
    most: int = 20
    gives_log_probs: bool = True
    drops_adapter: bool = False
    requests: list[dict[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        base = AutoModelForCausalLM.from_pretrained(demo.MODEL)
        self._model = PeftModel.from_pretrained(base, demo.HEALTHY).eval()
        self._tokenizer = AutoTokenizer.from_pretrained(demo.MODEL)
        self._lock = threading.Lock()

    def __call__(self, path: str, body: dict[str, Any], headers: Mapping[str, str]) -> Reply:
        if path == "/v1/models":
            return 200, {"data": [{"id": name} for name in _NAMES]}
        self.requests.append(body)
        if path != "/v1/completions":
            return 404, {"detail": "Not Found"}
        if (name := body["model"]) not in _NAMES:  # as vLLM
            return 404, {"error": {"message": f"The model `{name}` does not exist."}}
        prompt, top = body["prompt"], body.get("logprobs", 0)
        is_refused = isinstance(prompt, list) and not self.takes_ids
        if is_refused or top > self.most or (body.get("echo") and not self.echoes):
            return self.refusal, {"error": "not supported"}
        ids = prompt if isinstance(prompt, list) else self._tokenizer(prompt)["input_ids"]
        is_base = body["model"] == "base" or self.drops_adapter
        view = self._model.disable_adapter() if is_base else nullcontext()
        with self._lock, torch.no_grad(), view:
            return 200, {"choices": [self._choice(ids, body, top)]}

    def _choice(self, ids: list[int], body: dict[str, Any], top: int) -> dict[str, Any]:
        whole = [*ids]
        for _ in range(body["max_tokens"]):
            best = int(self._model(torch.tensor([whole])).logits[0, -1].argmax())
            if best == self._tokenizer.eos_token_id:
                break
            whole.append(best)
        text = self._tokenizer.decode(whole[len(ids) :], skip_special_tokens=True)
        if not (top and self.gives_log_probs):
            return {"text": text, "logprobs": None}
        logs = self._model(torch.tensor([whole])).logits[0].double().log_softmax(-1)
        rows = [None, *logs] if not self.shift else [None, *logs[1:], logs[-1]]
        first = 0 if body.get("echo") else len(ids)
        pairs = list(zip(whole, rows, strict=False))[first:]
        if not self.shows_start:
            pairs = [pair for pair in pairs if pair[0] != self._tokenizer.bos_token_id]
        choice = {"text": text, "logprobs": self._by_text(pairs, top)}
        if self.gives_ids and body.get("echo"):
            choice["prompt_logprobs"] = [
                row if row is None else self._by_id(token, row, top)
                for token, row in zip(ids, rows, strict=False)
            ]
        return choice

    def _by_text(self, pairs: list[tuple[int, Any]], top: int) -> dict[str, Any]:
        return {
            "tokens": [self._tokenizer.decode([token]) for token, _ in pairs],
            "token_logprobs": [row if row is None else float(row[i]) for i, row in pairs],
            "top_logprobs": [
                row
                if row is None
                else {self._tokenizer.decode([j]): float(row[j]) for j in row.topk(top).indices}
                for _, row in pairs
            ],
        }

    def _by_id(self, token: int, row: Any, top: int) -> dict[str, Any]:
        shown = dict.fromkeys([token, *row.topk(top).indices.tolist()])
        return {str(i): {"logprob": float(row[i]), "rank": 1} for i in shown}
