"""``python -m sway_gate`` is ``sway``. The scripts `sway` and `sway-gate` start here.

Ctrl-C is handled before anything else is imported, so that it ends a start quietly.
"""

import os
import signal

if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
    signal.signal(signal.SIGINT, lambda *_: os._exit(130))

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
