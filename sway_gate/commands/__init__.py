"""The commands: one module per command or per family, imported when it is needed."""

from importlib import import_module
from typing import Any

GROUPS = {
    "start here": {"demo": "demo", "check": "check", "init": "init", "gate": "gate"},
    "results": {
        "report": "report",
        "compare": "compare",
        "diff": "compare",
        "rank": "rank",
        "baseline": "compare",
    },
    "automate": {"hook": "hook", "fleet": "fleet"},
    "look closer": {
        "explain": "explain",
        "static": "static",
        "parity": "parity",
        "mine": "mine",
        "trace": "trace",
        "probes": "explain",
        "schema": "explain",
    },
    "this machine": {
        "doctor": "doctor",
        "prefetch": "prefetch",
        "cache": "cache",
        "completion": "completion",
    },
    "others": {"run": "gate", "autogen": "init"},
}
"""Group in `sway --help` -> command -> its module in this package."""
MODULES = {command: module for group in GROUPS.values() for command, module in group.items()}


def modules(command: str) -> list[Any]:
    """The module of `command`, no module for --version, all modules for other words.

    Completion is of all commands.
    """
    if command in MODULES and command != "completion":
        names = [MODULES[command]]
    elif command in ("-V", "--version"):
        names = []
    else:
        names = list(dict.fromkeys(MODULES.values()))
    return [import_module(f"{__name__}.{name}") for name in names]
