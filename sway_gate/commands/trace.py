"""`sway trace`: summarize the cost of a run's forward passes."""

import argparse

from sway_gate.commands._common import Add, count, no_verdict, print_json, print_text


def add_to(add: Add) -> None:
    trace = add("trace", _trace, "Summarize the cost of a run's forward passes by probe.")
    trace.add_argument(
        "file", metavar="FILE", help="a trace written by `sway gate SPEC --trace FILE`"
    )
    trace.add_argument(
        "--format",
        choices=["terminal", "markdown", "md", "json"],
        default="terminal",
        help="the format (default: terminal)",
    )
    trace.add_argument(
        "--slowest",
        type=count,
        default=5,
        metavar="N",
        help="number of slowest passes to list (default: 5)",
    )
    no_verdict(trace)


def _trace(args: argparse.Namespace) -> int:
    import msgspec

    from sway_gate.reports import trace

    events, unreadable = trace.read(args.file)
    summary = trace.sum_up(events, unreadable, args.slowest)
    if args.format == "json":
        return print_json(msgspec.to_builtins(summary))
    if args.format == "terminal":
        return print_text(trace.render(summary))
    return print_text(trace.render_markdown(summary))
