"""The engine on an arithmetic backend: its requests, its passes, and passes that fail."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from sway_gate.backends.base import EncodedRequest, Facts, NotStackable, OutOfMemory, PassResult
from sway_gate.backends.packing import pack
from sway_gate.engine.run import Measured, run_plan
from sway_gate.engine.schedule import Batch, PlannedPass
from sway_gate.errors import CannotDecide
from sway_gate.measurements import (
    BASE,
    FINETUNED,
    Divergence,
    Fault,
    Generation,
    LogProbs,
    Measurement,
    NoAnswer,
    Request,
    TeacherForced,
    View,
    with_base,
)
from sway_gate.output import silent

NULL = View("null", 3)
Key = tuple[View, Request]


class Arithmetic:
    """Answers are sums of token ids times the view's scale; a pass costs 1 per view and token."""

    facts = Facts("cpu", "float32", "best_effort")
    pack_limit = 0

    def __init__(self, budget: int = 10**9, batches_views: bool = True) -> None:
        self.batches_views, self.passes, self._budget = batches_views, [], budget

    def encode(self, requests: Any, store: Any = None) -> list[tuple[EncodedRequest, str]]:
        return [self.encode_one(request) for request in requests]

    def encode_one(self, request: Any) -> tuple[EncodedRequest, str]:
        text = request.prompt + getattr(request, "completion", "")
        ids = tuple(map(ord, text))
        kind = request.divergence if isinstance(request, Divergence) else "logprobs"
        return EncodedRequest(ids, (len(ids) - 1,), (), kind), "cut" if len(ids) > 30 else ""

    def cost(self, views: int, rows: Sequence[EncodedRequest]) -> int:
        return views * len(rows) * max(len(row.ids) for row in rows)

    def budget(self) -> int:
        return self._budget

    def unused_modules(self) -> tuple[str, ...]:
        return ()

    def forward(self, views: Any, rows: Any, base_log_probs: Any = None) -> PassResult:
        self.passes.append((tuple(views), tuple(rows)))
        if rows[0].kind == "js":
            base_log_probs = base_log_probs or (list(rows) if views[0] == BASE else None)
            assert base_log_probs == list(rows), "a divergence without its base"
        return PassResult(
            [[self.answer(view, row) for row in rows] for view in views], base_log_probs
        )

    def answer(self, view: View, row: EncodedRequest) -> Any:
        return np.array([sum(row.ids) * view.scale + view.seed_index])


class Memory(dict[tuple[str, str], Any]):
    def get(self, view: str, request: str) -> Any:  # type: ignore[override]
        return super().get((view, request))

    def put(self, view: str, request: str, value: Any) -> None:
        self[view, request] = value


def measure(backend: Any, plan: list[Key], store: Any = None) -> Measured:
    return run_plan(with_base(plan), lambda: backend, store, silent)


TEXTS = [LogProbs("p" * n, "c") for n in (9, 1, 5, 3)]
PLAN: list[Key] = [
    (v, r) for v in (FINETUNED, NULL) for r in [*TEXTS, Divergence("a"), Divergence("bb")]
]


def test_duplicates_are_measured_once_together_with_the_base() -> None:
    backend = Arithmetic()
    answers = measure(backend, PLAN * 3).answers
    seen = [(view, row) for views, rows in backend.passes for view in views for row in rows]
    assert len(seen) == len(set(seen)) == 18
    assert answers.get(BASE, TEXTS[0]) == answers.get(FINETUNED, TEXTS[0])


@pytest.mark.parametrize("batches_views", [True, False])
@pytest.mark.parametrize("budget", [1, 12, 40, 10**9])
def test_answers_do_not_depend_on_the_passes(batches_views: bool, budget: int) -> None:
    expected, answers = (
        measure(Arithmetic(), PLAN).answers,
        measure(Arithmetic(budget, batches_views), PLAN).answers,
    )
    assert all(answers.get(*key) == expected.get(*key) for key in PLAN)


@pytest.mark.parametrize("budget", [12, 24, 100])
def test_passes_stay_within_the_budget_if_possible(budget: int) -> None:
    backend = Arithmetic(budget)
    measure(backend, PLAN)
    for views, rows in backend.passes:
        assert backend.cost(len(views), rows) <= budget or (len(views), len(rows)) == (1, 1)


