"""`sway check`: judge an adapter or a fine-tuned model without a spec."""

import argparse
import sys
from functools import partial
from typing import TYPE_CHECKING, TextIO

from sway_gate import output
from sway_gate.commands._common import (
    EXIT_CODES,
    FORMATS,
    Add,
    clear_targets,
    data_arguments,
    deliver,
    display,
    effort_arguments,
    given_adapter,
    measuring,
    report_arguments,
    targets,
)
from sway_gate.commands._formats import choose

if TYPE_CHECKING:
    from sway_gate.results import GateResult
    from sway_gate.suites.check import Headline


def add_to(add: Add) -> None:
    check = add(
        "check",
        _check,
        "Judge an adapter or a fine-tuned model without a spec.",
        "sway check runs/adapter --data train.jsonl",
        "sway check runs/adapter --base path/to/base",
    )
    check.exit_codes = EXIT_CODES
    check.add_argument(
        "adapter", nargs="?", metavar="ADAPTER", help="folder or hub id of the adapter"
    )
    check.add_argument(
        "--model",
        metavar="MODEL",
        help="instead of an adapter, folder or hub id of a fine-tuned model; needs --base",
    )
    check.add_argument(
        "--base",
        metavar="BASE",
        help="folder or hub id of the base model (default: read from the adapter's config)",
    )
    check.add_argument(
        "--quantization",
        choices=("nf4", "int8"),
        help="quantize the base when it is loaded, as QLoRA does (default: as in its files)",
    )
    check.add_argument("--prompts", metavar="FILE", help="prompts to measure, one per line")
    data_arguments(check)
    effort_arguments(check, "quick")
    report_arguments(check)


def _check(args: argparse.Namespace) -> int:
    from sway_gate.gate.resolve import inputs
    from sway_gate.gate.run import run_gate
    from sway_gate.spec.confine import check_files
    from sway_gate.suites.check import (
        CheckInputs,
        check_headline,
        check_suite,
        early_notes,
        for_check,
    )

    choose(args, FORMATS)
    if args.model is None:
        args.adapter = given_adapter(args)
    clear_targets(args, targets(args), [args.prompts, *args.data, *args.held_out])
    check_files({"ADAPTER": [args.adapter], "--prompts": [args.prompts]}, args.confine)
    given = CheckInputs(
        adapter=args.adapter,
        base=args.base,
        prompts=args.prompts,
        data=args.data,
        online=args.online,
        held_out=args.held_out,
        learn=args.learn,
        data_map=args.map,
        quantization=args.quantization,
        model=args.model,
        confine=args.confine,
    )
    suite = check_suite(given)
    output.check_targets(targets(args), *inputs(suite))
    if not args.quiet:
        output.say("".join(f"note: {note}\n" for note in early_notes(suite)), sys.stderr)
    with measuring(args) as (options, progress):
        result = run_gate(suite, options, progress)
    return deliver(args, for_check(result), partial(_report, check_headline(result)))


def _report(found: "Headline", result: "GateResult", stream: TextIO | None, quiet: bool) -> str:
    """The answer of the check, and a line for each question."""
    from sway_gate.reports import check

    return check.render(
        result, found.word, found.lines, style=found.style, quiet=quiet, **display(stream)
    )
