"""Shared parts of commands: output, arguments, and delivery of a result in its formats."""

import argparse
import math
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Final, Protocol, TextIO, TypedDict

from sway_gate import output
from sway_gate.commands._formats import json_argument, output_arguments
from sway_gate.commands._parser import COMMON, Arguments, Parser
from sway_gate.commands._verbose import PhaseClock, facts
from sway_gate.errors import UsageError
from sway_gate.spec import DEFAULT_SPEC
from sway_gate.text import seconds
from sway_gate.version import __version__

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from sway_gate.engine.trace import Observer
    from sway_gate.gate.resolve import Options
    from sway_gate.output import Progress
    from sway_gate.results import GateResult
    from sway_gate.spec.schema import DataMap, Spec

LONG_RUN_S: Final = 2 * 3600
"""A longer run needs `--yes` or a longer time limit."""
Command = Callable[[argparse.Namespace], int]
Render = Callable[["GateResult", TextIO | None, bool], str]
"""Makes the text of a result for a stream, in full or only the verdict and what failed."""
EXIT_CODES: Final = "exit codes: 0 pass, 1 fail, 2 wrong command, spec or file, 3 could not decide"


class Add(Protocol):
    """Makes the parser of a command."""

    def __call__(self, name: str, command: Command, summary: str, *examples: str) -> Parser:
        """From its name, its function, a sentence of help, and examples that work."""


def print_text(text: str, path: str = output.STDOUT) -> int:
    text = text.rstrip("\n") + "\n"
    if path == output.STDOUT:
        output.say(text)
    else:
        output.write(path, text.encode())
    return 0


def print_json(value: object, path: str = output.STDOUT) -> int:
    import json

    output.write(path, json.dumps(value, indent=2).encode() + b"\n", output.JSON)
    return 0


def spec_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "spec",
        nargs="?",
        default=DEFAULT_SPEC,
        metavar="SPEC",
        help="the spec (default: sway.yaml); - is standard input",
    )
    confine_argument(parser)


def confine_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--confine",
        metavar="DIR",
        help="refuse files outside DIR, also through links, except models in the hub cache",
    )


def code_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--allow-code",
        action="store_true",
        help="run the code that the spec names: kind: custom, trust_remote_code",
    )


def load(args: argparse.Namespace) -> "Spec":
    """The spec, whose time limit applies from now on. Raises SpecError.

    With --confine, all files that it names lie in that folder.
    """
    from sway_gate.spec.confine import check_files, check_network, check_spec, check_waivers
    from sway_gate.spec.load import load_spec
    from sway_gate.spec.waivers import waivers_file

    if args.spec != output.STDOUT:
        check_files({"SPEC": [args.spec]}, args.confine)
    check_waivers(waivers_file(args.spec), args.confine)
    spec = load_spec(args.spec, args.adapter)
    check_spec(spec, args.confine)
    check_network(spec, args.confine, online=getattr(args, "online", False))
    if limit := spec.defaults.time_limit():
        args.watch.limit(limit)
    return spec