def test_texts_of_one_length_share_a_pass() -> None:
    backend = Arithmetic(budget=3 * 2 * 4)
    measure(backend, [(v, r) for v in (FINETUNED, NULL) for r in TEXTS])
    assert [len(row.ids) for row in backend.passes[0][1]] == [2, 4]


def test_much_padding_is_avoided_by_another_pass() -> None:
    lengths = [4, 5, 6, 7, 200]
    plan: list[Key] = [
        (view, LogProbs("p" * n, "c")) for view in (FINETUNED, NULL) for n in lengths
    ]
    backend = Arithmetic()
    measure(backend, plan)
    assert [[len(row.ids) for row in rows] for _, rows in backend.passes] == [[5, 6, 7, 8], [201]]


class Writing(Arithmetic):
    """Generates texts of 16 tokens."""

    def encode_one(self, request: Any) -> tuple[EncodedRequest, str]:
        row, note = super().encode_one(request)
        return row._replace(kind="text", length=request.max_new_tokens), note


@pytest.mark.parametrize(
    ("device", "longest", "passes"), [("cpu", 324, 1), ("cpu", 325, 2), ("cuda:0", 325, 1)]
)
def test_prompts_share_a_pass_unless_padding_takes_longer(device, longest, passes) -> None:
    backend = Writing()
    backend.facts = backend.facts._replace(device=device)
    # Two views of one prompt of 4 tokens are padded: 16 further steps take as long as 640 tokens.
    measure(backend, [(FINETUNED, Generation("p" * n, 16)) for n in (4, longest)])
    assert len(backend.passes) == passes


class Along(Arithmetic):
    """Measures divergences along an answer, like the real backend."""

    def encode_one(self, request: Any) -> tuple[EncodedRequest, str]:
        prompt, answer = tuple(map(ord, request.prompt)), tuple(range(1, request.positions))
        return EncodedRequest(
            prompt + answer,
            tuple(range(len(prompt) - 1, len(prompt + answer))),
            (),
            request.divergence,
        ), ""

    def answer(self, view: View, row: EncodedRequest) -> Any:
        return np.array([sum(row.ids[: p + 1]) * view.scale for p in row.positions])


class Forced(Arithmetic):
    """Has other answers for log-probabilities, so that their origin shows."""

    def encode_one(self, request: Any) -> tuple[EncodedRequest, str]:
        row, note = super().encode_one(request)
        kind = "teacher_forced" if isinstance(request, TeacherForced) else row.kind
        return row._replace(kind=kind), note

    def answer(self, view: View, row: EncodedRequest) -> Any:
        number = sum(row.ids) * view.scale
        return np.array([[number, 1, 0]]) if row.kind == "teacher_forced" else np.array([-number])


def test_log_probabilities_are_taken_from_a_teacher_forced_pass_over_the_same_text() -> None:
    same, other = LogProbs("p", "c", end=True), LogProbs("p", "c")
    plan: list[Key] = [(FINETUNED, r) for r in (TeacherForced("p", "c", end=True), same, other)]
    backend = Forced()
    answers = measure(backend, plan).answers
    total = ord("p") + ord("c")
    assert answers.get(FINETUNED, same) == answers.get(BASE, same) == [total]
    assert answers.get(FINETUNED, other) == [-total]
    assert sum(len(rows) for _, rows in backend.passes) == 2


class Branching(Arithmetic):
    """Packs rows; each row's first token after its prompt is at `positions[0] + 1`."""

    pack_limit = 10

    def encode_one(self, request: Any) -> tuple[EncodedRequest, str]:
        row, note = super().encode_one(request)
        first = len(request.prompt) - 1
        return row._replace(positions=tuple(range(first, len(row.ids)))), note

    def cost(self, views: int, rows: Sequence[EncodedRequest]) -> int:
        sequences = pack(rows, lambda: self.pack_limit)
        return views * len(sequences) * max(one.width for one in sequences)


def test_rows_of_one_prompt_stay_together() -> None:
    prompts, answers = ["aaaa", "bb", "cccc"], ["1", "234", "56"]
    plan: list[Key] = [(FINETUNED, LogProbs(p, a)) for a in answers for p in prompts]
    backend = Branching()
    measured = measure(backend, plan).answers
    [(_, rows)] = backend.passes
    sequences = pack(rows, lambda: backend.pack_limit)
    assert [(len(one.rows), one.width) for one in sequences] == [(3, 10), (3, 8), (3, 10)]
    expected = measure(Arithmetic(), plan).answers
    assert all(measured.get(*key) == expected.get(*key) for key in plan)


