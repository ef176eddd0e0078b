"""What the commands say and judge, recorded.

`tests/test_recorded.py` compares, `python -m tools.record` writes. Only the public surface is used:
the commands, `sway_gate.run` and `check`, the demo. `outputs/GROUP/` holds a file for each thing
recorded, `inputs/` the stored results and traces that reports are made of.
"""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from tests.recorded import hostile_files, measured, messages, stored, words
from tests.recorded.workshop import Workshop, opened

OUTPUTS = Path(__file__).parent / "outputs"
MACHINE = Path(__file__).parent / "machine.json"
"""What the outputs were recorded on."""


class Group(NamedTuple):
    """Recordings made together. measures: its numbers come from a model, and depend on the machine.
    of_python: argparse words it, each version of Python a little differently. embeds: it takes
    sentence embeddings. rounding: what another machine may change in a number, relative to it."""

    record: Callable[[Workshop], None]
    measures: bool = False
    of_python: bool = False
    is_slow: bool = False
    embeds: bool = False
    rounding: float = 1e-3


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
    "demo_other_kinds": Group(measured.demo_other_kinds, measures=True, is_slow=True, embeds=True),
    "check": Group(measured.check, measures=True, is_slow=True),
    "diff": Group(measured.diff, measures=True, is_slow=True),
    "mine": Group(measured.mine, measures=True, is_slow=True),
    "variants": Group(measured.variants, measures=True, is_slow=True),
}


def produced(name: str, folder: Path) -> dict[str, str]:
    """File name -> text of every recording of the group, made in the empty `folder`."""
    with opened(folder) as work:
        GROUPS[name].record(work)
    return work.kept


def held(name: str) -> dict[str, str]:
    """The same as it was recorded."""
    paths = sorted((OUTPUTS / name).glob("*"))
    return {path.name: path.read_text(encoding="utf-8") for path in paths}
