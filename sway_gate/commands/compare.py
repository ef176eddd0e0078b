"""`sway compare`, `diff` and `baseline`: compare results with earlier ones or other adapters."""

import argparse
import sys
from typing import TYPE_CHECKING

from sway_gate import output
from sway_gate.commands._common import (
    Add,
    check_targets,
    clear_targets,
    code_argument,
    confine_argument,
    display,
    load,
    measuring,
    model_arguments,
    print_text,
    quiet_argument,
    text_stream,
    tolerance_argument,
)
from sway_gate.commands._formats import choose, json_argument, output_arguments
from sway_gate.errors import UsageError
from sway_gate.spec import DEFAULT_SPEC
from sway_gate.text import counted, one_line

if TYPE_CHECKING:
    from sway_gate.compare.results import Comparison
    from sway_gate.reports.comparison import Style


_FORMATS = ("json", "markdown")
_NEITHER = "2 wrong command, spec or file, 3 could not decide"


def add_to(add: Add) -> None:
    _add_compare(add)
    _add_diff(add)
    _add_baseline(add)


def _add_compare(add: Add) -> None:
    compare = add(
        "compare",
        _compare,
        "Report significant differences between results. Exits with 1 on a regression.",
        "sway compare old.json new.json",
        "sway compare old.json new.json -o comparison.md",
    )
    compare.exit_codes = f"exit codes: 0 no regression, 1 regression, {_NEITHER}"
    compare.add_argument(
        "old", metavar="OLD", help="the JSON report to compare with; - is standard input"
    )
    compare.add_argument(
        "new", nargs="+", metavar="NEW", help="JSON reports, each compared with OLD"
    )
    tolerance_argument(compare)
    _report_arguments(compare)


def _add_diff(add: Add) -> None:
    diff = add(
        "diff",
        _diff,
        "Judge two adapters by one spec and compare them. Their base is loaded once.",
        "sway diff runs/old runs/adapter",
        "sway diff sway.yaml runs/old runs/adapter -o diff.md",
    )
    diff.exit_codes = f"exit codes: 0 compared, {_NEITHER}"
    diff.add_argument(
        "paths",
        nargs="*",
        metavar="SPEC|ADAPTER",
        help="the spec (default: sway.yaml) and both adapters: folders or hub ids",
    )
    for name in ("a", "b"):
        diff.add_argument(
            f"--{name}", metavar="ADAPTER", help=f"the adapter {name.upper()}, instead of its path"
        )
    confine_argument(diff)
    code_argument(diff)
    model_arguments(diff)
    _report_arguments(diff)


def _add_baseline(add: Add) -> None:
    baseline = add(
        "baseline",
        _baseline,
        "Accept a result as the baseline for later runs.",
        "sway baseline update baseline.json --from report.json",
        "sway baseline update baseline.json sway.yaml",
    )
    baseline.add_argument("action", choices=["update"], metavar="update", help="write the baseline")
    baseline.add_argument("file", metavar="BASELINE", help="the file for `sway gate --baseline`")
    baseline.add_argument(
        "spec", nargs="?", metavar="SPEC", help="the spec to run, unless --from is given"
    )
    baseline.add_argument(
        "--from", dest="source", metavar="RESULT", help="the JSON report to accept"
    )
    confine_argument(baseline)
    code_argument(baseline)
    model_arguments(baseline)
    quiet_argument(baseline, "the result, without progress")


def _report_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--markdown", metavar="FILE", help="write Markdown to FILE; - is standard output"
    )
    json_argument(parser)
    output_arguments(parser, _FORMATS)
    quiet_argument(parser, "the verdict and regressions")


def _compare(args: argparse.Namespace) -> int:
    from sway_gate.compare import baseline
    from sway_gate.compare.results import compare_course
    from sway_gate.reports import json_v1
    from sway_gate.reports.comparison import COMPARED, exit_code

    paths = [args.old, *args.new]
    if paths.count(output.STDOUT) > 1:
        raise UsageError("only one of the reports can be standard input")
    choose(args, _FORMATS)
    output.clear_targets({"--markdown": args.markdown, "--json": args.json}, paths)
    results = [(path, baseline.without(json_v1.load(path))) for path in paths]
    found = compare_course(results, args.tolerance)
    _deliver(args, found, COMPARED)
    return exit_code(found)


