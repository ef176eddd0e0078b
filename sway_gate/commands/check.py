"""`sway check`: judge an adapter without a spec."""

import argparse

from sway_gate import output
from sway_gate.commands._common import Add, deliver, measuring, report_arguments, targets


def add_to(add: Add) -> None:
    check = add("check", _check, "Judge an adapter without a spec.")
    check.add_argument("adapter", metavar="ADAPTER", help="folder or hub id of the adapter")
    check.add_argument(
        "--base",
        metavar="BASE",
        help="folder or hub id of the base model (default: read from the adapter's config)",
    )
    check.add_argument("--prompts", metavar="FILE", help="prompts to measure, one per line")
    check.add_argument(
        "--data",
        metavar="FILE",
        nargs="+",
        default=[],
        help="the training data: JSONL, Markdown or text",
    )
    report_arguments(check)


def _check(args: argparse.Namespace) -> int:
    from sway_gate.gate.run import run_gate
    from sway_gate.suites.check import check_headline, check_suite

    output.check_targets(targets(args), [args.prompts, *args.data])
    suite = check_suite(args.adapter, args.base, args.prompts, args.data, args.online)
    with measuring(args) as (options, progress):
        result = run_gate(suite, options, progress)
    return deliver(args, result, check_headline(result) + "\n")
