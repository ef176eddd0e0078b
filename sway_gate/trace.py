"""What a run's forward passes cost and which probe asked for them, as events: pure data, handed to an observer.

`Watch` stands between the engine and what it works with, so that neither knows of it. `recording` is the observer that
writes a file, an event a line, each flushed at once. docs/trace.md describes the fields; within a version they are only
added.
"""

import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Final, Literal, cast

import msgspec

from sway_gate import __version__
from sway_gate.errors import SwayError, UsageError
from sway_gate.measure import BASE, Divergence, Fault, Floats, Request, View

if TYPE_CHECKING:
    from sway_gate.backends import Backend, Row
    from sway_gate.engine import Key, Store

VERSION: Final = 1


class _Event(msgspec.Struct, frozen=True, kw_only=True, tag_field="event"):
    """One line of a trace."""


class Started(_Event, frozen=True, kw_only=True, tag="start"):
    """The first event."""

    version: Literal[1] = VERSION
    sway: str = __version__
    spec: str
    adapter: str
    base: str


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """What one probe asks for: different texts, and answers, which are texts under views, the base's among them."""

    kind: str
    texts: int
    answers: int


class Planned(_Event, frozen=True, kw_only=True, tag="plan"):
    """What is asked for; `answers` of all probes together, each counted once."""

    probes: dict[str, Asked]
    answers: int


class Stored(_Event, frozen=True, kw_only=True, tag="stored"):
    """Answers known from earlier runs: all of them, and how many of them each probe asked for."""

    answers: int
    probes: dict[str, int]


class Loaded(_Event, frozen=True, kw_only=True, tag="load"):
    """Import of the libraries, the model, its adapter, the nulls."""

    seconds: float
    device: str
    dtype: str


class Encoded(_Event, frozen=True, kw_only=True, tag="encode"):
    """Tokenising, and the base's own greedy answers, along which divergences are read."""

    seconds: float
    texts: int


class Pass(_Event, frozen=True, kw_only=True, tag="pass"):
    """One pass through the model: some rows, each under all of some views."""

    number: int
    seconds: float
    kind: Literal["logprobs", "recall", "js", "kl", "text"]
    views: tuple[str, ...]
    rows: int
    tokens: int
    """That were read, over all views; what the rows share in front counts once a view."""
    padding: int
    """Tokens read beside these, for nothing."""
    prefix: int
    """Tokens that needed no reading, since rows share them or the pass before has read them."""
    new_tokens: int
    """kind text: the most that was written after each row; else 0."""
    asked_by: dict[str, float]
    """Each probe's share of the cost; an answer that several asked for is split evenly."""
    shared: int
    """Answers that more than one probe asked for."""
    saved: float
    """Seconds that the shared answers would have cost beside, had each probe measured for itself."""
    failed: str = ""
    """Why the pass gave nothing and is made again in parts: OutOfMemory or NotStackable."""


class Ended(_Event, frozen=True, kw_only=True, tag="end"):
    """The last event of a run that came to a verdict."""

    seconds: float
    verdict: str


class Failed(_Event, frozen=True, kw_only=True, tag="failed"):
    """The last event of a run that came to none."""

    error: str


Event = Started | Planned | Stored | Loaded | Encoded | Pass | Ended | Failed
Observer = Callable[[Event], None]


@contextmanager
def recording(path: str) -> Iterator[Observer]:
    """Writes what is observed to the file `path`. Raises UsageError where it cannot be opened."""
    if path == "-":
        raise UsageError("--trace -: a trace goes to a file; name one")
    try:
        file = open(path, "wb", buffering=0)  # noqa: SIM115  closed below, whatever happens
    except (OSError, ValueError) as error:
        raise UsageError(f"--trace {path}: cannot be written: {getattr(error, 'strerror', '') or error}") from None

    def write(event: Event) -> None:
        try:
            file.write(msgspec.json.encode(event) + b"\n")
        except OSError as error:
            raise SwayError(f"cannot write the trace {path}: {error.strerror or error}") from None

    with file:
        try:
            yield write
        except BaseException as error:
            said = " ".join(str(error).split()) or type(error).__name__
            with suppress(SwayError):
                write(Failed(error=said.encode("utf-8", "backslashreplace").decode("utf-8")))
            raise


class Watch:
    """Tells an observer what the engine does; `asked` are the kind of each probe and the keys that it asks for."""

    def __init__(self, tell: Observer, asked: Mapping[str, tuple[str, Iterable["Key"]]]) -> None:
        self._tell = tell
        self._askers: dict[Key, list[str]] = defaultdict(list)
        self._known: list[list[str]] = []
        probes = {}
        for name, (kind, keys) in asked.items():
            wanted = _with_base(keys)
            answers = sum(not _is_reference(key) for key in wanted)
            probes[name] = Asked(kind=kind, texts=len({request for _, request in wanted}), answers=answers)
            for key in wanted:
                self._askers[key].append(name)
        tell(Planned(probes=probes, answers=sum(not _is_reference(key) for key in self._askers)))

    def store(self, store: "Store | None") -> "Store | None":
        """`store`, with an eye on what is found in it."""
        by_text = {(str(view), repr(request)): names for (view, request), names in self._askers.items()}
        return None if store is None else _WatchedStore(store, by_text, self._known)

    def loading(self, load: "Callable[[], Backend]") -> "Callable[[], Backend]":
        """`load`, timed, and the backend that it gives with an eye on its passes."""

        def watched() -> "Backend":
            self.tell_known()
            started = time.perf_counter()
            backend = load()
            facts, seconds = backend.facts, time.perf_counter() - started
            self._tell(Loaded(seconds=seconds, device=facts.device, dtype=facts.dtype))
            return cast("Backend", _WatchedBackend(backend, self._askers, self._tell))

        return watched

    def tell_known(self) -> None:
        """What the store knew, once."""
        if self._known:
            by_probe = Counter(name for names in self._known for name in names)
            self._tell(Stored(answers=len(self._known), probes=dict(by_probe)))
            self._known.clear()