def _diff(args: argparse.Namespace) -> int:
    from sway_gate.compare.results import compare_results
    from sway_gate.gate.diff import diff_adapters, with_adapter
    from sway_gate.gate.resolve import inputs
    from sway_gate.reports.comparison import DIFFERED
    from sway_gate.spec.confine import check_files

    _name_inputs(args)
    check_files({"A": [args.a], "B": [args.b]}, args.confine)
    choose(args, _FORMATS)
    reports = {"--markdown": args.markdown, "--json": args.json}
    clear_targets(args, reports, [args.spec])
    loaded = load(args)
    for adapter in (args.a, args.b):
        output.check_targets(reports, *inputs(with_adapter(loaded, adapter)))
    with measuring(args) as (options, progress):
        a, b = diff_adapters(loaded, args.a, args.b, options, progress)
    for label, result in ((args.a, a), (args.b, b)):
        faults = [found.message for found in result.findings if found.level == "verdict"]
        notes = [f"note: {one_line(f'{label}: {fault}')}\n" for fault in faults]
        output.say("".join(notes), sys.stderr)
    found = compare_results(a, b, labels=(args.a, args.b), in_order=False)
    _deliver(args, [found], DIFFERED)
    return found.exit_code


def _name_inputs(args: argparse.Namespace) -> None:
    """Set the spec and the adapters that are given by position, in any order of the spec.

    Raises UsageError if they are not one spec and two adapters.
    """
    adapters = [path for path in args.paths if not is_spec(path)]
    specs = [path for path in args.paths if is_spec(path)]
    if args.a and args.b:  # then a path is the spec, under any name
        adapters, specs = [], [*adapters, *specs]
    named = [*filter(None, [args.a]), *adapters, *filter(None, [args.b])]
    if len(named) != 2 or len(specs) > 1:
        raise UsageError(
            f"give two adapters and at most one spec, got {counted(len(named), 'adapter')} and "
            f"{counted(len(specs), 'spec')}; for example: sway diff runs/old runs/adapter"
        )
    args.a, args.b = named
    args.spec = specs[0] if specs else DEFAULT_SPEC


def is_spec(path: str) -> bool:
    return path == output.STDOUT or path.lower().endswith((".yaml", ".yml"))


def _deliver(args: argparse.Namespace, found: "list[Comparison]", style: "Style") -> None:
    """Print the comparison, then write its files."""
    from sway_gate.reports import comparison

    stream = text_stream([args.markdown, args.json])
    output.say(comparison.render(found, style=style, quiet=args.quiet, **display(stream)), stream)
    if args.markdown:
        output.write(args.markdown, comparison.markdown(found, style).encode(), output.MARKUP)
    if args.json:
        output.write(args.json, comparison.to_json(found), output.JSON)


def _baseline(args: argparse.Namespace) -> int:
    from sway_gate.compare import baseline
    from sway_gate.gate.resolve import inputs
    from sway_gate.gate.run import run_gate
    from sway_gate.reports import json_v1, wording
    from sway_gate.spec.confine import check_files

    if (args.spec is None) == (args.source is None):
        raise UsageError(
            "give either SPEC or --from RESULT; for example: "
            "sway baseline update baseline.json --from report.json"
        )
    check_files({"--from": [args.source]}, args.confine)
    target = {"BASELINE": args.file}
    check_targets(args, target, [args.spec, args.source])
    if args.source is not None:
        result, label = json_v1.load(args.source), args.source
    else:
        loaded = load(args)
        output.check_targets(target, inputs(loaded).files)
        with measuring(args) as (options, progress):
            result, label = run_gate(loaded, options, progress), args.spec
    output.write(args.file, json_v1.to_json(baseline.accept(result, label)), output.JSON)
    return print_text(f"{args.file}: accepted: {wording.headline(baseline.without(result))}")
