"""Measures every view on the same inputs: collects, removes doubles, batches, checks, and falls back where it must.

Requests are grouped by the views they are needed for, sorted by length and cut into passes that fit the memory
budget; a pass that runs out of memory is halved. What was measured before comes from the store of readings, and the
backend is built only when something is left to measure.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np

from sway_gate.backends.base import Backend, EncodedRequest, NotStackable, OutOfMemory
from sway_gate.errors import CannotDecide
from sway_gate.measurements import (
    BASE,
    Answer,
    Answers,
    Divergence,
    Fault,
    Floats,
    Generation,
    Request,
    TeacherForced,
    View,
)

Progress = Callable[[str, int, int], None]
Key = tuple[View, Request]

# Tokens. On a CPU a pass costs some tens of milliseconds whatever its size, and so do this many tokens of a small
# model.
_PADDING = 128


class Store(Protocol):
    """Readings of earlier runs, by content."""

    def get(self, view: str, request: str) -> Floats | None: ...

    def put(self, view: str, request: str, value: Floats) -> None: ...


class Measured(NamedTuple):
    answers: Answers
    notes: tuple[str, ...]
    """Texts that were cut, each named once."""


class _Pass(NamedTuple):
    views: tuple[View, ...]
    requests: tuple[Request, ...]
    rows: tuple[EncodedRequest, ...]


def run_plan(
    plan: Iterable[Key], backend: Callable[[], Backend], store: Store | None, progress: Progress
) -> Measured:
    """The answers to everything in `plan`; the base's, which all comparisons need, are measured once with it."""
    wanted = _with_base(plan)
    known = {
        key: _stored(key[1], value)
        for key in wanted
        if store is not None and (value := store.get(*_store_key(key))) is not None
    }
    missing = [key for key in wanted if key not in known]
    if not missing:
        return Measured(Answers(known, {}), ())
    values, faults, notes = _run(missing, backend(), progress)
    for key, answer in values.items():
        if store is not None and key in wanted:
            store.put(*_store_key(key), _to_store(answer))
    return Measured(Answers(known | values, faults), notes)


def _with_base(plan: Iterable[Key]) -> dict[Key, None]:
    """The plan without doubles, in order, with the base's answer beside each of another view."""
    wanted: dict[Key, None] = {}
    for view, request in plan:
        if not isinstance(request, Divergence):
            wanted[BASE, request] = None
        if view.source != "base":
            wanted[view, request] = None
    return wanted


def _store_key(key: Key) -> tuple[str, str]:
    view, request = key
    return str(view), repr(request)


def _to_store(answer: Answer) -> Floats:
    """As numbers in one row; a text as its UTF-8 bytes."""
    if isinstance(answer, str):
        return np.frombuffer(answer.encode("utf-8", "surrogatepass"), dtype=np.uint8).astype(
            np.float64
        )
    return answer.ravel()


def _stored(request: Request, numbers: Floats) -> Answer:
    if isinstance(request, Generation):
        return numbers.astype(np.uint8).tobytes().decode("utf-8", "surrogatepass")
    return numbers.reshape(-1, 2) if isinstance(request, TeacherForced) else numbers


def _run(
    missing: Sequence[Key], backend: Backend, progress: Progress
) -> tuple[dict[Key, Answer], dict[Key, Fault], tuple[str, ...]]:
    progress("preparing", 0, 0)
    encoded, unmeasurable, notes = _encode(
        list(dict.fromkeys(request for _, request in missing)), backend
    )
    values: dict[Key, Answer] = {}
    faults = {key: unmeasurable[key[1]] for key in missing if key[1] in unmeasurable}
    measurable = [key for key in missing if key not in faults]
    within = _within(measurable, encoded)
    passes = _passes([key for key in measurable if key not in within], encoded, backend)
    total = sum(len(p.views) * sum(len(row.ids) for row in p.rows) for p in passes)
    done = 0
    references: dict[EncodedRequest, Any] = {}
    for step in passes:
        progress("measuring", done, total)
        answers = _measure(step, backend, references)
        for view, row_answers in zip(step.views, answers, strict=True):
            for request, answer in zip(step.requests, row_answers, strict=True):
                if isinstance(answer, Fault):
                    faults[view, request] = answer
                else:
                    values[view, request] = answer
        done += len(step.views) * sum(len(row.ids) for row in step.rows)
    progress("measuring", total, total)
    for (view, request), longer in within.items():
        if (view, longer) in faults:
            faults[view, request] = faults[view, longer]
        else:
            values[view, request] = values[view, longer][: len(encoded[request].positions)]
    return values, faults, notes


def _within(keys: Sequence[Key], encoded: Mapping[Request, EncodedRequest]) -> dict[Key, Request]:
    """The divergences that another, read further along the same answer, holds, each with that other."""
    along: dict[tuple[Any, ...], list[Key]] = defaultdict(list)
    for view, request in keys:
        if isinstance(request, Divergence):
            row = encoded[request]
            along[view, row.asks, row.shared, row.ids[: row.positions[0] + 1]].append(
                (view, request)
            )
    found: dict[Key, Request] = {}
    for same in along.values():
        longest = max(
            (request for _, request in same), key=lambda request: len(encoded[request].ids)
        )
        ids, positions = encoded[longest].ids, encoded[longest].positions
        for view, request in same:
            row = encoded[request]
            if (
                request != longest
                and ids[: len(row.ids)] == row.ids
                and positions[: len(row.positions)] == row.positions
            ):
                found[view, request] = longest
    return found


