"""Events of a run: the cost of each forward pass and the probes that needed it. Pure data.

`sway_gate.engine.observe` makes them. `recording` writes them to a file, one event per line, each
flushed at once. docs/trace.md describes the fields; within a version fields are only added.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Annotated, Final, Literal

import msgspec

from sway_gate.errors import SwayError, UsageError
from sway_gate.version import __version__

VERSION: Final = 1
Count = Annotated[int, msgspec.Meta(ge=0, le=2**53)]
"""Limits are checked when a trace is read."""
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
    """The needs of one probe: different texts, and answers (texts under views, the base's too)."""

    kind: str
    texts: Count
    answers: Count


class PlanEvent(_Event, frozen=True, kw_only=True, tag="plan"):
    """The needs of the probes. `answers`: all answers, each counted once."""

    probes: dict[str, ProbeDemand]
    answers: Count


class Stored(_Event, frozen=True, kw_only=True, tag="stored"):
    """Answers from earlier runs: their number, and how many of them each probe needs."""

    answers: Count
    probes: dict[str, Count]


class Loaded(_Event, frozen=True, kw_only=True, tag="load"):
    """Libraries, model, adapter and nulls are loaded."""

    seconds: Seconds
    device: str
    dtype: str


class Encoded(_Event, frozen=True, kw_only=True, tag="encode"):
    """Requests are tokenised; the base has generated the answers that divergences need."""

    seconds: Seconds
    texts: Count


class Pass(_Event, frozen=True, kw_only=True, tag="pass"):
    """One forward pass: each of some rows under each of some views."""

    number: Count
    seconds: Seconds
    kind: Literal["logprobs", "recall", "js", "kl", "log_ratio", "argmax", "text"]
    views: tuple[str, ...]
    rows: Count
    tokens: Count
    """Tokens read under all views; the prefix of the rows counts once per view."""
    padding: Count
    """Tokens read in addition, only to fill up rows."""
    prefix: Count
    """Tokens that were not read again: other rows or the pass before have read them."""
    new_tokens: Count
    """kind text: the maximum number of tokens generated per row; otherwise 0."""
    asked_by: dict[str, Share]
    """Each probe's share of the cost. An answer that several probes need is divided equally."""
    shared: Count
    """Answers that more than one probe needs."""
    saved: Seconds
    """Additional seconds if each probe had measured its own answers."""
    failed: str = ""
    """The reason if the pass has no result and is repeated in parts: OutOfMemory, NotStackable."""


class Ended(_Event, frozen=True, kw_only=True, tag="end"):
    """Final event of a run with a verdict."""

    seconds: Seconds
    verdict: str


class Failed(_Event, frozen=True, kw_only=True, tag="failed"):
    """Final event of a run that ended without a verdict."""

    error: str


Event = Started | PlanEvent | Stored | Loaded | Encoded | Pass | Ended | Failed
Observer = Callable[[Event], None]


@contextmanager
def recording(path: str) -> Iterator[Observer]:
    """Write events to the file `path`. Raises UsageError if it cannot be opened."""
    if path == "-":
        raise UsageError("--trace -: a trace is written to a file; give its path")
    try:
        file = open(path, "wb", buffering=0)  # noqa: SIM115  closed below in all cases
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
            text = " ".join(str(error).split()) or type(error).__name__
            with suppress(SwayError):
                write(Failed(error=text.encode("utf-8", "backslashreplace").decode("utf-8")))
            raise