def _with_base(keys: Iterable["Key"]) -> dict["Key", None]:
    """`keys` without doubles, each with the base's own answer."""
    return {key: None for view, request in keys for key in ((BASE, request), (view, request))}


def _is_reference(key: "Key") -> bool:
    """Whether the key stands for a distribution that others are compared with, and for no answer."""
    view, request = key
    return view == BASE and isinstance(request, Divergence)


class _WatchedStore:
    def __init__(self, store: "Store", askers: Mapping[tuple[str, str], list[str]], known: list[list[str]]) -> None:
        self._store, self._askers, self._known = store, askers, known

    def get(self, view: str, request: str) -> Floats | None:
        found = self._store.get(view, request)
        if found is not None:
            self._known.append(self._askers.get((view, request), []))
        return found

    def put(self, view: str, request: str, value: Floats) -> None:
        self._store.put(view, request, value)


class _WatchedBackend:
    """A backend that tells of each pass; in all else the backend itself."""

    def __init__(self, backend: "Backend", askers: Mapping["Key", list[str]], tell: Observer) -> None:
        self._backend, self._askers, self._tell = backend, askers, tell
        self._requests: dict[Row, list[Request]] = defaultdict(list)
        self._passes = 0
        self._held: tuple[tuple[View, ...], tuple[int, ...]] = ((), ())

    def __getattr__(self, name: str) -> Any:
        return getattr(self._backend, name)

    def encode(self, requests: Sequence[Request]) -> "Sequence[tuple[Row | Fault, str]]":
        started = time.perf_counter()
        encoded = self._backend.encode(requests)
        self._tell(Encoded(seconds=time.perf_counter() - started, texts=len(requests)))
        for request, (row, _) in zip(requests, encoded, strict=True):
            if not isinstance(row, Fault):
                self._requests[row].append(request)
        return encoded

    def measure(self, views: Sequence[View], rows: "Sequence[Row]", references: "dict[Row, Any]") -> Any:
        started, failed = time.perf_counter(), ""
        try:
            return self._backend.measure(views, rows, references)
        except Exception as error:
            failed = type(error).__name__
            raise
        finally:
            seconds = time.perf_counter() - started
            self._passes += 1
            asked = _asked(views, rows, self._asked_for(views, rows), seconds, failed)
            read = _read(views, rows, self._continued(views, rows[0]))
            self._tell(Pass(number=self._passes, seconds=seconds, failed=failed, **asked, **read))

    def _continued(self, views: Sequence[View], row: "Row") -> int:
        """How many tokens of the shared prefix the last pass has read already."""
        (held_by, held), prefix = self._held, row.ids[: row.shared]
        self._held = tuple(views), prefix
        return len(held) if held_by == tuple(views) and prefix[: len(held)] == held else 0

    def _asked_for(self, views: Sequence[View], rows: "Sequence[Row]") -> list[list[list[str]]]:
        """Which probes asked for the answers: [view][row][probe]."""
        return [
            [list(dict.fromkeys(n for r in self._requests[row] for n in self._askers.get((v, r), ()))) for row in rows]
            for v in views
        ]


def _asked(
    views: Sequence[View], rows: "Sequence[Row]", asked_for: list[list[list[str]]], seconds: float, failed: str
) -> dict[str, Any]:
    """The fields of a pass that tell who asked; an answer costs by its tokens, read and written."""
    weights = [max(1, len(row.ids) + row.length) for row in rows]
    whole, shares, again = len(views) * sum(weights), Counter[str](), 0.0
    for per_row in asked_for:
        for weight, names in zip(weights, per_row, strict=True):
            again += weight / whole * max(0, len(names) - 1)
            shares.update({name: weight / whole / len(names) for name in names})
    return {
        "asked_by": {name: round(share, 6) for name, share in shares.items()},
        "shared": sum(len(names) > 1 for per_row in asked_for for names in per_row),
        "saved": 0.0 if failed else seconds * again,
    }


def _read(views: Sequence[View], rows: "Sequence[Row]", continued: int) -> dict[str, Any]:
    """The fields of a pass that tell what was read; `continued` tokens of the shared prefix were there already."""
    front = rows[0].shared
    tails, width = sum(len(row.ids) - front for row in rows), max(len(row.ids) for row in rows) - front
    return {
        "kind": rows[0].asks,
        "views": tuple(map(str, views)),
        "rows": len(rows),
        "tokens": len(views) * (front - continued + tails),
        "padding": len(views) * (len(rows) * width - tails),
        "prefix": len(views) * (front * (len(rows) - 1) + continued),
        "new_tokens": rows[0].length,
    }