def test_long_rows_are_not_packed() -> None:
    def row(own: int, **fields: Any) -> EncodedRequest:
        return EncodedRequest((1, 2, 3) + (own,) * own, tuple(range(2, 2 + own)), **fields)

    def sizes(rows: list[EncodedRequest], limit: int = 10**6) -> list[int]:
        return [len(one.rows) for one in pack(rows, lambda: limit)]

    assert sizes([row(2), row(3), row(100)]) == [3]
    assert sizes([row(2), row(3)], limit=8) == [2]
    assert sizes([row(2), row(3)], limit=7) == [1, 1]
    assert sizes([row(2), row(3), row(100)], limit=50) == [1, 1, 1]  # the mask is for all rows
    assert sizes([row(200), row(100), row(100)]) == [1, 2]  # too many pairs of tokens
    assert sizes([row(2), row(2), row(3)], limit=8) == [3]  # equal rows are read once
    assert sizes([row(2), row(3, prefix_len=2)]) == [1, 1]
    assert sizes([row(2, kind="text"), row(3, kind="text")]) == [1, 1]


def test_prompts_share_the_beginning_that_is_long_enough() -> None:
    def row(system: int, prompt: str, answer: str) -> EncodedRequest:
        ids = (*(7,) * system, *prompt.encode(), *answer.encode())
        return EncodedRequest(ids, tuple(range(system + len(prompt) - 1, len(ids))))

    rows = [row(8, "ab", "1"), row(8, "ab", "12"), row(8, "cd", "1")]
    assert pack(rows, lambda: 99) == [(tuple(rows), (0, 11, 8))]
    assert pack(rows, lambda: 99)[0].width == 15
    short = [row(7, "ab", "1"), row(7, "cd", "1")]
    assert [len(one.rows) for one in pack(short, lambda: 99)] == [1, 1]


def test_a_short_divergence_is_taken_from_a_longer_one() -> None:
    short, long, half = (
        Divergence("ab", positions=2),
        Divergence("ab", positions=4),
        FINETUNED.scaled(0.5),
    )
    backend = Along()
    answers = measure(
        backend, [(FINETUNED, short), (FINETUNED, long), (half, short), (half, Divergence("b"))]
    ).answers
    alone = measure(Along(), [(FINETUNED, short)]).answers
    assert (
        answers.get(FINETUNED, short).tolist() == alone.get(FINETUNED, short).tolist() == [195, 196]
    )
    assert [
        len(row.ids) for views, rows in backend.passes if FINETUNED in views for row in rows
    ] == [5]


def test_without_batches_of_views_the_passes_of_a_view_are_consecutive() -> None:
    backend = Arithmetic(budget=4, batches_views=False)
    measure(backend, PLAN)
    order = [views[0] for views, _ in backend.passes]
    assert all(len(views) == 1 for views, _ in backend.passes)
    assert sum(a != b for a, b in pairwise(order)) == 2


def test_stored_answers_are_not_measured_again() -> None:
    store, backend = Memory(), Arithmetic()
    first = measure(backend, PLAN, store).answers
    again = run_plan(
        with_base(PLAN), lambda: pytest.fail("the backend was built"), store, silent
    ).answers
    assert all(first.get(*key) == again.get(*key) for key in PLAN)
    extra = Arithmetic()
    measure(extra, [*PLAN, (FINETUNED, Divergence("new"))], store)
    assert [len(rows) for _, rows in extra.passes] == [1]


OTHER_SHAPES: dict[str, tuple[Request, list[float]]] = {
    "not four columns": (TeacherForced("p", "c"), [0.0, 1.0, 0.0]),
    "not UTF-8": (Generation("p", 4), [255.0, 254.0]),
}


@pytest.mark.parametrize(("request_", "numbers"), OTHER_SHAPES.values(), ids=OTHER_SHAPES)
def test_stored_answers_of_another_shape_are_measured_again(
    request_: Request, numbers: list[float]
) -> None:
    store, backend = Memory(), Arithmetic()
    store.put(str(FINETUNED), repr(request_), np.array(numbers))
    run_plan([Measurement(FINETUNED, request_)], lambda: backend, store, silent)
    assert len(backend.passes) == 1


