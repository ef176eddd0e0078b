"""One meaning for `-o FILE`, `--format FORMAT` and `--json [FILE]` in every command.

`-o` writes to a file, whose ending names the format. `--format` sets the format of that file, or of
standard output without one. `--json` is short for both.
"""

import argparse
import os
from collections.abc import Collection

from sway_gate.commands._parser import Arguments
from sway_gate.errors import UsageError
from sway_gate.output import STDOUT

ENDINGS = {
    ".json": "json",
    ".md": "markdown",
    ".markdown": "markdown",
    ".html": "html",
    ".htm": "html",
    ".xml": "junit",
    ".sarif": "sarif",
}
TERMINAL = "terminal"
"""The format of a terminal, as text."""
_TEXTS = ("", ".txt", ".text", ".log")
_SHORT = {"md": "markdown"}


def output_arguments(parser: Arguments, formats: Collection[str]) -> None:
    """-o, which can be given once per format, and --format."""
    parser.add_argument(
        "-o",
        "--output",
        action="append",
        default=[],
        metavar="FILE",
        help=f"write a report to FILE; its ending names the format: {endings(formats)}",
    )
    format_argument(parser, formats)


def format_name(name: str) -> str:
    """The name of a format that is given by its name or its ending."""
    return _SHORT.get(name, name)


def format_argument(parser: Arguments, formats: Collection[str]) -> None:
    names = list(formats)
    parser.add_argument(
        "--format",
        type=format_name,
        choices=names,
        metavar="FORMAT",
        help=f"format of -o FILE, or of standard output without -o: {', '.join(names)}",
    )


def json_argument(parser: Arguments) -> None:
    parser.add_argument(
        "--json",
        nargs="?",
        const=STDOUT,
        metavar="FILE",
        help="write JSON to FILE (default: standard output)",
    )


def choose(args: argparse.Namespace, formats: Collection[str]) -> None:
    """Translate -o and --format to the options of the formats, such as --json FILE.

    Raises UsageError if a file has no format, or a format has two files.
    """
    for path in args.output or ([STDOUT] if args.format else []):
        name = args.format or of_name(path, formats)
        if name is None:
            known = endings(formats)
            raise UsageError(f"-o {path}: its ending names no format; use {known} or --format")
        if (other := getattr(args, name)) is not None:
            raise UsageError(f"-o {path}: {name} is also written to {other}; give one file")
        setattr(args, name, path)


def files(args: argparse.Namespace, formats: Collection[str]) -> dict[str, str]:
    """The format and the file of each -o; without -o, standard output as text.

    Raises UsageError if a file has no format, or a format has two files.
    """
    found: dict[str, str] = {}
    for path in args.output or [STDOUT]:
        name = args.format or of_file(path, formats)
        if other := found.get(name):
            raise UsageError(f"-o {path}: {name} is also written to {other}; give one file")
        found[name] = path
    return found


def of_name(path: str, formats: Collection[str]) -> str | None:
    """The format that the ending of a file's name stands for; None for other endings."""
    name = ENDINGS.get(os.path.splitext(path)[1].lower())
    return name if name in formats else None


def of_file(path: str, formats: Collection[str]) -> str:
    """The format that the ending of a file's name stands for; TERMINAL for text.

    Raises UsageError for another ending.
    """
    if name := of_name(path, formats):
        return name
    ending = os.path.splitext(path)[1].lower()
    if ending not in _TEXTS:
        known = f"{endings(formats)}, .txt"
        raise UsageError(f"-o {path}: its ending names no format; use {known} or --format")
    return TERMINAL


def endings(formats: Collection[str]) -> str:
    """The ending of each format; JUnit's does not name it."""
    first: dict[str, str] = {}
    for ending, name in ENDINGS.items():
        first.setdefault(name, f"{ending} (JUnit)" if name == "junit" else ending)
    return ", ".join(first[name] for name in formats if name in first)
