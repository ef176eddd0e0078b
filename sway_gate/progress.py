"""How far a run is, for a person who waits: on standard error, and only where that is a terminal."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

Progress = Callable[[str, int, int], None]
"""Called with the phase, how much of it is done, and its total (0 where that is unknown)."""


def silent(phase: str, done: int, total: int) -> None:
    """Tell nobody."""


@contextmanager
def shown(quiet: bool = False) -> Iterator[Progress]:
    """A progress bar that vanishes at the end; `silent` where nobody looks."""
    if quiet or not sys.stderr.isatty():
        yield silent
        return
    from rich.console import Console
    from rich.progress import Progress as Bar

    with Bar(console=Console(stderr=True), transient=True) as bar:
        tasks: dict[str, int] = {}

        def show(phase: str, done: int, total: int) -> None:
            if phase not in tasks:
                tasks[phase] = bar.add_task(phase, total=None)
            bar.update(tasks[phase], completed=done, total=total or None)  # type: ignore[arg-type]

        yield show
