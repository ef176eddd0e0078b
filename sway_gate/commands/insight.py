"""`sway mine` and `sway trace`: where an adapter is weakest, and what a run cost."""

import argparse
import sys

from sway_gate import output
from sway_gate.commands._common import Add, spec_argument, tell, tell_json


def add_to(add: Add) -> None:
    mine = add("mine", _mine, "Find the prompts and paraphrases under which an adapter is weakest.")
    spec_argument(mine)
    mine.add_argument(
        "--mode",
        choices=["paraphrase", "outliers"],
        default="paraphrase",
        help="what to look for; default paraphrase",
    )
    mine.add_argument(
        "-n",
        "--top-k",
        type=_positive,
        default=5,
        metavar="N",
        help="of each case, or at each end; default 5",
    )
    mine.add_argument(
        "-o", "--out", metavar="FILE", default=output.STDOUT, help="default standard output"
    )
    mine.add_argument("--online", action="store_true", help="download models that are missing")
    mine.add_argument("--no-cache", action="store_true", help="measure again what is known")
    trace = add("trace", _trace, "Sum up what a run's forward passes cost, and who asked for them.")
    trace.add_argument("file", metavar="FILE", help="written by `sway run SPEC --trace FILE`")
    trace.add_argument(
        "--format", choices=["terminal", "markdown", "md", "json"], default="terminal"
    )
    trace.add_argument(
        "--slowest",
        type=_count,
        default=5,
        metavar="N",
        help="passes to show one by one; default 5",
    )


def _mine(args: argparse.Namespace) -> int:
    from sway_gate.gate.resolve import Options
    from sway_gate.output import progress_bar
    from sway_gate.spec.load import load_spec
    from sway_gate.suites import mine

    loaded = load_spec(args.spec)
    output.check_targets({"-o": args.out}, [args.spec, *loaded.data, loaded.dlm_source], specs=True)
    options = Options(online=args.online, cache=not args.no_cache)
    search = mine.weak_paraphrases if args.mode == "paraphrase" else mine.outliers
    with progress_bar() as show:
        mined = search(loaded, args.top_k, options, show)
    notes = "".join(f"note: {note}\n" for note in mined.notes)
    if not mined.entries:
        output.say(
            f"{notes}none of {mined.tried} texts is weaker than the prompt itself: nothing to write\n",
            sys.stderr,
        )
        return 0
    about = f"# sway mine --mode {args.mode}: {mined.kept} of {mined.tried} texts. Paste what follows `suite:`.\n"
    output.write(args.out, f"{about}suite:\n{mined.entries}".encode())
    where = (
        "" if args.out == output.STDOUT else f"{args.out}: {mined.kept} of {mined.tried} texts\n"
    )
    output.say(notes + where, sys.stderr)
    return 0


def _trace(args: argparse.Namespace) -> int:
    import msgspec

    from sway_gate.reports import trace

    events, unreadable = trace.read(args.file)
    summary = trace.sum_up(events, unreadable, args.slowest)
    if args.format == "json":
        return tell_json(msgspec.to_builtins(summary))
    return tell(
        trace.render(summary) if args.format == "terminal" else trace.render_markdown(summary)
    )


def _positive(text: str) -> int:
    return _count(text, least=1)


def _count(text: str, least: int = 0) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 6 or int(text) < least:
        raise argparse.ArgumentTypeError(f"must be a whole number of {least} or more, got {text!r}")
    return int(text)
