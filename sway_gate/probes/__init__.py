"""The probes, by kind, and what one is.

A probe module holds constants and pure functions over numpy; it never sees a model, a z-score or a verdict:

- `CATEGORY`, `UNITS`; `HARM`: whether less is better and a margin decides, not superiority over the nulls;
- `SCALE`, `RESOLUTION`: the scale on which its values have even spread, and the smallest value that it can tell from
  nothing; `FLOOR`: the smallest spread of nulls on that scale that is believed; `ADVICE`: what to do when it fails;
- `needs(spec, context)`: the requests, each with the scales of the adapter at which it is wanted;
- `value(spec, context, view)`: its number for one view, with the items behind it, from the answers at scale 1 and,
  of the fine-tuned view, at the further scales that it asked for;
- an effect has `rule(spec, reading)`: why the change is too small or misshapen, "" where it is not;
- a harm has `margins(spec, reading)`: the distances to its margins over items;
- `describe(spec, reading)`: the number in words.
"""

from collections.abc import Sequence
from importlib import import_module
from typing import Any, NamedTuple, Protocol

from sway_gate.measure import Floats, Request, ViewAnswers
from sway_gate.spec import Section
from sway_gate.stats import Margin, Scale

TABLE = {
    "delta_kl": "sway_gate.probes.delta_kl",
    "section_internalization": "sway_gate.probes.section_internalization",
    "calibration_drift": "sway_gate.probes.calibration_drift",
    "external_perplexity": "sway_gate.probes.external_perplexity",
    "adapter_ablation": "sway_gate.probes.adapter_ablation",
    "null_adapter": "sway_gate.probes.null_adapter",
}


class Context(NamedTuple):
    """What all probes of a suite share."""

    sections: tuple[Section, ...] = ()
    control: tuple[str, ...] = ()
    """Control prose; the packaged prose where it is empty."""
    seed: int = 0


class Need(NamedTuple):
    """One request, wanted of the fine-tuned adapter at each of `scales`, of the nulls at scale 1."""

    request: Request
    scales: tuple[float, ...] = (1.0,)


class Reading(NamedTuple):
    """A probe's number for one view. `items` [n]: the parts whose mean carries its uncertainty."""

    value: float
    items: Floats
    details: dict[str, Any]
    contrast: float | None = None
    """What is put against the nulls, where that is not the value itself."""


class CannotRun(Exception):
    """The probe was asked for and cannot run on what it was given: an ERROR, one line, with the remedy."""


class Skip(Exception):
    """There is nothing to measure, and the user could not know: a SKIP with its reason."""


class Probe(Protocol):
    """The shape of a probe module."""

    CATEGORY: str
    UNITS: str
    HARM: bool
    SCALE: Scale
    RESOLUTION: float
    FLOOR: float
    ADVICE: str

    def needs(self, spec: Any, context: Context, /) -> Sequence[Need]: ...
    def value(self, spec: Any, context: Context, view: ViewAnswers, /) -> Reading: ...
    def rule(self, spec: Any, reading: Reading, /) -> str: ...
    def margins(self, spec: Any, reading: Reading, /) -> tuple[Margin, ...]: ...
    def describe(self, spec: Any, reading: Reading, /) -> str: ...


def module(kind: str) -> Probe:
    """The probe module of a kind."""
    found: Any = import_module(TABLE[kind])
    probe: Probe = found
    return probe


def require(things: Sequence[Any], what: str) -> None:
    """Raises CannotRun where a probe was configured without what it works on."""
    if not things:
        raise CannotRun(f"{what} is empty; give at least one entry or remove the probe")
