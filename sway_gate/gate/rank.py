"""Judges several adapters by one spec, with one load of their base and one measurement of it.

Each adapter gets the same verdict as in a single gate. A race judges only those that can be the
best: all are compared by one measure, which is cheap, and the whole suite is measured from the best
value down. An adapter that is significantly worse than one that passed is dropped. If the leaders
fail, the next ones are judged, so that a race finds the same best adapters as a full run. Unlike
successive halving (Jamieson and Talwalkar 2016), it drops no adapter that could be the best; it is
a racing algorithm (Maron and Moore 1997).
"""

from collections.abc import Sequence
from pathlib import Path

import msgspec

from sway_gate.compare.ranking import Candidate, choose_measure, is_worse
from sway_gate.errors import SwayError
from sway_gate.gate.diff import with_adapter
from sway_gate.gate.open import OpenBase
from sway_gate.gate.resolve import Options
from sway_gate.gate.run import run_gate
from sway_gate.model_files.steps import step_of
from sway_gate.output import Progress, silent
from sway_gate.spec.schema import Spec
from sway_gate.text import joined_lines


def gate_adapters(
    spec: Spec, adapters: Sequence[str], options: Options, progress: Progress = silent
) -> list[Candidate]:
    """The candidates in the given order: each has the result of `spec` with this adapter.

    Raises SwayError if all of them end in the same error.
    """
    judges = _Judges(spec, adapters, options, progress)
    found = [judges.judge(i) for i in range(len(adapters))]
    judges.check()
    return found


def race_adapters(
    spec: Spec, adapters: Sequence[str], options: Options, progress: Progress = silent, by: str = ""
) -> list[Candidate]:
    """Like `gate_adapters`, without the whole results of adapters that cannot be the best."""
    judges = _Judges(spec, adapters, options, progress)
    found: dict[int, Candidate] = {}
    measure = None
    for i in range(len(adapters)):
        found[i] = judges.judge(i)
        if measure := choose_measure([found[i]], by):
            break
    if measure is None:
        judges.check()
        return list(found.values())
    name = measure.name
    suite = [probe for probe in spec.suite if not probe.is_probe or probe.name == name]
    short = msgspec.structs.replace(spec, suite=tuple(suite))
    looks = {i: judges.judge(i, short) for i in range(len(adapters)) if i not in found}
    known = {i: one for i, one in (found | looks).items() if one.probe(name)}
    sign = -1.0 if measure.better == "less" else 1.0
    values = {i: sign * (probe.raw or 0.0) for i, c in known.items() if (probe := c.probe(name))}
    for i in sorted(looks, key=lambda i: -values.get(i, -float("inf"))):
        passing = [known[j] for j, c in found.items() if c.verdict == "pass" and j in known]
        if i in known and is_worse(list(known.values()), measure, known[i], passing):
            found[i] = looks[i]._replace(is_dropped=True)
        else:
            found[i] = judges.judge(i)
    judges.check()
    return [found[i] for i in range(len(adapters))]


class _Judges:
    """Judges adapters by their position, and collects their errors."""

    def __init__(
        self, spec: Spec, adapters: Sequence[str], options: Options, progress: Progress
    ) -> None:
        self._spec, self._adapters, self._options = spec, adapters, options
        self._progress, self._base = progress, OpenBase()
        self._labels = labels(adapters)
        self._errors: dict[int, SwayError] = {}

    def judge(self, i: int, spec: Spec | None = None) -> Candidate:
        """The candidate, judged by `spec` instead of the whole one if it is given."""
        adapter, label, count = self._adapters[i], self._labels[i], len(self._adapters)
        step = step_of(Path(adapter))

        def progress(phase: str, done: int, total: int) -> None:
            self._progress(f"{i + 1} of {count}: {phase}", done, total)

        try:
            own = with_adapter(spec or self._spec, adapter)
            result = run_gate(own, self._options, progress, self._base)
        except SwayError as error:
            self._errors[i] = error
            text = joined_lines(str(error))
            return Candidate(label, step, None, adapter, text, error.exit_code)
        self._errors.pop(i, None)
        return Candidate(label, step, result, adapter, exit_code=result.exit_code)

    def check(self) -> None:
        """Raise the error in which all adapters end: the base, the data or the spec causes it."""
        texts = {str(error) for error in self._errors.values()}
        if len(self._errors) == len(self._adapters) and len(texts) == 1:
            raise next(iter(self._errors.values()))


def labels(adapters: Sequence[str]) -> list[str]:
    """The name of each adapter's folder, or the adapter as given if two have the same name."""
    names = [Path(adapter).name or adapter for adapter in adapters]
    return names if len(set(names)) == len(names) else list(adapters)
