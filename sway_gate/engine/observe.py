"""Reports a run as events: the plan, stored answers, each forward pass and its cost.

The engine calls a `RunObserver`. `sway_gate.engine.trace` defines the events.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from sway_gate.backends.base import EncodedRequest, Facts
from sway_gate.backends.packing import Packed
from sway_gate.engine.trace import Encoded, Loaded, Observer, Pass, PlanEvent, ProbeDemand, Stored
from sway_gate.measurements import Measurement, Request, View


class _Shares(NamedTuple):
    """The cost of one pass, divided between probes."""

    by_probe: Mapping[str, float]
    """Each probe's share. An answer that several probes need is divided equally."""
    shared: int
    """Answers that more than one probe needs."""
    repeated: float
    """Share of the pass that would run again if each probe measured its own answers."""


class RunObserver:
    """Reports a run to `observe`. `probes`: see `plan`."""

    def __init__(
        self, observe: Observer, probes: Mapping[str, tuple[str, Sequence[Measurement]]]
    ) -> None:
        self._observe = observe
        self._demands: dict[str, ProbeDemand] = {}
        self._probes_of: dict[Measurement, dict[str, None]] = defaultdict(dict)
        self._requests_of: dict[EncodedRequest, list[Request]] = defaultdict(list)
        self._passes = 0
        self._cached: tuple[tuple[View, ...], tuple[int, ...]] = ((), ())
        if probes:
            self.plan(probes)

    def plan(self, probes: Mapping[str, tuple[str, Sequence[Measurement]]]) -> None:
        """Report the plan, with these probes: by name, the kind and all measurements."""
        for name, (kind, measurements) in probes.items():
            for measurement in measurements:
                self._probes_of[measurement][name] = None
            texts = len({m.request for m in measurements})
            answers = _answers(measurements)
            self._demands[name] = ProbeDemand(kind=kind, texts=texts, answers=answers)
        event = PlanEvent(probes=dict(self._demands), answers=_answers(self._probes_of))
        self._observe(event)

    def stored(self, known: Iterable[Measurement]) -> None:
        """Report the measurements that the store has answered, if there are any."""
        probes = [self._probes_of.get(measurement, {}) for measurement in known]
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
        self,
        views: Sequence[View],
        sequences: Sequence[Packed],
        seconds: float,
        failed: str,
        shared: int = 0,
    ) -> None:
        """Report one pass. `failed`: the exception that ended it, "" if it succeeded.

        `shared`: the first tokens of all prompts of texts, if they were read once per view.
        """
        self._passes += 1
        rows = [row for sequence in sequences for row in sequence.rows]
        kind = rows[0].kind
        cached, prefix = self._cached_tokens(views, rows[0]), rows[0].prefix_len or shared
        width = max(sequence.width for sequence in sequences) - prefix
        own = sum(sequence.width - prefix for sequence in sequences)
        prompts = sum(sum(sequence.shared) for sequence in sequences)
        shares = self._shares(views, rows)
        event = Pass(
            number=self._passes,
            seconds=seconds,
            # Version 1 of the trace calls this kind by its former name.
            kind="recall" if kind == "teacher_forced" else kind,
            views=tuple(map(str, views)),
            rows=len(rows),
            tokens=len(views) * (prefix - cached + own),
            padding=len(views) * (len(sequences) * width - own),
            prefix=len(views) * (prefix * (len(rows) - 1) + cached + prompts),
            new_tokens=rows[0].length,
            asked_by={name: round(share, 6) for name, share in shares.by_probe.items()},
            shared=shares.shared,
            saved=0.0 if failed else seconds * shares.repeated,
            failed=failed,
        )
        self._observe(event)

    def _cached_tokens(self, views: Sequence[View], row: EncodedRequest) -> int:
        """The number of tokens of the prefix that the last pass has computed already."""
        (cached_views, cached), prefix = self._cached, row.ids[: row.prefix_len]
        self._cached = tuple(views), prefix
        is_extended = cached_views == tuple(views) and prefix[: len(cached)] == cached
        return len(cached) if is_extended else 0

    def _shares(self, views: Sequence[View], rows: Sequence[EncodedRequest]) -> _Shares:
        """Divide the cost of a pass between the probes, by the tokens of each answer."""
        weights = [max(1, len(row.ids) + row.length) for row in rows]
        total = len(views) * sum(weights)
        by_probe: dict[str, float] = defaultdict(float)
        shared, repeated = 0, 0.0
        for view in views:
            for weight, row in zip(weights, rows, strict=True):
                names = self._probes_that_need(view, row)
                shared += len(names) > 1
                repeated += weight / total * max(0, len(names) - 1)
                for name in names:
                    by_probe[name] += weight / total / len(names)
        return _Shares(by_probe, shared, repeated)

    def _probes_that_need(self, view: View, row: EncodedRequest) -> list[str]:
        names: dict[str, None] = {}
        for request in self._requests_of[row]:
            names |= dict.fromkeys(self._probes_of.get(Measurement(view, request), ()))
        return list(names)


def _answers(measurements: Iterable[Measurement]) -> int:
    return sum(not measurement.is_reference for measurement in measurements)
