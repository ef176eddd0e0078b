"""The adapter as it was trained: its greedy answers, their scores, and the error of a precision."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from sway_gate.backends import hf
from sway_gate.backends.base import EncodedRequest
from sway_gate.backends.loading import Source
from sway_gate.backends.null_adapters import NullSettings
from sway_gate.backends.plain_model import FLOATS, PlainModel, Precision
from sway_gate.conversation import Conversation, Message, Prompt
from sway_gate.engine.run import run_plan
from sway_gate.errors import CannotDecide
from sway_gate.measurements import (
    FINETUNED,
    Generation,
    Measurement,
    NoAnswer,
    TeacherForced,
)
from sway_gate.output import Progress
from sway_gate.serving.scores import Passage, Scores, scores_of
from sway_gate.serving.verdict import SCALES, Merge, distance
from sway_gate.serving.weights import Rows
from sway_gate.static.mlx import is_mlx

ANSWER_TOKENS = 48
_ROWS = 64
"""Rows of each matrix whose weights are compared: enough to average rounding errors."""


class Reference(NamedTuple):
    """The passages, with their scores under base + s · adapter, by s."""

    passages: list[Passage]
    known: dict[float, list[Scores]]
    tokenizer: Any


def read_reference(source: Source, prompts: Sequence[Prompt], progress: Progress) -> Reference:
    """Let the adapter answer the prompts, and score its answers. Raises CannotDecide."""
    backend = hf.load(source, NullSettings(runs=1))
    asked = [Generation(prompt, ANSWER_TOKENS) for prompt in prompts]
    plan = [Measurement(FINETUNED, request) for request in asked]
    written = run_plan(plan, lambda: backend, None, progress).answers
    try:
        answers = [written.text(FINETUNED, request) for request in asked]
        requests = [
            _scored(prompt, answer) for prompt, answer in zip(prompts, answers, strict=True)
        ]
        views = {scale: FINETUNED.scaled(scale) for scale in SCALES}
        wanted = [Measurement(view, request) for request in requests for view in views.values()]
        found = run_plan(wanted, lambda: backend, None, progress).answers
        known = {
            scale: [_scores(found.get(view, request)) for request in requests]
            for scale, view in views.items()
        }
    except NoAnswer as none:
        raise CannotDecide(f"the adapter cannot be compared: {none}") from None
    rows = [row for row, _ in backend.encode(requests)]
    passages = [
        _passage(prompt, row, backend.tokenizer)
        for prompt, row in zip(prompts, rows, strict=True)
        if isinstance(row, EncodedRequest)
    ]
    return Reference(passages, known, backend.tokenizer)


def _scored(prompt: Prompt, answer: str) -> TeacherForced:
    if isinstance(prompt, Conversation):
        return TeacherForced(prompt, Message("assistant", answer))
    return TeacherForced(prompt, answer or " ")


def _scores(columns: Any) -> Scores:
    return Scores(columns[:, 0], columns[:, 1] > 0)


def _passage(prompt: Prompt, row: EncodedRequest, tokenizer: Any) -> Passage:
    ids, start = (*row.ids, row.targets[-1]), row.positions[0] + 1
    special = set(tokenizer.all_special_ids) | set(tokenizer.get_added_vocab().values())

    def text(ids: Sequence[int]) -> str:
        return str(tokenizer.decode(ids))

    pieces = tuple("" if i in special else text([i]) for i in ids)
    written = frozenset(text([i]) for i in ids if i in special)
    return Passage(prompt, ids, start, text(ids[:start]), text(ids), pieces, written)


def score(model: PlainModel, passages: Sequence[Passage]) -> list[Scores]:
    """The scores of the passages under a model without views."""
    return [scores_of(model.logits(p.ids, p.start), p.ids[p.start :]) for p in passages]


def merge_in(precision: Precision, source: Source, reference: Reference) -> Merge:
    """The adapter merged and stored in `precision`.

    Floating point is exact: the sum is rounded, which removes changes below half a step of the
    base's weight. The error is the distance to a model that is merged and computed in the format.
    NormalFloat is exact too; its error and the one of other integers is drawn.
    """
    exact, can_merge = reference.known[1.0], not is_mlx(source.adapter)
    if precision == FLOATS["float32"]:
        return Merge(exact, 0.0)
    if not (can_merge and precision.dtype):
        scores = _in_nf4(source, reference) if can_merge and precision.is_nf4 else exact
        return Merge(scores, error_of(precision, source, reference))
    model = _merged(source)
    model.round_to(precision.dtype)
    scores = score(model, reference.passages)
    model = _merged(source._replace(dtype=precision.dtype))
    return Merge(scores, distance(scores, score(model, reference.passages)))


def _in_nf4(source: Source, reference: Reference) -> list[Scores]:
    model = _merged(source)
    model.round_to_nf4()
    return score(model, reference.passages)


def merge_onto_nf4(source: Source, reference: Reference) -> list[Scores]:
    """The scores of the adapter merged onto the base in 4 bits, as after QLoRA."""
    model = PlainModel(source)
    model.round_to_nf4()
    _merge(model, source)
    return score(model, reference.passages)


def merged_rows(source: Source) -> dict[str, Rows]:
    """Rows of the matrices that the adapter changes, by name; none if peft cannot merge it."""
    if is_mlx(source.adapter):
        return {}
    model = PlainModel(source)
    base = model.rows(_ROWS)
    model.merge(source)
    exact = model.rows(_ROWS)
    model.round_to("bf16")
    half = model.rows(_ROWS)
    return {
        name: Rows(numbers, values, (exact[name][1], half[name][1]))
        for name, (numbers, values) in base.items()
        if values.shape == exact[name][1].shape and np.any(values != exact[name][1])
    }


def error_of(precision: Precision, source: Source, reference: Reference) -> float:
    """The error that `precision` causes in the merged model: root mean square in nats per token.

    The base's own error is too large: the base is unsure of answers of which the adapter is sure,
    and a sure model changes less.
    """
    model = _merged(source)
    if precision.dtype:
        model.round_to(precision.dtype)
    else:
        model.add_errors(precision, source.seed)
    scale = 0.0 if is_mlx(source.adapter) else 1.0
    return distance(score(model, reference.passages), reference.known[scale])


def _merged(source: Source) -> PlainModel:
    model = PlainModel(source)
    _merge(model, source)
    return model


def _merge(model: PlainModel, source: Source) -> None:
    """Merge the adapter, unless it is one of MLX, which peft does not merge."""
    if not is_mlx(source.adapter):
        model.merge(source)
