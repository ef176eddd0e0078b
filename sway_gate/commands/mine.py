"""`sway mine`: find the prompts and paraphrases on which an adapter is weakest."""

import argparse
import sys

from sway_gate import output
from sway_gate.commands._common import (
    Add,
    measuring,
    model_arguments,
    no_verdict,
    positive_count,
    spec_argument,
)


def add_to(add: Add) -> None:
    mine = add("mine", _mine, "Find the prompts and paraphrases on which an adapter is weakest.")
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
        "--out",
        metavar="FILE",
        default=output.STDOUT,
        help="write the entries to FILE (default: standard output)",
    )
    model_arguments(mine)
    no_verdict(mine)


def _mine(args: argparse.Namespace) -> int:
    from sway_gate.gate.resolve import input_files
    from sway_gate.spec.load import load_spec
    from sway_gate.suites import mine

    loaded = load_spec(args.spec)
    output.check_targets({"-o": args.out}, [args.spec, *input_files(loaded)], specs=True)
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
    output.write(args.out, f"{about}\nsuite:\n{mined.entries}".encode())
    where = "" if args.out == output.STDOUT else f"{args.out}: {kept}\n"
    output.say(notes + where, sys.stderr)
    return 0
