"""The commands: one module per command or per family, imported when it is needed."""

from importlib import import_module
from typing import Any

MODULES = {
    "gate": "gate",
    "run": "gate",
    "check": "check",
    "demo": "demo",
    "init": "init",
    "autogen": "init",
    "report": "report",
    "compare": "compare",
    "diff": "compare",
    "baseline": "compare",
    "mine": "mine",
    "parity": "parity",
    "trace": "trace",
    "static": "static",
    "explain": "explain",
    "probes": "explain",
    "schema": "explain",
    "doctor": "doctor",
    "prefetch": "prefetch",
    "cache": "cache",
}
"""Command -> its module in this package, in the order of `sway --help`."""


def modules(command: str) -> list[Any]:
    """The module of `command`, no module for an option like --version, all modules otherwise."""
    if command in MODULES:
        names = [MODULES[command]]
    elif command == "--version":
        names = []
    else:
        names = list(dict.fromkeys(MODULES.values()))
    return [import_module(f"{__name__}.{name}") for name in names]
