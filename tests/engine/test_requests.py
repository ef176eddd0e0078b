"""Each kind of request: on all backends, from the store, in the estimate and in a trace.

A new request needs an entry in SAMPLES. The tests then name the part that does not handle it.
"""

from collections.abc import Iterator
from contextlib import nullcontext
from typing import Any, get_args, get_type_hints

import numpy as np
import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer

from sway_gate import demo
from sway_gate.backends import custom, dummy, hf, null_adapters
from sway_gate.backends.base import ALL, AnswerKind, Backend, capabilities_needed
from sway_gate.backends.loading import Source
from sway_gate.backends.packing import pack
from sway_gate.engine.estimate import _sizes
from sway_gate.engine.observe import RunObserver
from sway_gate.engine.plan import _LACKING
from sway_gate.engine.run import run_plan
from sway_gate.engine.trace import Pass
from sway_gate.measurements import (
    BASE,
    FINETUNED,
    Answer,
    Divergence,
    Generation,
    LogProbs,
    Request,
    TeacherForced,
    View,
    with_base,
)
from sway_gate.output import silent
from sway_gate.spec.schema import ModelRef
from tests.helpers import ROOT

PROMPT, ANSWER = "The keeper of the sand road is", " Old Tamsin Vole"
SAMPLES: dict[str, Request] = {
    "js": Divergence(PROMPT, "js", 4),
    "kl": Divergence(PROMPT, "kl", 4),
    "log_ratio": Divergence(PROMPT, "log_ratio", 4),
    "argmax": Divergence(PROMPT, "argmax", 4),
    "logprobs": LogProbs(PROMPT, ANSWER),
    "teacher_forced": TeacherForced(PROMPT, ANSWER),
    "text": Generation(PROMPT, 6),
}
"""One request for each kind of result."""
VIEWS = (BASE, FINETUNED)
ADAPTER = demo.MODEL.parent / "healthy"


class WithPeft:
    """The demo's model and adapter by peft only, one text at a time: a `custom.CapableModel`."""

    capabilities = frozenset({"generation", "teacher_forced"})

    def __init__(self) -> None:
        base = AutoModelForCausalLM.from_pretrained(demo.MODEL)
        self._model = PeftModel.from_pretrained(base, ADAPTER).eval()
        self._tokenizer = AutoTokenizer.from_pretrained(demo.MODEL)

    def next_token_log_probs(self, view: View, prompt: str, answer: str) -> Any:
        before, after = self._tokenizer(prompt)["input_ids"], self._ids(answer)
        with torch.no_grad(), self._under(view):
            logits = self._model(torch.tensor([before + after])).logits[0]
        return logits[len(before) - 1 :].double().log_softmax(-1).numpy()

    def log_probs(self, view: View, prompt: str, completion: str) -> Any:
        rows = self.next_token_log_probs(view, prompt, completion)
        return [row[i] for row, i in zip(rows, self._ids(completion), strict=False)]

    def argmax_matches(self, view: View, prompt: str, completion: str) -> Any:
        best = self.next_token_log_probs(view, prompt, completion).argmax(-1)
        return best[:-1] == self._ids(completion)

    def generate(self, view: View, prompt: str, max_new_tokens: int) -> str:
        answer = ""
        for _ in range(max_new_tokens):
            best = self.next_token_log_probs(view, prompt, answer)[-1].argmax()
            answer += self._tokenizer.decode([int(best)], skip_special_tokens=True)
        return answer

    def _ids(self, text: str) -> list[int]:
        return list(self._tokenizer(text, add_special_tokens=False)["input_ids"])

    def _under(self, view: View) -> Any:
        return self._model.disable_adapter() if view == BASE else nullcontext()


class Memory(dict[tuple[str, str], Any]):
    """A store that is empty at first."""

    def get(self, view: str, request: str) -> Any:
        return super().get((view, request))

    def put(self, view: str, request: str, value: Any) -> None:
        self[view, request] = value


def measured(backend: Backend | None, request: Request, store: Any = None) -> Iterator[Answer]:
    """The answers under all views to `request` only; without a backend from the store."""

    def opened() -> Backend:
        assert backend is not None, "not in the store"
        return backend

    plan = with_base((view, request) for view in VIEWS)
    found = run_plan(plan, opened, store, silent).answers
    read = found.text if isinstance(request, Generation) else found.get
    yield from (read(m.view, m.request) for m in plan if not m.is_reference)


@pytest.fixture(scope="module")
def backends() -> dict[str, Backend]:
    names = ModelRef(kind="dummy", base="b"), ModelRef(kind="dummy", base="b", adapter=ANSWER)
    source = Source(demo.MODEL, ADAPTER, device="cpu")
    return {
        "hf": hf.load(source, null_adapters.NullSettings(runs=3)),
        "custom": custom.wrap(WithPeft(), "custom backend"),
        "dummy": dummy.load(*names),
    }


def test_each_request_and_each_kind_of_result_has_a_sample() -> None:
    assert {type(request) for request in SAMPLES.values()} == set(get_args(Request))
    assert SAMPLES.keys() == set(get_args(AnswerKind))


@pytest.mark.parametrize("kind", SAMPLES)
def test_backends_agree_on_the_same_model(backends: dict[str, Backend], kind: str) -> None:
    by_hf, by_custom = (measured(backends[name], SAMPLES[kind]) for name in ("hf", "custom"))
    for one, other in zip(by_hf, by_custom, strict=True):
        if isinstance(one, str):
            assert one == other
        elif kind == "teacher_forced":  # the ids of tokens, which the custom backend has not
            np.testing.assert_allclose(one[:, :3], other[:, :3], rtol=1e-3, atol=1e-6)
            assert (one[:, 3] >= 0).all()
            assert (other[:, 3] == -1).all()
        else:
            np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("name", ["hf", "custom", "dummy"])
@pytest.mark.parametrize("kind", SAMPLES)
def test_answers_from_the_store_are_the_measured_ones(
    backends: dict[str, Backend], kind: str, name: str
) -> None:
    store = Memory()
    first = list(measured(backends[name], SAMPLES[kind], store))
    for one, again in zip(first, measured(None, SAMPLES[kind], store), strict=True):
        np.testing.assert_array_equal(again, one, strict=True)


@pytest.mark.parametrize("kind", SAMPLES)
def test_each_request_has_a_size(kind: str) -> None:
    sizes, _ = _sizes([SAMPLES[kind]], None)
    size = sizes[SAMPLES[kind]]
    assert size.read > 0
    assert size.scored + size.generated > 0


@pytest.mark.parametrize("kind", SAMPLES)
def test_a_trace_names_each_kind_of_result(backends: dict[str, Backend], kind: str) -> None:
    [(row, _)] = backends["hf"].encode([SAMPLES[kind]])
    assert row.kind == kind
    events: list[Any] = []
    RunObserver(events.append, {}).passed([FINETUNED], pack([row], lambda: 0), 1.0, "")
    name = events[-1].kind
    assert name in get_args(get_type_hints(Pass)["kind"])
    assert f"`{name}`" in (ROOT / "docs" / "trace.md").read_text(encoding="utf-8")


def test_each_capability_is_explained_if_it_is_missing() -> None:
    needed = {c for request in SAMPLES.values() for c in capabilities_needed(FINETUNED, request)}
    assert needed <= _LACKING.keys()
    assert _LACKING.keys() == ALL - {"nulls"}