def _encode(
    requests: Sequence[Request], backend: Backend
) -> tuple[dict[Request, EncodedRequest], dict[Request, Fault], tuple[str, ...]]:
    rows = backend.encode(requests)
    encoded: dict[Request, EncodedRequest] = {}
    unmeasurable: dict[Request, Fault] = {}
    for request, (row, _) in zip(requests, rows, strict=True):
        if isinstance(row, Fault):
            unmeasurable[request] = row
        else:
            encoded[request] = row
    counts = Counter(note for _, note in rows if note)
    notes = (
        f"{n} texts were {note}" if n > 1 else f"1 text was {note}" for note, n in counts.items()
    )
    return encoded, unmeasurable, tuple(notes)


def _passes(
    missing: Sequence[Key], encoded: dict[Request, EncodedRequest], backend: Backend
) -> list[_Pass]:
    """All passes, in an order that uses each one's base distributions soon, or each view's weights at a stretch."""
    views_of: dict[Request, list[View]] = defaultdict(list)
    for view, request in missing:
        views_of[request].append(view)
    groups: dict[tuple[Any, ...], list[Request]] = defaultdict(list)
    for request, views in views_of.items():
        # A divergence is taken from the base's distribution: the base rides along in front.
        ordered = ((BASE,) if isinstance(request, Divergence) else ()) + tuple(sorted(views))
        row = encoded[request]
        groups[ordered, row.asks, row.length, row.ids[: row.shared]].append(request)
    passes: list[_Pass] = []
    # Sorted, so that a longer shared prefix follows the one that it continues.
    for group, *_, requests in sorted((*key, requests) for key, requests in groups.items()):
        for batch in _batches(
            sorted(requests, key=lambda r: len(encoded[r].ids)), encoded, len(group), backend
        ):
            rows = tuple(encoded[request] for request in batch)
            passes += [
                _Pass(part, tuple(batch), rows) for part in _view_parts(group, rows, backend)
            ]
    # Sorting is stable. Where views are served one at a time, each keeps its weights in place for all batches; where
    # rows share a prefix, some views keep theirs for all its lengths.
    return sorted(passes, key=lambda p: _turn(p, backend.stacked))


def _turn(step: _Pass, stacked: bool) -> tuple[bool, tuple[View, ...]]:
    shares = step.rows[0].shared > 0
    return shares, () if stacked and not shares else step.views


def _batches(
    requests: Sequence[Request],
    encoded: dict[Request, EncodedRequest],
    views: int,
    backend: Backend,
) -> list[list[Request]]:
    """Requests of similar length together, as many as the budget holds for all views at once; at least one."""
    batches: list[list[Request]] = []
    at_once = views if backend.stacked else 1
    for request in requests:
        grown = [*batches[-1], request] if batches else [request]
        rows = [encoded[r] for r in grown]
        if (
            len(rows) > 1
            and backend.cost(at_once, rows) <= backend.budget()
            and not _is_padded(rows, at_once)
        ):
            batches[-1] = grown
        else:
            batches.append([request])
    return batches


def _is_padded(rows: Sequence[EncodedRequest], views: int) -> bool:
    """Whether the last row's length makes the others' padding cost more than a pass of its own."""
    width = len(rows[-1].ids)
    return views * sum(width - len(row.ids) for row in rows) > _PADDING


def _view_parts(
    views: tuple[View, ...], rows: tuple[EncodedRequest, ...], backend: Backend
) -> list[tuple[View, ...]]:
    """The views, cut into as many at a time as the budget holds for these rows."""
    size = len(views) if backend.stacked else 1
    while size > 1 and backend.cost(size, rows) > backend.budget():
        size = (size + 1) // 2
    return [views[i : i + size] for i in range(0, len(views), size)]


def _measure(
    step: _Pass, backend: Backend, references: dict[EncodedRequest, Any]
) -> list[list[Answer | Fault]]:
    """One pass; where it does not fit or cannot be stacked, in parts."""
    try:
        return backend.measure(step.views, step.rows, references)
    except NotStackable:
        size = 1
    except OutOfMemory:
        if len(step.views) == 1:
            return _halve_rows(step, backend, references)
        size = (len(step.views) + 1) // 2
    parts = [step._replace(views=step.views[i : i + size]) for i in range(0, len(step.views), size)]
    return [answers for part in parts for answers in _measure(part, backend, references)]


def _halve_rows(
    step: _Pass, backend: Backend, references: dict[EncodedRequest, Any]
) -> list[list[Answer | Fault]]:
    half = len(step.rows) // 2
    if half == 0:
        raise CannotDecide(
            f"out of memory on one text of {len(step.rows[0].ids)} tokens under one view: use a smaller dtype, "
            "shorter texts or a larger machine"
        )
    first = _measure(step._replace(rows=step.rows[:half]), backend, references)
    second = _measure(step._replace(rows=step.rows[half:]), backend, references)
    return [a + b for a, b in zip(first, second, strict=True)]
