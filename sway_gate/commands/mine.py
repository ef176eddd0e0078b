"""`sway mine`: find the prompts and paraphrases on which an adapter is weakest."""

import argparse
import sys

from sway_gate import output
from sway_gate.commands._common import (
    Add,
    check_targets,
    code_argument,
    load,
    measuring,
    model_arguments,
    positive_count,
    quiet_argument,
    spec_argument,
)


def add_to(add: Add) -> None:
    mine = add(
        "mine",
        _mine,
        "Find the prompts and paraphrases on which an adapter is weakest.",
        "sway mine sway.yaml -o weak.yaml",
        "sway mine sway.yaml --mode outliers -n 3",
    )
    spec_argument(mine)
    mine.add_argument(
        "--mode",
        choices=["paraphrase", "outliers"],
        default="paraphrase",
        help="search for weak paraphrases or for outlier prompts (default: paraphrase)",
    )
    mine.add_argument(
        "-n",
        "--top-k",
        type=positive_count,
        default=5,
        metavar="N",
        help="number of paraphrases per case, or of prompts at each end (default: 5)",
    )
    mine.add_argument(
        "-o",
        "--output",
        "--out",
        metavar="FILE",
        default=output.STDOUT,
        help="write the entries to FILE (default: standard output)",
    )
    code_argument(mine)
    model_arguments(mine)
    quiet_argument(mine, "the entries, without progress")


def _mine(args: argparse.Namespace) -> int:
    from sway_gate.gate.resolve import inputs
    from sway_gate.suites import mine

    loaded = load(args)
    files = [args.spec, *inputs(loaded).files]
    check_targets(args, {"-o": args.output}, files, specs=True)
    search = mine.weak_paraphrases if args.mode == "paraphrase" else mine.outliers
    with measuring(args) as (options, progress):
        mined = search(loaded, args.top_k, options, progress)
    notes = "".join(f"note: {note}\n" for note in mined.notes)
    if not mined.entries:
        output.say(
            f"{notes}no paraphrase reduces the lift of its answer (tried: {mined.tried}); "
            "nothing was written\n",
            sys.stderr,
        )
        return 0
    kept = f"{mined.kept} of {mined.tried} texts"
    about = f"# sway mine --mode {args.mode}: {kept}. Paste the entries below `suite:`."
    output.write(args.output, f"{about}\nsuite:\n{mined.entries}".encode(), output.YAML)
    where = "" if args.output == output.STDOUT else f"{args.output}: {kept}\n"
    output.say(notes + where, sys.stderr)
    return 0
