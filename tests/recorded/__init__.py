"""Recorded outputs and verdicts of the commands.

`tests/test_recorded.py` compares them, `python -m tools.record` writes them. Only the public
interface is used: the commands, `sway_gate.run` and `sway_gate.check`, and the demo.
`outputs/GROUP/` contains one file per recording. `inputs/` contains stored results and traces, from
which reports are made.
"""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from tests.recorded import hostile_files, measured, messages, stored, words
from tests.recorded.workshop import Workshop, opened

OUTPUTS = Path(__file__).parent / "outputs"
MACHINE = Path(__file__).parent / "machine.json"
"""The machine and the versions with which the outputs were recorded."""


class Group(NamedTuple):
    """Recordings that are made together."""

    record: Callable[[Workshop], None]
    measures: bool = False
    """Its numbers are measured on a model and depend on the machine."""
    of_python: bool = False
    """Its messages are from argparse and depend on the version of Python."""
    is_slow: bool = False
    embeds: bool = False
    """It needs sentence embeddings."""
    rounding: float = 1e-3
    """Relative difference of a number that is allowed on another machine."""


GROUPS = {
    "words": Group(words.words),
    "help": Group(words.helps, of_python=True),
    "arguments": Group(messages.arguments, of_python=True),
    "specs": Group(messages.specs),
    "data": Group(messages.data),
    "results": Group(messages.results),
    "adapters": Group(hostile_files.adapters),
    "refused": Group(hostile_files.refused),
    "reports": Group(stored.reports),
    "comparisons": Group(stored.comparisons),
    "traces": Group(stored.traces),
    "suites": Group(words.suites),
    "dummy": Group(measured.dummy, measures=True),
    "demo_healthy": Group(measured.demo_healthy, measures=True),
    "demo_untrained": Group(measured.demo_untrained, measures=True, is_slow=True, rounding=1e-1),
    "all_kinds": Group(measured.all_kinds, measures=True, is_slow=True, embeds=True),
    "chat": Group(measured.chat, measures=True, is_slow=True),
    "demo_other_kinds": Group(measured.demo_other_kinds, measures=True, is_slow=True, embeds=True),
    "check": Group(measured.check, measures=True, is_slow=True),
    "diff": Group(measured.diff, measures=True, is_slow=True),
    "mine": Group(measured.mine, measures=True, is_slow=True),
    "variants": Group(measured.variants, measures=True, is_slow=True),
}


def produced(name: str, folder: Path) -> dict[str, str]:
    """Current text of each recording of the group, by file name; made in the empty `folder`."""
    with opened(folder) as work:
        GROUPS[name].record(work)
    return work.kept


def held(name: str) -> dict[str, str]:
    """Recorded text of each recording of the group, by file name."""
    paths = sorted((OUTPUTS / name).glob("*"))
    return {path.name: path.read_text(encoding="utf-8") for path in paths}
