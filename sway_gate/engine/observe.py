"""Reports what a run does as events: the plan, stored answers, each forward pass and its cost.

The engine calls a `RunObserver`. `sway_gate.engine.trace` defines the events.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sway_gate.backends.base import EncodedRequest, Facts
from sway_gate.engine.trace import Encoded, Loaded, Observer, Pass, PlanEvent, ProbeDemand, Stored
from sway_gate.measurements import Measurement, Request, View

_TRACE_KIND = {"teacher_forced": "recall"}
"""Kinds that version 1 of the trace calls by another name."""


class RunObserver:
    """Reports a run to `observe`. `probes`: by name, each probe's kind and measurements."""

    def __init__(
        self, observe: Observer, probes: Mapping[str, tuple[str, Sequence[Measurement]]]
    ) -> None:
        self._observe = observe
        self._probes_of: dict[Measurement, list[str]] = defaultdict(list)
        self._requests_of: dict[EncodedRequest, list[Request]] = defaultdict(list)
        self._passes = 0
        self._cached: tuple[tuple[View, ...], tuple[int, ...]] = ((), ())
        demands = {}
        for name, (kind, measurements) in probes.items():
            for measurement in measurements:
                self._probes_of[measurement].append(name)
            texts = len({m.request for m in measurements})
            demands[name] = ProbeDemand(kind=kind, texts=texts, answers=_answers(measurements))
        observe(PlanEvent(probes=demands, answers=_answers(self._probes_of)))

    def stored(self, known: Iterable[Measurement]) -> None:
        """Report the measurements that the store has answered, if there are any."""
        probes = [self._probes_of.get(measurement, []) for measurement in known]
        if probes:
            by_probe = Counter(name for names in probes for name in names)
            self._observe(Stored(answers=len(probes), probes=dict(by_probe)))

    def loaded(self, facts: Facts, seconds: float) -> None:
        self._observe(Loaded(seconds=seconds, device=facts.device, dtype=facts.dtype))

    def encoded(
        self, rows: Mapping[Request, EncodedRequest], requests: int, seconds: float
    ) -> None:
        """Report that `requests` were encoded in `seconds`, to `rows` if they can be measured."""
        self._observe(Encoded(seconds=seconds, texts=requests))
        for request, row in rows.items():
            self._requests_of[row].append(request)

    def passed(
        self, views: Sequence[View], rows: Sequence[EncodedRequest], seconds: float, failed: str
    ) -> None:
        """Report one pass. `failed`: the exception that ended it, "" if it succeeded."""
        self._passes += 1
        shares = _shares(views, rows, self._askers(views, rows), seconds, failed)
        read = tokens_read(views, rows, self._cached_tokens(views, rows[0]))
        self._observe(Pass(number=self._passes, seconds=seconds, failed=failed, **shares, **read))

    def _cached_tokens(self, views: Sequence[View], row: EncodedRequest) -> int:
        """How many tokens of the prefix the last pass has read already."""
        (cached_views, cached), prefix = self._cached, row.ids[: row.prefix_len]
        self._cached = tuple(views), prefix
        is_extended = cached_views == tuple(views) and prefix[: len(cached)] == cached
        return len(cached) if is_extended else 0

    def _askers(
        self, views: Sequence[View], rows: Sequence[EncodedRequest]
    ) -> list[list[list[str]]]:
        """The probes that need each answer: [view][row][probe]."""
        return [[self._askers_of(view, row) for row in rows] for view in views]

    def _askers_of(self, view: View, row: EncodedRequest) -> list[str]:
        names: dict[str, None] = {}
        for request in self._requests_of[row]:
            names |= dict.fromkeys(self._probes_of.get(Measurement(view, request), ()))
        return list(names)


def _answers(measurements: Iterable[Measurement]) -> int:
    return sum(not measurement.is_reference for measurement in measurements)


def _shares(
    views: Sequence[View],
    rows: Sequence[EncodedRequest],
    askers: list[list[list[str]]],
    seconds: float,
    failed: str,
) -> dict[str, Any]:
    """The fields of a pass about probes. An answer costs by its tokens, read and written."""
    weights = [max(1, len(row.ids) + row.length) for row in rows]
    total = len(views) * sum(weights)
    shares, again = Counter[str](), 0.0
    for per_row in askers:
        for weight, names in zip(weights, per_row, strict=True):
            again += weight / total * max(0, len(names) - 1)
            shares.update({name: weight / total / len(names) for name in names})
    return {
        "asked_by": {name: round(share, 6) for name, share in shares.items()},
        "shared": sum(len(names) > 1 for per_row in askers for names in per_row),
        "saved": 0.0 if failed else seconds * again,
    }


def tokens_read(
    views: Sequence[View], rows: Sequence[EncodedRequest], cached: int
) -> dict[str, Any]:
    """The fields of a pass about tokens; `cached` tokens of the prefix were read before."""
    prefix = rows[0].prefix_len
    width = max(len(row.ids) for row in rows) - prefix
    own = sum(len(row.ids) - prefix for row in rows)
    return {
        "kind": _TRACE_KIND.get(rows[0].kind, rows[0].kind),
        "views": tuple(map(str, views)),
        "rows": len(rows),
        "tokens": len(views) * (prefix - cached + own),
        "padding": len(views) * (len(rows) * width - own),
        "prefix": len(views) * (prefix * (len(rows) - 1) + cached),
        "new_tokens": rows[0].length,
    }
