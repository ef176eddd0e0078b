"""`sway report`: convert a JSON report to another format, or draw several over time."""

import argparse
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from sway_gate import output
from sway_gate.commands._common import (
    FORMATS,
    Add,
    display,
    form,
    rendered,
    samples_argument,
    shown,
)
from sway_gate.commands._formats import TERMINAL, endings, files, format_name
from sway_gate.errors import UsageError

if TYPE_CHECKING:
    from sway_gate.compare.history import History
    from sway_gate.results import GateResult


def add_to(add: Add) -> None:
    report = add(
        "report",
        _report,
        "Show a JSON report, or convert it to another format.",
        "sway report report.json",
        "sway report report.json -o report.html",
    )
    report.add_argument(
        "result",
        nargs="?",
        metavar="RESULT",
        help="the JSON report of a run; - is standard input",
    )
    report.add_argument(
        "--history",
        nargs="+",
        metavar="DIR|GLOB",
        help="instead of RESULT, draw the composite and each probe over several JSON reports: "
        "files, folders or patterns, in the order of their names",
    )
    report.add_argument(
        "--format",
        type=format_name,
        choices=(TERMINAL, *_OF_RESULT),
        help=f"the format (default: by the ending of -o FILE: {endings(FORMATS)}; or terminal)",
    )
    report.add_argument(
        "-o",
        "--output",
        action="append",
        default=[],
        metavar="FILE",
        help="write to FILE (default: standard output); repeat it for several formats",
    )
    samples_argument(report)


def _report(args: argparse.Namespace) -> int:
    if (args.result is None) == (args.history is None):
        raise UsageError(
            "give either the JSON report RESULT, or several with --history; for example: "
            "sway report report.json"
        )
    if args.history is not None:
        return _history(args)
    from sway_gate.reports import json_v1

    chosen = files(args, FORMATS)
    for path in chosen.values():
        output.clear_targets({"--output": path}, [args.result])
    result = shown(args, json_v1.load(args.result))
    for name, path in chosen.items():
        if name != TERMINAL:
            output.write(path, _OF_RESULT[name](result), form(name))
        elif path == output.STDOUT:
            output.say(rendered(result, sys.stdout))
        else:
            output.write(path, rendered(result, None).encode())
    return 0


def _history(args: argparse.Namespace) -> int:
    from sway_gate.reports.history import render
    from sway_gate.reports.history_files import load_history

    chosen = files(args, _OF_HISTORY)
    if args.format not in (None, TERMINAL, *_OF_HISTORY):
        allowed = ", ".join((TERMINAL, *_OF_HISTORY))
        raise UsageError(f"--format {args.format} shows one result; with --history use {allowed}")
    found = load_history(args.history)
    for path in chosen.values():
        output.check_targets({"--output": path}, [entry.file for entry in found.results])
    for name, path in chosen.items():
        if name != TERMINAL:
            output.write(path, _OF_HISTORY[name](found), form(name))
        elif path == output.STDOUT:
            output.say(render(found, **display(sys.stdout)))
        else:
            output.write(path, render(found, **display(None)).encode())
    return 0


def _history_json(found: "History") -> bytes:
    from sway_gate.reports.history import to_json

    return to_json(found)


def _history_markdown(found: "History") -> bytes:
    from sway_gate.reports.history import markdown

    return markdown(found).encode()


def _history_html(found: "History") -> bytes:
    from sway_gate.reports.html.history import render

    return render(found).encode()


def _modelcard(result: "GateResult") -> bytes:
    from sway_gate.reports.modelcard import render

    return render(result).encode()


_OF_RESULT: Final[dict[str, Callable[["GateResult"], bytes]]] = {**FORMATS, "modelcard": _modelcard}
_OF_HISTORY: Final[dict[str, Callable[["History"], bytes]]] = {
    "json": _history_json,
    "markdown": _history_markdown,
    "html": _history_html,
}
