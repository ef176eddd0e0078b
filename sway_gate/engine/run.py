"""Measures all views on the same inputs: from the store if possible, otherwise on the backend.

The backend is opened only if something is missing in the store. `sway_gate.engine.schedule`
arranges what is missing into passes; a pass that does not fit into memory is divided here.
"""

import time
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from types import MappingProxyType
from typing import Any, NamedTuple, cast

import numpy as np

from sway_gate.backends.base import (
    Backend,
    EncodedRequest,
    NotStackable,
    OutOfMemory,
    PassResult,
    Store,
)
from sway_gate.backends.packing import pack
from sway_gate.engine.observe import RunObserver
from sway_gate.engine.schedule import PlannedPass, plan_passes
from sway_gate.errors import CannotDecide
from sway_gate.measurements import (
    AlongAnswer,
    Answer,
    Answers,
    Fault,
    Floats,
    Generation,
    LogProbs,
    Measurement,
    Request,
    TeacherForced,
    View,
)
from sway_gate.output import Progress


class Measured(NamedTuple):
    """The answers to a plan."""

    answers: Answers
    notes: tuple[str, ...]
    """On texts that were cut, one note per reason."""


def run_plan(
    plan: Iterable[Measurement],
    open_backend: Callable[[], Backend],
    store: Store | None,
    progress: Progress,
    observer: RunObserver | None = None,
    probes: Mapping[Measurement, str] = MappingProxyType({}),
) -> Measured:
    """Answer all measurements of `plan`, which includes the base's (see `with_base`).

    `probes`: the name of a probe that needs a measurement, for the progress. `open_backend` is
    called at most once. Raises CannotDecide if one text does not fit into memory.
    """
    wanted = [m for m in dict.fromkeys(plan) if not m.is_reference]
    known = _stored(wanted, store) if store is not None else {}
    missing = [m for m in wanted if m not in known]
    if observer:
        observer.stored(known)
    if not missing:
        return Measured(Answers(known, {}), ())
    started = time.perf_counter()
    backend = open_backend()
    if observer:
        observer.loaded(backend.facts, time.perf_counter() - started)
    values, faults, notes = _measure(missing, backend, store, progress, observer, probes)
    _put(values, store)
    return Measured(Answers(known | values, faults), notes)


# ------------------------------------------------------------------------------------------ store


def _stored(wanted: Iterable[Measurement], store: Store) -> dict[Measurement, Answer]:
    known: dict[Measurement, Answer] = {}
    for measurement in wanted:
        numbers = store.get(str(measurement.view), repr(measurement.request))
        if numbers is not None:
            with suppress(ValueError):  # of another shape: measured again
                known[measurement] = _from_store(measurement.request, numbers)
    return known


def _put(values: Mapping[Measurement, Answer], store: Store | None) -> None:
    if store is not None:
        for (view, request), answer in values.items():
            store.put(str(view), repr(request), _to_store(answer))


def _to_store(answer: Answer) -> Floats:
    """An answer as numbers [n]; a text as its UTF-8 bytes."""
    if isinstance(answer, str):
        data = answer.encode("utf-8", "surrogatepass")
        return np.frombuffer(data, dtype=np.uint8).astype(np.float64)
    return answer.ravel()


def _from_store(request: Request, numbers: Floats) -> Answer:
    if isinstance(request, Generation):
        return numbers.astype(np.uint8).tobytes().decode("utf-8", "surrogatepass")
    return numbers.reshape(-1, 4) if isinstance(request, TeacherForced) else numbers


# ---------------------------------------------------------------------------------------- backend


