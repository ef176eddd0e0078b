"""``python -m sway_gate`` is ``sway``. The scripts `sway` and `sway-gate` start here.

The command line is imported after signals are handled, so that Ctrl-C ends a start quietly.
"""

import sys

from sway_gate.supervisor import Run, supervised


def sway() -> int:
    return supervised(_sway)


def gate() -> int:
    """`sway gate` with the same arguments."""
    return supervised(_gate)


def _sway() -> Run:
    from sway_gate import cli

    return lambda watch: cli.main(watch=watch)


def _gate() -> Run:
    from sway_gate import cli

    return lambda watch: cli.gate_main(watch=watch)


if __name__ == "__main__":
    sys.exit(sway())
