"""``python -m sway_gate`` is ``sway``. The scripts `sway` and `sway-gate` start here.

Ctrl-C is handled before anything else is imported, so that it ends a start quietly.
"""

import os
import signal

if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
    signal.signal(signal.SIGINT, lambda *_: os._exit(130))

import sys

from sway_gate.version import __version__

TYPE_CHECKING = False  # as in `typing`, whose import takes as long as the rest of `sway --version`
if TYPE_CHECKING:
    from sway_gate.supervisor import Run


def sway() -> int:
    if _version_is_printed():
        return 0
    from sway_gate.supervisor import supervised

    return supervised(_sway)


def gate() -> int:
    """`sway gate` with the same arguments."""
    from sway_gate.supervisor import supervised

    return supervised(_gate)


def _version_is_printed() -> bool:
    """Print the version if nothing else is requested: nothing can fail that needs a supervisor.

    If it cannot be printed, the parser tries again and reports the reason.
    """
    if sys.argv[1:] != ["--version"]:
        return False
    try:
        os.write(1, f"sway-gate {__version__}\n".encode())
    except OSError:
        return False
    return True


def _sway() -> "Run":
    from sway_gate import cli

    return lambda watch: cli.main(watch=watch)


def _gate() -> "Run":
    from sway_gate import cli

    return lambda watch: cli.gate_main(watch=watch)


if __name__ == "__main__":
    sys.exit(sway())
