"""An eye on what the engine works with, which neither of them knows of: it tells an observer of each pass.

The events are those of `sway_gate.engine.trace`.
"""

import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

from sway_gate.engine.trace import Encoded, Loaded, Observer, Pass, PlanEvent, ProbeDemand, Stored
from sway_gate.measurements import BASE, Divergence, Fault, Floats, Request, View

if TYPE_CHECKING:
    from collections.abc import Callable

    from sway_gate.backends.base import Backend, EncodedRequest
    from sway_gate.engine.run import Key, Store


class PassObserver:
    """Tells an observer what the engine does; `asked` are the kind of each probe and the keys that it asks for."""

    def __init__(self, tell: Observer, asked: Mapping[str, tuple[str, Iterable["Key"]]]) -> None:
        self._tell = tell
        self._askers: dict[Key, list[str]] = defaultdict(list)
        self._known: list[list[str]] = []
        probes = {}
        for name, (kind, keys) in asked.items():
            wanted = _with_base(keys)
            answers = sum(not _is_reference(key) for key in wanted)
            probes[name] = ProbeDemand(
                kind=kind, texts=len({request for _, request in wanted}), answers=answers
            )
            for key in wanted:
                self._askers[key].append(name)
        tell(PlanEvent(probes=probes, answers=sum(not _is_reference(key) for key in self._askers)))

    def store(self, store: "Store | None") -> "Store | None":
        """`store`, with an eye on what is found in it."""
        by_text = {
            (str(view), repr(request)): names for (view, request), names in self._askers.items()
        }
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
    def __init__(
        self, store: "Store", askers: Mapping[tuple[str, str], list[str]], known: list[list[str]]
    ) -> None:
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

    def __init__(
        self, backend: "Backend", askers: Mapping["Key", list[str]], tell: Observer
    ) -> None:
        self._backend, self._askers, self._tell = backend, askers, tell
        self._requests: dict[EncodedRequest, list[Request]] = defaultdict(list)
        self._passes = 0
        self._held: tuple[tuple[View, ...], tuple[int, ...]] = ((), ())

    def __getattr__(self, name: str) -> Any:
        return getattr(self._backend, name)

    def encode(self, requests: Sequence[Request]) -> "Sequence[tuple[EncodedRequest | Fault, str]]":
        started = time.perf_counter()
        encoded = self._backend.encode(requests)
        self._tell(Encoded(seconds=time.perf_counter() - started, texts=len(requests)))
        for request, (row, _) in zip(requests, encoded, strict=True):
            if not isinstance(row, Fault):
                self._requests[row].append(request)
        return encoded

    def measure(
        self,
        views: Sequence[View],
        rows: "Sequence[EncodedRequest]",
        references: "dict[EncodedRequest, Any]",
    ) -> Any:
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

    def _continued(self, views: Sequence[View], row: "EncodedRequest") -> int:
        """How many tokens of the shared prefix the last pass has read already."""
        (held_by, held), prefix = self._held, row.ids[: row.shared]
        self._held = tuple(views), prefix
        return len(held) if held_by == tuple(views) and prefix[: len(held)] == held else 0

    def _asked_for(
        self, views: Sequence[View], rows: "Sequence[EncodedRequest]"
    ) -> list[list[list[str]]]:
        """Which probes asked for the answers: [view][row][probe]."""
        return [
            [
                list(
                    dict.fromkeys(
                        n for r in self._requests[row] for n in self._askers.get((v, r), ())
                    )
                )
                for row in rows
            ]
            for v in views
        ]


def _asked(
    views: Sequence[View],
    rows: "Sequence[EncodedRequest]",
    asked_for: list[list[list[str]]],
    seconds: float,
    failed: str,
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


def _read(
    views: Sequence[View], rows: "Sequence[EncodedRequest]", continued: int
) -> dict[str, Any]:
    """The fields of a pass that tell what was read; `continued` tokens of the shared prefix were there already."""
    front = rows[0].shared
    tails, width = (
        sum(len(row.ids) - front for row in rows),
        max(len(row.ids) for row in rows) - front,
    )
    return {
        "kind": rows[0].asks,
        "views": tuple(map(str, views)),
        "rows": len(rows),
        "tokens": len(views) * (front - continued + tails),
        "padding": len(views) * (len(rows) * width - tails),
        "prefix": len(views) * (front * (len(rows) - 1) + continued),
        "new_tokens": rows[0].length,
    }