class Remembering(Arithmetic):
    """Counts the base distributions that are alive during each pass."""

    class Distribution:
        alive = 0

        def __init__(self) -> None:
            type(self).alive += 1

        def __del__(self) -> None:
            type(self).alive -= 1

    def forward(self, views: Any, rows: Any, base_log_probs: Any = None) -> PassResult:
        made = base_log_probs or [self.Distribution() for _ in rows]
        self.passes.append((self.Distribution.alive, len(rows)))
        return PassResult([[self.answer(view, row) for row in rows] for view in views], made)


@pytest.mark.parametrize("budget", [24, 60, 10**9])
def test_base_distributions_are_freed_after_their_batch(budget: int) -> None:
    backend = Remembering(budget)
    requests = [Divergence("p" * n) for n in range(1, 12)]
    measure(backend, [(view, r) for view in (FINETUNED, NULL) for r in requests])
    assert all(alive == rows for alive, rows in backend.passes)
    assert backend.Distribution.alive == 0


class Failing(Arithmetic):
    def __init__(self, error: type[Exception], limit: int) -> None:
        super().__init__()
        self._error, self._limit = error, limit

    def forward(self, views: Any, rows: Any, base_log_probs: Any = None) -> PassResult:
        if len(views) * (1 if self._error is NotStackable else len(rows)) > self._limit:
            raise self._error
        return super().forward(views, rows, base_log_probs)


@pytest.mark.parametrize("error", [OutOfMemory, NotStackable])
@pytest.mark.parametrize("limit", [1, 2])
def test_passes_that_fail_are_made_smaller(error: type[Exception], limit: int) -> None:
    expected, answers = (
        measure(Arithmetic(), PLAN).answers,
        measure(Failing(error, limit), PLAN).answers,
    )
    assert all(answers.get(*key) == expected.get(*key) for key in PLAN)


def test_one_text_that_never_fits_is_undecided() -> None:
    with pytest.raises(CannotDecide, match="out of memory on one text"):
        measure(Failing(OutOfMemory, 0), PLAN)


def test_a_fault_is_raised_on_access_and_never_stored() -> None:
    class Broken(Arithmetic):
        def answer(self, view: View, row: EncodedRequest) -> Any:
            return Fault(f"NaN under {view}")

    store = Memory()
    answers = measure(Broken(), PLAN, store).answers
    with pytest.raises(NoAnswer, match="NaN under null 3"):
        answers.get(NULL, TEXTS[0])
    assert not store


def test_cut_texts_are_noted_once() -> None:
    plan: list[Key] = [(FINETUNED, LogProbs("x" * 40, y)) for y in "abc"]
    assert measure(Arithmetic(), plan).notes == ("3 texts were cut",)


def test_progress_ends_at_its_total() -> None:
    calls: list[tuple[str, int, int]] = []
    run_plan(with_base(PLAN), Arithmetic, None, lambda *call: calls.append(call))
    assert calls[0][1] == 0
    assert calls[-1][1] == calls[-1][2] > 0


def test_progress_names_the_probe_that_needs_the_pass() -> None:
    calls: list[str] = []
    plan = with_base(PLAN)
    names = dict.fromkeys(plan, "knowledge")
    run_plan(plan, Arithmetic, None, lambda phase, *_: calls.append(phase), None, names)
    assert set(calls) == {"preparing", "measuring knowledge", "measuring"}


def test_a_generated_token_takes_as_long_as_three_that_are_read() -> None:
    read = EncodedRequest((1, 2, 3), (1,), (), "logprobs")
    written = EncodedRequest((1, 2), (), (), "text", length=10)
    works = [
        PlannedPass(Batch((), (row,), len(row.ids) + row.length), (BASE, FINETUNED), True).work()
        for row in (read, written)
    ]
    assert works == [2 * 3, 2 * (2 + 3 * 10)]


def test_progress_is_the_share_of_the_work() -> None:
    calls: list[tuple[str, int, int]] = []
    plan = with_base([(FINETUNED, LogProbs("ab", "c")), (FINETUNED, Divergence("abc"))])
    run_plan(plan, Arithmetic, None, lambda *call: calls.append(call))
    measured = [done / total for _, done, total in calls if total]
    assert measured == sorted(measured)
    assert (measured[0], measured[-1]) == (0.0, 1.0)
    assert 0.0 < measured[1] < 1.0