def common_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of every command."""
    common = parser.add_argument_group(COMMON)
    common.add_argument(
        "-v",
        "--verbose",
        action="store_true",
        help="print more: the times, paths and versions of a run, the traceback of an internal "
        "error",
    )
    common.add_argument(
        "--timeout",
        type=_duration,
        metavar="DURATION",
        help="end the run with exit code 3 after DURATION, such as 90s, 10m or 1h (default: none)",
    )


def version_argument(parser: argparse.ArgumentParser) -> None:
    version = f"sway-gate {__version__}"
    parser.add_argument(
        "-V", "--version", action="version", version=version, help="show the version and exit"
    )


def quiet_argument(parser: Arguments, shown: str) -> None:
    parser.add_argument("-q", "--quiet", action="store_true", help=f"print only {shown}")


def _duration(text: str) -> int:
    try:
        return seconds(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def report_arguments(parser: argparse.ArgumentParser) -> None:
    reports = parser.add_argument_group("reports")
    output_arguments(reports, FORMATS)
    json_argument(reports)
    reports.add_argument(
        "--markdown", metavar="FILE", help="write the report to FILE as Markdown, for a comment"
    )
    reports.add_argument("--html", metavar="FILE", help="write the report to FILE as one HTML page")
    reports.add_argument(
        "--junit",
        nargs="?",
        const="sway-junit.xml",
        metavar="FILE",
        help="write JUnit XML to FILE (default: sway-junit.xml)",
    )
    sarif_argument(reports)
    reports.add_argument(
        "--codequality",
        metavar="FILE",
        help="write what does not pass to FILE as a Code Quality report, for GitLab",
    )
    samples_argument(reports)
    quiet_argument(reports, "the verdict and failed probes")
    model_arguments(parser)
    parser.add_argument(
        "--trace",
        metavar="FILE",
        help="write the cost of each forward pass to FILE, for `sway trace`",
    )


def samples_argument(parser: Arguments) -> None:
    parser.add_argument(
        "--no-samples",
        action="store_true",
        help="leave texts of the data and answers out of every report, for public logs",
    )


def effort_arguments(parser: argparse.ArgumentParser, tier: str) -> None:
    parser.add_argument(
        "--tier",
        choices=("quick", "full"),
        default=tier,
        help=f"quick: only the probes that answer most for their time (default: {tier})",
    )
    parser.add_argument(
        "--budget",
        type=_duration,
        metavar="DURATION",
        help="leave out probes that do not fit into DURATION, such as 60s or 5m (default: none)",
    )


def sarif_argument(parser: Arguments) -> None:
    parser.add_argument(
        "--sarif",
        metavar="FILE",
        help="write what does not pass to FILE as SARIF, for code scanning",
    )


def data_arguments(parser: argparse.ArgumentParser, required: bool = False) -> None:
    parser.add_argument(
        "--data",
        action="extend",
        metavar="FILE",
        nargs="+",
        default=[],
        required=required,
        help="the training data: JSON, JSONL, CSV, Parquet, Markdown, text, or a folder of them",
    )
    parser.add_argument(
        "--map",
        type=_map,
        metavar="PART=FIELD,…",
        help="the fields of the data in another format: prompt=question,answer=reply",
    )
    parser.add_argument(
        "--held-out",
        action="extend",
        metavar="FILE",
        nargs="+",
        default=[],
        help="rows of the same kind that training did not see",
    )
    parser.add_argument(
        "--learn",
        choices=("content", "form", "preference"),
        default="auto",
        help="what training was meant to teach (default: inferred from the data and the base)",
    )
    confine_argument(parser)


def given_adapter(args: argparse.Namespace) -> str | None:
    """ADAPTER, also if it is written after the files of --data or --held-out, and so one of them.

    It is then the only one of them that contains an adapter, or that is a hub id and not a file.
    """
    from sway_gate.model_files.hub import ADAPTER_FILES, is_hub_id

    if args.adapter is not None:
        return str(args.adapter)
    for files in (args.data, args.held_out):
        for path in files[1:]:
            is_folder = any(os.path.exists(os.path.join(path, name)) for name in ADAPTER_FILES)
            is_missing = "/" in path and not os.path.exists(path) and is_hub_id(path)
            if is_folder or is_missing or os.path.basename(path) in ADAPTER_FILES:
                files.remove(path)
                return str(path)
    return None


def _map(text: str) -> "DataMap":
    """The fields in "prompt=question,answer=reply"."""
    from sway_gate.gate.arguments import checked_map

    given: dict[str, str] = {}
    for pair in text.split(","):
        part, _, field = (word.strip() for word in pair.partition("="))
        if part in given or not field:
            message = "must be PART=FIELD,… with each part once"
            raise argparse.ArgumentTypeError(f"{message}, got {pair!r}")
        given[part] = field
    try:
        return checked_map(given, "--map")
    except UsageError as error:
        raise argparse.ArgumentTypeError(str(error).removeprefix("--map: ")) from None


def model_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--online", action="store_true", help="download missing models")
    parser.add_argument("--no-cache", action="store_true", help="ignore cached results")
    parser.add_argument(
        "--yes", action="store_true", help="run even if the estimate is longer than two hours"
    )


@contextmanager
def measuring(args: argparse.Namespace) -> "Iterator[tuple[Options, Progress]]":
    """The options of a run; its progress bar is shown and its trace is written meanwhile."""
    from sway_gate.gate.resolve import Options
    from sway_gate.output import progress_bar

    clock = PhaseClock()
    with progress_bar(args.quiet) as show, _traced(args.trace) as observe:

        def progress(phase: str, done: int, total: int) -> None:
            args.watch.step(phase, done, total)
            clock.start(phase)
            show(phase, done, total)

        options = Options(
            args.threshold,
            args.weights,
            args.online,
            not args.no_cache,
            observe,
            None if args.yes else max(LONG_RUN_S, args.watch.seconds),
            allow_code=args.allow_code,
            tier=args.tier,
            budget=args.budget,
        )
        yield options, progress
    args.watch.step("writing the reports")
    if args.verbose:
        output.say(clock.text(), sys.stderr)


def _traced(path: str | None) -> "AbstractContextManager[Observer | None]":
    if path is None:
        return nullcontext()
    from sway_gate.engine import trace

    return trace.recording(path)


def deliver(args: argparse.Namespace, result: "GateResult", render: "Render | None" = None) -> int:
    """Print the report, write the report files, and return the exit code of the verdict.

    `render` makes the text for a stream; by default the terminal report.
    """
    result = shown(args, result)
    chosen = {name: path for name in FORMATS if (path := getattr(args, name)) is not None}
    stream = text_stream(chosen.values())
    output.say((render or rendered)(result, stream, args.quiet), stream)
    for name, path in chosen.items():
        output.write(path, FORMATS[name](result), form(name))
    if args.verbose:
        output.say(facts(result), sys.stderr)
    return result.exit_code


def shown(args: argparse.Namespace, result: "GateResult") -> "GateResult":
    """The result as the reports show it."""
    if not args.no_samples:
        return result
    from sway_gate.reports.samples import without_samples

    return without_samples(result)


def form(name: str) -> str:
    """How a format writes a character by its number."""
    return output.JSON if name in ("json", "sarif", "codequality") else output.MARKUP


def text_stream(paths: Iterable[str | None]) -> TextIO:
    """The stream of the terminal report: standard error if a file option uses standard output."""
    return sys.stderr if output.STDOUT in paths else sys.stdout


def check_targets(
    args: argparse.Namespace,
    targets: Mapping[str, str | None],
    inputs: Sequence[str | None],
    *,
    specs: bool = False,
) -> None:
    """Check the files of `targets` (option -> path) before anything is read. Raises UsageError."""
    from sway_gate.spec import confine

    confine.check_targets(targets, args.confine)
    output.check_targets(targets, inputs, specs=specs)


def clear_targets(
    args: argparse.Namespace, targets: Mapping[str, str | None], inputs: Sequence[str | None]
) -> None:
    """Check the files of `targets`, and remove the reports of earlier runs there.

    Raises UsageError.
    """
    from sway_gate.spec import confine

    confine.check_targets(targets, args.confine)
    output.clear_targets(targets, inputs)


def targets(args: argparse.Namespace) -> dict[str, str | None]:
    """The files that a run writes: option -> path."""
    return {f"--{name}": getattr(args, name) for name in (*FORMATS, "trace")}


def rendered(result: "GateResult", stream: TextIO | None, quiet: bool = False) -> str:
    """The terminal report, as `stream` can show it; None stands for a file."""
    from sway_gate.reports import terminal

    return terminal.render(result, quiet=quiet, **display(stream))


class Display(TypedDict):
    """Properties of a terminal that a report depends on."""

    color: bool
    width: int
    ascii: bool


def display(stream: TextIO | None) -> Display:
    """How `stream` shows text; None stands for a file."""
    import shutil

    if stream is None:
        return Display(color=False, width=100, ascii=False)
    width = shutil.get_terminal_size((100, 24)).columns
    return Display(color=output.has_color(stream), width=width, ascii=output.is_ascii(stream))


def fraction(text: str) -> float:
    """A number from 0 to 1, for argparse."""
    value = number(text)
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"must be a number from 0 to 1, got {text!r}")
    return value


def number(text: str) -> float:
    """The number in `text`; NaN if it is not a number."""
    try:
        return float(text)
    except ValueError:
        return math.nan


def count(text: str, least: int = 0) -> int:
    """A whole number, for argparse."""
    if not text.isascii() or not text.isdigit() or len(text) > 6 or int(text) < least:
        raise argparse.ArgumentTypeError(f"must be a whole number of {least} or more, got {text!r}")
    return int(text)


def positive_count(text: str) -> int:
    return count(text, least=1)


def tolerance_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--tolerance",
        type=fraction,
        default=0.0,
        metavar="T",
        help="loss that is accepted, 0 to 1 (default: 0): share of an effect, or points of the "
        "score of a harm probe or the composite",
    )


def _json(result: "GateResult") -> bytes:
    from sway_gate.reports.json_v1 import to_json

    return to_json(result)


def _markdown(result: "GateResult") -> bytes:
    from sway_gate.reports import markdown

    return markdown.render(result).encode()


def _html(result: "GateResult") -> bytes:
    from sway_gate.reports.html import page as html_page

    return html_page.render(result).encode()


def _junit(result: "GateResult") -> bytes:
    from sway_gate.reports.junit import to_junit

    return to_junit(result).encode()


def _sarif(result: "GateResult") -> bytes:
    from sway_gate.reports.sarif import to_sarif

    return to_sarif(result)


def _codequality(result: "GateResult") -> bytes:
    from sway_gate.reports.code_quality import to_code_quality

    return to_code_quality(result)


FORMATS: dict[str, Callable[["GateResult"], bytes]] = {
    "json": _json,
    "markdown": _markdown,
    "html": _html,
    "junit": _junit,
    "sarif": _sarif,
    "codequality": _codequality,
}
"""The formats of a result, by name of the option."""
