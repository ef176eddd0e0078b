"""`sway report`: convert a JSON report to another format."""

import argparse

from sway_gate import output
from sway_gate.commands._common import FORMATS, Add, form, no_verdict, rendered


def add_to(add: Add) -> None:
    report = add("report", _report, "Show a JSON report, or convert it to another format.")
    report.add_argument(
        "result", metavar="RESULT", help="the JSON report of a run; - is standard input"
    )
    report.add_argument(
        "--format",
        choices=("terminal", *FORMATS),
        default="terminal",
        help="the format (default: terminal)",
    )
    report.add_argument(
        "-o",
        "--output",
        metavar="FILE",
        default=output.STDOUT,
        help="write to FILE (default: standard output)",
    )
    no_verdict(report)


def _report(args: argparse.Namespace) -> int:
    import sys

    from sway_gate.reports import json_v1

    output.check_targets({"--output": args.output}, [args.result])
    result = json_v1.load(args.result)
    if args.format != "terminal":
        output.write(args.output, FORMATS[args.format](result), form(args.format))
    elif args.output == output.STDOUT:
        output.say(rendered(result, sys.stdout))
    else:
        output.write(args.output, rendered(result, None).encode())
    return 0
