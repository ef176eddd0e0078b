"""`sway completion`: the completion of commands, options and files in a shell."""

import argparse

from sway_gate.commands._common import Add, print_text
from sway_gate.errors import CannotDecide

SHELLS = {
    "bash": "~/.local/share/bash-completion/completions/sway",
    "zsh": "~/.zfunc/_sway",
    "fish": "~/.config/fish/completions/sway.fish",
}
"""Shell -> the file from which it loads the completion."""
_FOLDERS = {"DIR"}
_FILES = {
    *("ADAPTER", "BASE", "BASELINE", "DOCUMENT", "FILE", "MODEL", "NEW", "OLD", "RESULT", "SPEC"),
    "SPEC|ADAPTER",
}


def add_to(add: Add) -> None:
    completion = add(
        "completion",
        _completion,
        "Print the completion of sway for a shell (extra: completion).",
        *(f"sway completion {shell} > {file}" for shell, file in SHELLS.items()),
    )
    completion.add_argument(
        "shell", choices=list(SHELLS), metavar="SHELL", help="bash, zsh or fish"
    )


def _completion(args: argparse.Namespace) -> int:
    try:
        import shtab
    except ImportError:
        raise CannotDecide(
            "completion needs the package shtab: pip install 'sway-gate[completion]'"
        ) from None
    for command in args.program.commands.choices.values():
        _complete_files(command)
    return print_text(shtab.complete(args.program, args.shell))


def _complete_files(parser: argparse.ArgumentParser) -> None:
    """Mark the arguments that are files or folders."""
    import shtab

    for action in parser._actions:
        if action.metavar in _FOLDERS:
            action.complete = shtab.DIRECTORY  # type: ignore[attr-defined]
        elif action.metavar in _FILES:
            action.complete = shtab.FILE  # type: ignore[attr-defined]
