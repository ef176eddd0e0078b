"""`sway gate`, `run`, `check` and `demo`: the commands whose exit code is a verdict."""

import argparse
import math
from typing import TYPE_CHECKING

from sway_gate import __version__, output
from sway_gate.commands.common import Add, deliver, measure, report_arguments, spec_argument, tell
from sway_gate.errors import UsageError

if TYPE_CHECKING:
    from sway_gate.spec import Spec


def add_to(add: Add) -> None:
    gate = add("gate", _gate, "Judge an adapter by a spec; the exit code is the verdict.")
    gate.add_argument("--version", action="version", version=f"sway-gate {__version__}")
    run = add("run", _run, "The same as gate, and --dry-run to see what would be measured.")
    run.add_argument("--dry-run", action="store_true", help="tell what would be measured, and stop")
    for parser in (gate, run):
        spec_argument(parser)
        parser.add_argument("--threshold", type=_fraction, metavar="F", help="least composite to pass, 0 to 1")
        parser.add_argument("--weights", type=_weights, metavar="K=V,…", help="weights of categories in the composite")
    check = add("check", _check, "Judge an adapter without a spec.")
    check.add_argument("adapter", metavar="ADAPTER", help="folder or hub id of the adapter")
    check.add_argument("--base", metavar="BASE", help="folder or hub id of the base; else the adapter's files tell")
    check.add_argument("--prompts", metavar="FILE", help="prompts to judge by, one a line")
    check.add_argument(
        "--data", metavar="FILE", nargs="+", default=[], help="what it was trained on: JSONL, Markdown or text"
    )
    for parser in (gate, run, check):
        report_arguments(parser)
    add("demo", _demo, "Gate a healthy and an untrained demo adapter, offline.")


def _gate(args: argparse.Namespace) -> int:
    from sway_gate import spec

    output.check_targets({"--json": args.json, "--junit": args.junit}, [args.spec])
    loaded = spec.load(args.spec)
    _check_weights(args, loaded)
    return deliver(args, measure(args, loaded))


def _run(args: argparse.Namespace) -> int:
    if not args.dry_run:
        return _gate(args)
    from sway_gate import gate, spec

    loaded = spec.load(args.spec)
    _check_weights(args, loaded)
    return tell(gate.plan(loaded))


def _check(args: argparse.Namespace) -> int:
    from sway_gate import check

    output.check_targets({"--json": args.json, "--junit": args.junit}, [args.prompts, *args.data])
    result = measure(args, check.suite(args.adapter, args.base, args.prompts, args.data))
    return deliver(args, result, check.headline(result) + "\n")


def _demo(args: argparse.Namespace) -> int:
    """Gate both demo adapters: 0 where the healthy one passes and the untrained one fails."""
    from sway_gate import demo, spec

    tell("Two adapters over a tiny model, all of it in this package: nothing is downloaded.")
    results = []
    for title, path in demo.specs():
        tell(f"\n== {title}\n$ sway gate {path}\n")
        results.append(measure(args, spec.load(path)))
        deliver(args, results[-1])
    healthy, untrained = (result.verdict for result in results)
    is_right = (healthy, untrained) == ("pass", "fail")
    tell(
        f"\nThe healthy adapter: {healthy.upper()}. The untrained adapter: {untrained.upper()}."
        f" {'As it must be.' if is_right else 'They must be PASS and FAIL: this installation does not judge soundly.'}"
    )
    return 0 if is_right else 1


def _check_weights(args: argparse.Namespace, loaded: "Spec") -> None:
    if args.weights and not any({**(loaded.defaults.score_weights or {}), **args.weights}.values()):
        raise UsageError("--weights leaves no category a positive weight; give at least one of them more than 0")


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


def _fraction(text: str) -> float:
    value = _number(text)
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"must be a number from 0 to 1, got {text!r}")
    return value


def _weights(text: str) -> dict[str, float]:
    """ "attribution=0.5,adherence=0.2" as a mapping."""
    from sway_gate.spec import SCORE_WEIGHTS

    weights: dict[str, float] = {}
    for part in text.split(","):
        name, _, number = (word.strip() for word in part.partition("="))
        value = _number(number)
        if name not in SCORE_WEIGHTS or name in weights or not 0 <= value < math.inf:
            form = "must be CATEGORY=NUMBER,… with numbers of 0 or more, each category once"
            raise argparse.ArgumentTypeError(f"{form}, of {', '.join(SCORE_WEIGHTS)}; got {part!r}")
        weights[name] = value
    return weights
