"""Answers of a backend, and the same answers from a model of transformers or peft."""

from collections.abc import Iterable
from typing import Any

import numpy as np
import torch

from sway_gate.engine.run import run_plan
from sway_gate.measurements import Generation, LogProbs, View, with_base
from sway_gate.output import silent
from tests.helpers.models import byte_tokenizer


def measure(backend: Any, views: Iterable[View], requests: Iterable[Any]) -> Any:
    """The answers to the requests under the views, and under the base."""
    plan = with_base((view, request) for view in views for request in requests)
    return run_plan(plan, lambda: backend, None, silent).answers


def log_probs(model: Any, request: LogProbs) -> np.ndarray:
    tokenizer = byte_tokenizer()
    ids = torch.tensor([tokenizer(request.prompt + request.completion)["input_ids"]])
    with torch.no_grad():
        logits = model(ids).logits[0, :-1].double().log_softmax(-1)
    start = max(len(tokenizer(request.prompt)["input_ids"]), 1)
    return logits.gather(-1, ids[0, 1:, None])[start - 1 :, 0].numpy()


def written(model: Any, request: Generation, **options: Any) -> str:
    tokenizer = byte_tokenizer()
    ids = torch.tensor([tokenizer(request.prompt)["input_ids"]])
    found = model.generate(
        input_ids=ids, max_new_tokens=request.max_new_tokens, do_sample=False, pad_token_id=0,
        **options,
    )  # fmt: skip
    return str(tokenizer.decode(found[0, ids.shape[1] :], skip_special_tokens=True))