def _measure(
    missing: Sequence[Measurement],
    backend: Backend,
    store: Store | None,
    progress: Progress,
    observer: RunObserver | None,
    probes: Mapping[Measurement, str],
) -> tuple[dict[Measurement, Answer], dict[Measurement, Fault], tuple[str, ...]]:
    progress("preparing", 0, 0)
    requests = list(dict.fromkeys(m.request for m in missing))
    encoded, unmeasurable, notes = _encode(requests, backend, store, observer)
    faults = {m: unmeasurable[m.request] for m in missing if m.request in unmeasurable}
    measurable = [m for m in missing if m not in faults]
    contained = _contained(measurable, encoded)
    passes = plan_passes([m for m in measurable if m not in contained], encoded, backend)
    values: dict[Measurement, Answer] = {}
    runner = _Runner(backend, observer)
    try:
        for measurement, answer in _run_passes(passes, runner, progress, probes):
            if isinstance(answer, Fault):
                faults[measurement] = answer
            elif not measurement.is_reference:
                values[measurement] = _with_tokens(answer, encoded[measurement.request])
    except BaseException:  # such as an interruption or the end of a time budget
        _put(values, store)
        raise
    for measurement, whole in contained.items():
        if whole in faults:
            faults[measurement] = faults[whole]
        elif isinstance(whole.request, TeacherForced):
            values[measurement] = cast(Floats, values[whole])[:, 0]
        else:
            values[measurement] = values[whole][: len(encoded[measurement.request].positions)]
    return values, faults, notes


def _with_tokens(answer: Answer, row: EncodedRequest) -> Answer:
    """The answer; of teacher forcing with the id of each token as the last column, or -1."""
    if row.kind != "teacher_forced" or isinstance(answer, str):
        return answer
    ids = row.targets if len(row.targets) == len(answer) else (-1,) * len(answer)
    return np.column_stack([answer, np.array(ids, dtype=np.float64)])


def _encode(
    requests: Sequence[Request],
    backend: Backend,
    store: Store | None,
    observer: RunObserver | None,
) -> tuple[dict[Request, EncodedRequest], dict[Request, Fault], tuple[str, ...]]:
    """The encoded requests, the faults of those that cannot be measured, and the notes."""
    started = time.perf_counter()
    results = backend.encode(requests, store)
    seconds = time.perf_counter() - started
    encoded: dict[Request, EncodedRequest] = {}
    unmeasurable: dict[Request, Fault] = {}
    for request, (row, _) in zip(requests, results, strict=True):
        if isinstance(row, Fault):
            unmeasurable[request] = row
        else:
            encoded[request] = row
    if observer:
        observer.encoded(encoded, len(requests), seconds)
    counts = Counter(note for _, note in results if note)
    notes = tuple(
        f"{n} texts were {note}" if n > 1 else f"1 text was {note}" for note, n in counts.items()
    )
    return encoded, unmeasurable, notes


def _contained(
    measurements: Sequence[Measurement], encoded: Mapping[Request, EncodedRequest]
) -> dict[Measurement, Measurement]:
    """Measurements that another one contains: that one."""
    found, wanted = _shorter(measurements, encoded), set(measurements)
    for measurement in measurements:
        if isinstance(measurement.request, LogProbs):
            whole = Measurement(measurement.view, measurement.request.whole)
            if whole in wanted:
                found[measurement] = whole
    return found


def _shorter(
    measurements: Iterable[Measurement], encoded: Mapping[Request, EncodedRequest]
) -> dict[Measurement, Measurement]:
    """Requests that are the first positions of another one along the same answer: that one."""
    along: dict[tuple[Any, ...], list[Measurement]] = defaultdict(list)
    for measurement in measurements:
        if isinstance(measurement.request, AlongAnswer):
            row = encoded[measurement.request]
            prompt = row.ids[: row.positions[0] + 1]
            key = measurement.view, row.kind, row.prefix_len, row.payload, prompt
            along[key].append(measurement)
    found: dict[Measurement, Measurement] = {}
    for same in along.values():
        longest = max(same, key=lambda m: len(encoded[m.request].ids))
        whole = encoded[longest.request]
        for measurement in same:
            if measurement != longest and _begins(encoded[measurement.request], whole):
                found[measurement] = longest
    return found


