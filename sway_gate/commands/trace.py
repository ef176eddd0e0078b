"""`sway trace`: summarize the cost of a run's forward passes."""

import argparse

from sway_gate import output
from sway_gate.commands._common import Add, count, print_json, print_text
from sway_gate.commands._formats import endings, files, format_argument

_FORMATS = ("json", "markdown")


def add_to(add: Add) -> None:
    trace = add(
        "trace",
        _trace,
        "Summarize the cost of a run's forward passes by probe.",
        "sway trace trace.jsonl",
        "sway trace trace.jsonl --slowest 20",
    )
    trace.add_argument(
        "file", metavar="FILE", help="a trace written by `sway gate SPEC --trace FILE`"
    )
    trace.add_argument(
        "-o",
        "--output",
        action="append",
        default=[],
        metavar="FILE",
        help=f"write to FILE; its ending names the format: {endings(_FORMATS)}",
    )
    format_argument(trace, ("terminal", *_FORMATS))
    trace.add_argument(
        "--slowest",
        type=count,
        default=5,
        metavar="N",
        help="number of slowest passes to list (default: 5)",
    )


def _trace(args: argparse.Namespace) -> int:
    import msgspec

    from sway_gate.reports import trace

    chosen = files(args, _FORMATS)
    for path in chosen.values():
        output.check_targets({"-o": path}, [args.file])
    events, unreadable = trace.read(args.file)
    summary = trace.sum_up(events, unreadable, args.slowest)
    renderers = {"markdown": trace.render_markdown, "terminal": trace.render}
    for form, path in chosen.items():
        if form == "json":
            print_json(msgspec.to_builtins(summary), path)
        else:
            print_text(renderers[form](summary), path)
    return 0
