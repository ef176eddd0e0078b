"""What a run's forward passes cost and which probe asked for them, as events: pure data, handed to an observer.

`sway_gate.engine.observe` makes them. `recording` is the observer that writes a file, an event a line, each flushed at once.
docs/trace.md describes the fields; within a version they are only added.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Annotated, Final, Literal

import msgspec

from sway_gate.errors import SwayError, UsageError
from sway_gate.version import __version__

VERSION: Final = 1
Count = Annotated[int, msgspec.Meta(ge=0, le=2**53)]
"""Like the other two held to its limits where a trace is read."""
Seconds = Annotated[float, msgspec.Meta(ge=0, le=1e9)]
Share = Annotated[float, msgspec.Meta(ge=0, le=1)]


class _Event(msgspec.Struct, frozen=True, kw_only=True, tag_field="event"):
    """One line of a trace."""


class Started(_Event, frozen=True, kw_only=True, tag="start"):
    """The first event."""

    version: Literal[1] = VERSION
    sway: str = __version__
    spec: str
    adapter: str
    base: str


class ProbeDemand(msgspec.Struct, frozen=True, kw_only=True):
    """What one probe asks for: different texts, and answers, which are texts under views, the base's among them."""

    kind: str
    texts: Count
    answers: Count


class PlanEvent(_Event, frozen=True, kw_only=True, tag="plan"):
    """What is asked for; `answers` of all probes together, each counted once."""

    probes: dict[str, ProbeDemand]
    answers: Count


class Stored(_Event, frozen=True, kw_only=True, tag="stored"):
    """Answers known from earlier runs: all of them, and how many of them each probe asked for."""

    answers: Count
    probes: dict[str, Count]


class Loaded(_Event, frozen=True, kw_only=True, tag="load"):
    """Import of the libraries, the model, its adapter, the nulls."""

    seconds: Seconds
    device: str
    dtype: str


class Encoded(_Event, frozen=True, kw_only=True, tag="encode"):
    """Tokenising, and the base's own greedy answers, along which divergences are read."""

    seconds: Seconds
    texts: Count


class Pass(_Event, frozen=True, kw_only=True, tag="pass"):
    """One pass through the model: some rows, each under all of some views."""

    number: Count
    seconds: Seconds
    kind: Literal["logprobs", "recall", "js", "kl", "text"]
    views: tuple[str, ...]
    rows: Count
    tokens: Count
    """That were read, over all views; what the rows share in front counts once a view."""
    padding: Count
    """Tokens read beside these, for nothing."""
    prefix: Count
    """Tokens that needed no reading, since rows share them or the pass before has read them."""
    new_tokens: Count
    """kind text: the most that was written after each row; else 0."""
    asked_by: dict[str, Share]
    """Each probe's share of the cost; an answer that several asked for is split evenly."""
    shared: Count
    """Answers that more than one probe asked for."""
    saved: Seconds
    """Seconds that the shared answers would have cost beside, had each probe measured for itself."""
    failed: str = ""
    """Why the pass gave nothing and is made again in parts: OutOfMemory or NotStackable."""


class Ended(_Event, frozen=True, kw_only=True, tag="end"):
    """The last event of a run that came to a verdict."""

    seconds: Seconds
    verdict: str


class Failed(_Event, frozen=True, kw_only=True, tag="failed"):
    """The last event of a run that came to none."""

    error: str


Event = Started | PlanEvent | Stored | Loaded | Encoded | Pass | Ended | Failed
Observer = Callable[[Event], None]


@contextmanager
def recording(path: str) -> Iterator[Observer]:
    """Writes what is observed to the file `path`. Raises UsageError where it cannot be opened."""
    if path == "-":
        raise UsageError("--trace -: a trace goes to a file; name one")
    try:
        file = open(path, "wb", buffering=0)  # noqa: SIM115  closed below, whatever happens
    except (OSError, ValueError) as error:
        raise UsageError(
            f"--trace {path}: cannot be written: {getattr(error, 'strerror', '') or error}"
        ) from None

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
