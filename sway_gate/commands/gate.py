"""`sway gate` and its alias `sway run`: judge an adapter by a spec."""

import argparse
from functools import partial
from typing import TYPE_CHECKING

from sway_gate import output
from sway_gate.commands._common import (
    EXIT_CODES,
    FORMATS,
    Add,
    clear_targets,
    code_argument,
    deliver,
    effort_arguments,
    fraction,
    load,
    measuring,
    number,
    print_text,
    report_arguments,
    spec_argument,
    targets,
    tolerance_argument,
    version_argument,
)
from sway_gate.commands._formats import choose
from sway_gate.errors import UsageError

if TYPE_CHECKING:
    from sway_gate.gate.open import OpenBase
    from sway_gate.results import GateResult
    from sway_gate.spec.schema import Spec


def add_to(add: Add) -> None:
    gate = add(
        "gate",
        _gate,
        "Judge an adapter by a spec. The exit code is the verdict.",
        "sway gate",
        "sway gate sway.yaml --dry-run",
        "sway gate sway.yaml -o report.html",
    )
    version_argument(gate)
    run = add("run", _gate, "Another name of gate.", "sway run sway.yaml")
    for parser in (gate, run):
        parser.exit_codes = EXIT_CODES
        spec_argument(parser)
        parser.add_argument(
            "--dry-run", action="store_true", help="print the measurement plan and exit"
        )
        parser.add_argument(
            "--adapter",
            metavar="ADAPTER",
            help="judge this adapter, such as a checkpoint, instead of the spec's",
        )
        options(parser, "full")


def options(parser: argparse.ArgumentParser, tier: str) -> None:
    """Add the options of a gate that also apply to several specs."""
    parser.add_argument(
        "--threshold", type=fraction, metavar="F", help="minimum composite to pass, 0 to 1"
    )
    parser.add_argument(
        "--weights",
        type=_weights,
        default={},
        metavar="K=V,…",
        help="weights of the categories in the composite",
    )
    parser.add_argument(
        "--baseline",
        metavar="FILE",
        help="also fail if a probe regresses from the result in FILE",
    )
    tolerance_argument(parser)
    code_argument(parser)
    effort_arguments(parser, tier)
    report_arguments(parser)


def _gate(args: argparse.Namespace) -> int:
    choose(args, FORMATS)
    return _dry_run(args) if args.dry_run else judge(args)


def judge(args: argparse.Namespace, base: "OpenBase | None" = None) -> int:
    """The exit code of a gate by `args.spec`. `base` keeps the base loaded for further gates."""
    from sway_gate.spec.confine import check_files

    clear_targets(args, targets(args), [args.spec, args.baseline, args.adapter])
    if args.tolerance and args.baseline is None:
        raise UsageError("--tolerance applies only to a baseline; add --baseline FILE")
    check_files({"--baseline": [args.baseline]}, args.confine)
    loaded = load(args)
    # Errors of the spec need none of these.
    from sway_gate.gate.arguments import check_categories
    from sway_gate.gate.resolve import inputs
    from sway_gate.gate.run import run_gate

    output.check_targets(targets(args), *inputs(loaded))
    check_categories(loaded, args.weights, "--weights")
    if args.baseline is not None:
        return deliver(args, _compared(args, loaded))
    with measuring(args) as (options, progress):
        run = partial(run_gate, base=base) if base else run_gate
        result = run(loaded, options, progress)
    return deliver(args, result)


def _compared(args: argparse.Namespace, loaded: "Spec") -> "GateResult":
    """The result, compared with the baseline. Refuses an unsuitable baseline before measuring."""
    from sway_gate.compare import baseline
    from sway_gate.gate.resolve import prepare
    from sway_gate.gate.run import run_job
    from sway_gate.reports import json_v1

    accepted = json_v1.load(args.baseline)
    with measuring(args) as (options, progress):
        job = prepare(loaded, options, progress)
        baseline.check(accepted, args.baseline, job.base)
        result = run_job(job, progress)
    return baseline.judge(result, accepted, args.baseline, args.tolerance)


def _dry_run(args: argparse.Namespace) -> int:
    from sway_gate.gate.arguments import check_categories
    from sway_gate.gate.dry_run import dry_run

    for option, path in targets(args).items():
        if path is not None:
            raise UsageError(
                f"{option} {path}: --dry-run measures nothing, so there is no report to write; "
                "leave one of them out"
            )
    loaded = load(args)
    check_categories(loaded, args.weights, "--weights")
    return print_text(dry_run(loaded, args.tier, args.budget))


def _weights(text: str) -> dict[str, float]:
    """The mapping in "attribution=0.5,adherence=0.2"."""
    from sway_gate.gate.arguments import is_category_weight
    from sway_gate.spec.schema import SCORE_WEIGHTS, WEIGHTS

    weights: dict[str, float] = {}
    for part in text.split(","):
        name, _, given = (word.strip() for word in part.partition("="))
        value = number(given)
        if name in weights or not is_category_weight(name, value):
            form = f"must be CATEGORY=NUMBER,… with numbers that are {WEIGHTS}, each category once"
            allowed = ", ".join(SCORE_WEIGHTS)
            raise argparse.ArgumentTypeError(f"{form}; categories: {allowed}; got {part!r}")
        weights[name] = value
    return weights
