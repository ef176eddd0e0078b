"""What commands share: how they speak, their arguments, and the way from a spec to a delivered verdict."""

import argparse
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, TextIO

from sway_gate import output

if TYPE_CHECKING:
    from sway_gate.result import GateResult
    from sway_gate.spec import Spec

Command = Callable[[argparse.Namespace], int]
Add = Callable[[str, Command, str], argparse.ArgumentParser]
"""Makes the parser of a command from its name, its function and what it does in a sentence."""


def tell(text: str) -> int:
    output.say(text.rstrip("\n") + "\n")
    return 0


def tell_json(value: object) -> int:
    import json

    return tell(json.dumps(value, indent=2))


def spec_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "spec", nargs="?", default="sway.yaml", metavar="SPEC", help="default sway.yaml; - is standard input"
    )


def report_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", metavar="FILE", help="write the JSON report; - is standard output")
    parser.add_argument(
        "--junit", nargs="?", const="sway-junit.xml", metavar="FILE", help="write JUnit XML; default sway-junit.xml"
    )
    parser.add_argument("--online", action="store_true", help="download models that are missing")
    parser.add_argument("--no-cache", action="store_true", help="measure again what is known")
    parser.add_argument("--quiet", action="store_true", help="only the verdict and what failed")


def measure(args: argparse.Namespace, loaded: "Spec") -> "GateResult":
    from sway_gate import gate, progress

    options = gate.Options(args.threshold, args.weights, args.online, not args.no_cache)
    with progress.shown(args.quiet) as show:
        return gate.run(loaded, options, show)


def deliver(args: argparse.Namespace, result: "GateResult", first: str = "") -> int:
    """The report for a person, then the files; the exit code is the verdict's."""
    person = sys.stderr if output.STDOUT in (args.json, args.junit) else sys.stdout
    output.say(first + _rendered(result, person, args.quiet), person)
    if args.json:
        from sway_gate.reports.machine import to_json

        output.write(args.json, to_json(result))
    if args.junit:
        from sway_gate.reports.junit import to_junit

        output.write(args.junit, to_junit(result).encode())
    return result.exit_code


def _rendered(result: "GateResult", stream: TextIO, quiet: bool) -> str:
    import shutil

    from sway_gate.reports import terminal

    width = shutil.get_terminal_size((100, 24)).columns
    color, ascii = output.has_color(stream), output.is_ascii(stream)
    return terminal.render(result, color=color, width=width, quiet=quiet, ascii=ascii)