def _begins(row: EncodedRequest, whole: EncodedRequest) -> bool:
    same_ids = whole.ids[: len(row.ids)] == row.ids
    return same_ids and whole.positions[: len(row.positions)] == row.positions


# ----------------------------------------------------------------------------------------- passes


def _run_passes(
    passes: Sequence[PlannedPass],
    runner: "_Runner",
    progress: Progress,
    probes: Mapping[Measurement, str],
) -> Iterable[tuple[Measurement, Answer | Fault]]:
    total, work, done = sum(s.tokens() for s in passes), sum(s.work() for s in passes), 0
    waiting = deque(passes)
    while waiting:
        step = waiting.popleft()
        # The first view can be the base of a divergence, which no probe needs as an answer.
        name = probes.get(Measurement(step.views[-1], step.batch.requests[0]), "")
        progress(f"measuring {name}".rstrip(), total * done // max(work, 1), total)
        try:
            answers = runner.run_pass(step)
        except NotStackable:
            waiting = deque(one for later in (step, *waiting) for one in later.by_view())
            continue
        for view, of_view in zip(step.views, answers, strict=True):
            for request, answer in zip(step.batch.requests, of_view, strict=True):
                yield Measurement(view, request), answer
        done += step.work()
    progress("measuring", total, total)


class _Part(NamedTuple):
    """The arguments of one call of `Backend.forward`."""

    views: Sequence[View]
    rows: Sequence[EncodedRequest]
    base_log_probs: Sequence[Any] | None


class _Runner:
    """Runs passes on a backend. A pass that does not fit into memory is run in two halves."""

    def __init__(self, backend: Backend, observer: RunObserver | None) -> None:
        self._backend, self._observer = backend, observer

    def run_pass(self, step: PlannedPass) -> list[list[Answer | Fault]]:
        """The answers [view][row]; keeps the base's log-probabilities until the batch is done."""
        batch = step.batch
        result = self._run(_Part(step.views, batch.rows, batch.base_log_probs))
        batch.base_log_probs = None if step.is_last else result.base_log_probs
        return result.answers

    def _run(self, part: _Part) -> PassResult:
        try:
            return self._forward(part)
        except OutOfMemory:
            pass  # halved outside the handler, whose traceback would keep tensors alive
        if len(part.views) > 1:
            return self._halve_views(part)
        if len(part.rows) > 1:
            return self._halve_rows(part)
        raise CannotDecide(
            f"out of memory on one text of {len(part.rows[0].ids)} tokens under one view: "
            "use a smaller dtype, shorter texts or a larger machine"
        )

    def _forward(self, part: _Part) -> PassResult:
        started, failed, shared = time.perf_counter(), "", 0
        try:
            result = self._backend.forward(*part)
            shared = result.shared
            return result
        except Exception as error:
            failed = type(error).__name__
            raise
        finally:
            if self._observer:
                seconds = time.perf_counter() - started
                sequences = pack(part.rows, lambda: self._backend.pack_limit)
                self._observer.passed(part.views, sequences, seconds, failed, shared)

    def _halve_views(self, part: _Part) -> PassResult:
        half = (len(part.views) + 1) // 2
        first = self._run(part._replace(views=part.views[:half]))
        second = self._run(_Part(part.views[half:], part.rows, first.base_log_probs))
        return PassResult(first.answers + second.answers, first.base_log_probs)

    def _halve_rows(self, part: _Part) -> PassResult:
        half, base = len(part.rows) // 2, part.base_log_probs
        first = self._run(_Part(part.views, part.rows[:half], base and base[:half]))
        second = self._run(_Part(part.views, part.rows[half:], base and base[half:]))
        answers = [a + b for a, b in zip(first.answers, second.answers, strict=True)]
        both = [*(first.base_log_probs or ()), *(second.base_log_probs or ())]
        return PassResult(answers, both or None)
