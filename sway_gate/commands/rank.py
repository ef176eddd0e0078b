"""`sway rank`: judge several adapters by one spec, and name the best one."""

import argparse
import os
from typing import TYPE_CHECKING, Final

from sway_gate import output
from sway_gate.commands._adapters import distinct, expanded
from sway_gate.commands._common import (
    Add,
    clear_targets,
    code_argument,
    confine_argument,
    display,
    load,
    measuring,
    model_arguments,
    quiet_argument,
    text_stream,
)
from sway_gate.commands._formats import choose, json_argument, output_arguments
from sway_gate.commands.compare import is_spec
from sway_gate.errors import UsageError
from sway_gate.spec import DEFAULT_SPEC
from sway_gate.text import counted

if TYPE_CHECKING:
    from sway_gate.compare.ranking import Candidate

MAX_ADAPTERS: Final = 256
_FORMATS: Final = ("json", "markdown", "html")


def add_to(add: Add) -> None:
    rank = add(
        "rank",
        _rank,
        "Judge several adapters by one spec and name the best one, such as a checkpoint.",
        "sway rank sway.yaml runs/old runs/adapter",
        "sway rank 'runs/*' -o rank.html",
    )
    rank.exit_codes = (
        "exit codes: 0 an adapter passes, 1 none passes, 2 wrong command, spec or adapter, "
        "3 could not decide on an adapter"
    )
    rank.add_argument(
        "paths",
        nargs="+",
        metavar="SPEC|ADAPTER",
        help="the spec (default: sway.yaml) and the adapters: folders, hub ids or a pattern such "
        "as 'runs/checkpoint-*'",
    )
    rank.add_argument(
        "--by",
        default="",
        metavar="PROBE",
        help="order by this probe (default: the first one of held-out rows, otherwise of "
        "the training data)",
    )
    rank.add_argument(
        "--race",
        action="store_true",
        help="do not judge in full what is significantly worse than an adapter that passes",
    )
    confine_argument(rank)
    code_argument(rank)
    model_arguments(rank)
    rank.add_argument(
        "--markdown", metavar="FILE", help="write Markdown to FILE; - is standard output"
    )
    rank.add_argument("--html", metavar="FILE", help="write the report to FILE as one HTML page")
    json_argument(rank)
    output_arguments(rank, _FORMATS)
    quiet_argument(rank, "the adapter to use, and errors")
    rank.collects = "paths"


def _rank(args: argparse.Namespace) -> int:
    from sway_gate.compare.ranking import check_measure, rank
    from sway_gate.gate.diff import with_adapter
    from sway_gate.gate.rank import gate_adapters, race_adapters
    from sway_gate.gate.resolve import inputs
    from sway_gate.reports import ranking
    from sway_gate.reports.html import ranking as page
    from sway_gate.spec.confine import check_files

    adapters = _named_inputs(args)
    check_files({"ADAPTER": adapters}, args.confine)
    choose(args, _FORMATS)
    reports = {f"--{name}": getattr(args, name) for name in _FORMATS}
    clear_targets(args, reports, [args.spec])
    spec = load(args)
    if args.by:
        check_measure(spec, args.by)
    for adapter in adapters:
        output.check_targets(reports, *inputs(with_adapter(spec, adapter)))
    with measuring(args) as (options, progress):
        if args.race:
            candidates = race_adapters(spec, adapters, options, progress, args.by)
        else:
            candidates = gate_adapters(spec, adapters, options, progress)
    found = rank([_explained(one) for one in candidates], args.by)
    stream = text_stream(reports.values())
    output.say(ranking.render(found, quiet=args.quiet, **display(stream)), stream)
    if args.markdown:
        output.write(args.markdown, ranking.markdown(found).encode(), output.MARKUP)
    if args.html:
        output.write(args.html, page.render(found).encode(), output.MARKUP)
    if args.json:
        output.write(args.json, ranking.to_json(found), output.JSON)
    return found.exit_code


def _explained(candidate: "Candidate") -> "Candidate":
    """With the reason why its gate could not decide."""
    from sway_gate.reports.wording import reasons

    if candidate.result is None or candidate.result.verdict != "error":
        return candidate
    return candidate._replace(error=reasons(candidate.result)[0])


def _named_inputs(args: argparse.Namespace) -> list[str]:
    """The adapters; sets the spec. Raises UsageError unless there are two adapters or more."""
    specs = [path for path in args.paths if is_spec(path)]
    paths = [_folder_of(path) for path in args.paths if not is_spec(path)]
    given = [one for path in paths for one in expanded(path, MAX_ADAPTERS)]
    if len(given) > MAX_ADAPTERS:
        raise UsageError(f"more than {MAX_ADAPTERS} adapters; give fewer, or a narrower pattern")
    adapters = distinct(given)
    if len(adapters) < 2 or len(specs) > 1:
        raise UsageError(
            f"give two adapters or more and at most one spec, got "
            f"{counted(len(adapters), 'adapter')} and {counted(len(specs), 'spec')}; "
            "for example: sway rank sway.yaml 'runs/checkpoint-*'"
        )
    args.spec = specs[0] if specs else DEFAULT_SPEC
    args.adapter = next(filter(os.path.isdir, adapters), adapters[0])  # instead of the spec's own
    return adapters


def _folder_of(path: str) -> str:
    """The folder of an adapter's file; other paths as given.

    Raises AdapterError if the file is not of an adapter.
    """
    from sway_gate.model_files import find

    file = os.path.expanduser(path)
    return str(find.adapter(file, None, online=False)) if os.path.isfile(file) else path
