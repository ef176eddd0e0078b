"""`sway report`: convert a JSON report to another format."""

import argparse

from sway_gate import output
from sway_gate.commands._common import FORMATS, Add, form, rendered
from sway_gate.commands._formats import endings, of_name


def add_to(add: Add) -> None:
    report = add(
        "report",
        _report,
        "Show a JSON report, or convert it to another format.",
        "sway report report.json",
        "sway report report.json -o report.html",
    )
    report.add_argument(
        "result", metavar="RESULT", help="the JSON report of a run; - is standard input"
    )
    report.add_argument(
        "--format",
        choices=("terminal", *FORMATS),
        help=f"the format (default: by the ending of -o FILE: {endings(FORMATS)}; or terminal)",
    )
    report.add_argument(
        "-o",
        "--output",
        metavar="FILE",
        default=output.STDOUT,
        help="write to FILE (default: standard output)",
    )


def _report(args: argparse.Namespace) -> int:
    import sys

    from sway_gate.reports import json_v1

    output.check_targets({"--output": args.output}, [args.result])
    result = json_v1.load(args.result)
    name = args.format or of_name(args.output, FORMATS) or "terminal"
    if name != "terminal":
        output.write(args.output, FORMATS[name](result), form(name))
    elif args.output == output.STDOUT:
        output.say(rendered(result, sys.stdout))
    else:
        output.write(args.output, rendered(result, None).encode())
    return 0
