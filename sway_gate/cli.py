"""The commands. Each is a function from the parsed arguments to an exit code and imports what it uses when it runs,
so that `sway --version` costs what Python costs. `main` alone turns errors into exit codes."""

import argparse
import math
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, TextIO

from sway_gate import __version__, output
from sway_gate.errors import SwayError, UsageError

if TYPE_CHECKING:
    from sway_gate.result import GateResult
    from sway_gate.spec import Spec

Command = Callable[[argparse.Namespace], int]

EXIT_CODES = "exit codes: 0 pass, 1 fail, 2 the command, the spec or the files are wrong, 3 could not decide"
UNDECIDED = 3
INTERRUPTED = 130


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; its exit code. An error is never 0, and never the 1 of a verdict."""
    output.prepare_streams()
    try:
        args = _parser().parse_args(argv)
    except SystemExit as stop:  # argparse has said all: help, version, or what is wrong
        output.say("")
        return stop.code if isinstance(stop.code, int) else UNDECIDED
    try:
        _choose_network(args)
        _choose_threads()
        command: Command = args.command
        return command(args)
    except KeyboardInterrupt:
        return _complain(["interrupted"], INTERRUPTED)
    except SwayError as error:
        return _complain(str(error).splitlines() or [type(error).__name__], error.exit_code)
    except MemoryError:
        return _complain(["out of memory; close other programs, or judge on a larger machine"], UNDECIDED)
    except BaseException as error:  # a panic in a Rust extension is no Exception, and must not end as a 1 either
        return _unexpected(error)


def gate_main(argv: Sequence[str] | None = None) -> int:
    """The `sway-gate` script: `sway gate` with the same arguments."""
    return main(["gate", *(sys.argv[1:] if argv is None else argv)])


def _complain(lines: Iterable[str], exit_code: int) -> int:
    from sway_gate.reports import one_line

    output.say("".join(f"error: {one_line(line)}\n" for line in lines), sys.stderr)
    return exit_code


def _unexpected(error: BaseException) -> int:
    if os.environ.get("SWAY_DEBUG") == "1":
        import traceback

        traceback.print_exception(error)
    text = " ".join(str(error).split())[:500]
    hint = "a bug in sway-gate; please report it with what `sway doctor` and SWAY_DEBUG=1 show"
    return _complain([f"{type(error).__name__}: {text} ({hint})"], UNDECIDED)


def _choose_network(args: argparse.Namespace) -> None:
    """Offline unless asked: huggingface_hub and transformers read these variables when they are imported."""
    args.online = args.online or os.environ.get("SWAY_ONLINE", "").strip().lower() in ("1", "true", "yes", "on")
    if not args.online:
        os.environ.update(HF_HUB_OFFLINE="1", TRANSFORMERS_OFFLINE="1")


def _choose_threads() -> None:
    """Threads that wait must soon sleep: where cores are shared, as on a CI runner, spinning ones take the time of the
    working ones, and a run becomes several times slower (libgomp spins 300,000 rounds unless told otherwise). numpy's
    own BLAS gets one thread: its matrices here are small."""
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "3000")
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


# ------------------------------------------------------------------------------------------------------- verdicts


def _gate(args: argparse.Namespace) -> int:
    from sway_gate import spec

    output.check_targets({"--json": args.json, "--junit": args.junit}, [args.spec])
    loaded = spec.load(args.spec)
    _check_weights(args, loaded)
    return _deliver(args, _measure(args, loaded))


def _run(args: argparse.Namespace) -> int:
    if not args.dry_run:
        return _gate(args)
    from sway_gate import gate, spec

    loaded = spec.load(args.spec)
    _check_weights(args, loaded)
    return _tell(gate.plan(loaded))


def _check(args: argparse.Namespace) -> int:
    from sway_gate import check

    output.check_targets({"--json": args.json, "--junit": args.junit}, [args.prompts, *args.data])
    result = _measure(args, check.suite(args.adapter, args.base, args.prompts, args.data))
    return _deliver(args, result, check.headline(result) + "\n")


def _demo(args: argparse.Namespace) -> int:
    """Gate both demo adapters: 0 where the healthy one passes and the untrained one fails."""
    from sway_gate import demo, spec

    _tell("Two adapters over a tiny model, all of it in this package: nothing is downloaded.")
    results = []
    for title, path in demo.specs():
        _tell(f"\n== {title}\n$ sway gate {path}\n")
        results.append(_measure(args, spec.load(path)))
        _deliver(args, results[-1])
    healthy, untrained = (result.verdict for result in results)
    is_right = (healthy, untrained) == ("pass", "fail")
    _tell(
        f"\nThe healthy adapter: {healthy.upper()}. The untrained adapter: {untrained.upper()}."
        f" {'As it must be.' if is_right else 'They must be PASS and FAIL: this installation does not judge soundly.'}"
    )
    return 0 if is_right else 1


def _check_weights(args: argparse.Namespace, loaded: "Spec") -> None:
    if args.weights and not any({**(loaded.defaults.score_weights or {}), **args.weights}.values()):
        raise UsageError("--weights leaves no category a positive weight; give at least one of them more than 0")


def _measure(args: argparse.Namespace, loaded: "Spec") -> "GateResult":
    from sway_gate import gate, progress

    options = gate.Options(args.threshold, args.weights, args.online, not args.no_cache)
    with progress.shown(args.quiet) as show:
        return gate.run(loaded, options, show)


def _deliver(args: argparse.Namespace, result: "GateResult", first: str = "") -> int:
    """The report for a person, then the files; the exit code is the verdict's."""
    person = sys.stderr if output.STDOUT in (args.json, args.junit) else sys.stdout
    output.say(first + _rendered(result, person, args.quiet), person)
    if args.json:
        from sway_gate.reports.machine import to_json

        output.write(args.json, to_json(result))
    if args.junit:
        from sway_gate.reports.junit import to_junit

        output.write(args.junit, to_junit(result).encode())
    return result.exit_code


def _rendered(result: "GateResult", stream: TextIO, quiet: bool) -> str:
    import shutil

    from sway_gate.reports import terminal

    width = shutil.get_terminal_size((100, 24)).columns
    color, ascii = output.has_color(stream), output.is_ascii(stream)
    return terminal.render(result, color=color, width=width, quiet=quiet, ascii=ascii)


def _tell(text: str) -> int:
    output.say(text.rstrip("\n") + "\n")
    return 0


# ------------------------------------------------------------------------------------------------- other commands


def _static(args: argparse.Namespace) -> int:
    """The worst of the adapters decides. Hooks name each file that changed: an adapter is checked once."""
    from sway_gate import static
    from sway_gate.reports import static as reports

    given = (os.path.split(path) for path in args.adapters)
    files = (static.CONFIG, static.WEIGHTS)
    adapters = dict.fromkeys((folder or ".") if name in files else os.path.join(folder, name) for folder, name in given)
    found = [static.check(adapter, args.base) for adapter in adapters]
    if args.json:
        _tell_json([reports.to_dict(report) for report in found])
    else:
        _tell("\n".join(reports.render(report, args.verbose) for report in found))
    return max(report.exit_code for report in found)


def _tell_json(value: object) -> int:
    import json

    return _tell(json.dumps(value, indent=2))


def _explain(args: argparse.Namespace) -> int:
    from sway_gate import explain

    if args.kind:
        return _tell(explain.page(args.kind))
    return _tell(f"{explain.overview()}\nsway explain KIND tells more about one of them.")


def _probes(args: argparse.Namespace) -> int:
    from sway_gate import explain

    return _tell(explain.overview())


def _schema(args: argparse.Namespace) -> int:
    from sway_gate import spec

    return _tell_json(spec.json_schema())


def _doctor(args: argparse.Namespace) -> int:
    from sway_gate import doctor

    facts = doctor.facts()
    return _tell_json(facts) if args.json else _tell(doctor.render(facts))


def _prefetch(args: argparse.Namespace) -> int:
    from sway_gate import gate, spec

    return _tell("\n".join(gate.prefetch(spec.load(args.spec))))


def _cache(args: argparse.Namespace) -> int:
    from sway_gate import cache
    from sway_gate.doctor import cache_words
    from sway_gate.paths import cache_dir

    if args.action == "clear":
        return _tell(f"{cache_dir()}: removed {cache_words(*cache.clear())}")
    return _tell(f"{cache_dir()}: {cache_words(*cache.size())}")


# --------------------------------------------------------------------------------------------------- command line


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="sway",
        description="Did LoRA training really change this model, without breaking the rest?",
        epilog=EXIT_CODES,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"sway-gate {__version__}")
    parser.set_defaults(online=False, threshold=None, weights=None, json=None, junit=None, quiet=False, no_cache=False)
    commands = parser.add_subparsers(metavar="COMMAND", required=True)

    def add(name: str, command: Command, summary: str) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=summary, description=summary, epilog=EXIT_CODES, allow_abbrev=False)
        added.set_defaults(command=command)
        return added

    _add_verdicts(add)
    _add_others(add)
    return parser


def _add_verdicts(add: Callable[[str, Command, str], argparse.ArgumentParser]) -> None:
    gate = add("gate", _gate, "Judge an adapter by a spec; the exit code is the verdict.")
    gate.add_argument("--version", action="version", version=f"sway-gate {__version__}")
    run = add("run", _run, "The same as gate, and --dry-run to see what would be measured.")
    run.add_argument("--dry-run", action="store_true", help="tell what would be measured, and stop")
    for parser in (gate, run):
        _spec_argument(parser)
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
        _report_arguments(parser)
    add("demo", _demo, "Gate a healthy and an untrained demo adapter, offline.")


def _report_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", metavar="FILE", help="write the JSON report; - is standard output")
    parser.add_argument(
        "--junit", nargs="?", const="sway-junit.xml", metavar="FILE", help="write JUnit XML; default sway-junit.xml"
    )
    parser.add_argument("--online", action="store_true", help="download models that are missing")
    parser.add_argument("--no-cache", action="store_true", help="measure again what is known")
    parser.add_argument("--quiet", action="store_true", help="only the verdict and what failed")


def _add_others(add: Callable[[str, Command, str], argparse.ArgumentParser]) -> None:
    static = add("static", _static, "Judge adapters by their files alone, without torch.")
    static.add_argument("adapters", nargs="+", metavar="ADAPTER", help="folder of an adapter")
    static.add_argument("--base", metavar="BASE", help="folder of the base, to compare shapes with")
    static.add_argument("--verbose", action="store_true", help="every module, not only what stands out")
    static.add_argument("--json", action="store_true", help="print a JSON list, one entry an adapter")
    explain = add("explain", _explain, "Tell what a probe measures, how, and what it cannot tell.")
    explain.add_argument("kind", nargs="?", metavar="KIND")
    add("probes", _probes, "List the kinds of probes.")
    add("schema", _schema, "Print the JSON Schema of sway.yaml.")
    doctor = add("doctor", _doctor, "Tell what this installation has and what it lacks.")
    doctor.add_argument("--json", action="store_true", help="print JSON")
    prefetch = add("prefetch", _prefetch, "Download the models that a spec names.")
    prefetch.set_defaults(online=True)
    _spec_argument(prefetch)
    cache = add("cache", _cache, "Tell where the cache is and how big; clear empties it.")
    cache.add_argument("action", nargs="?", choices=["clear"], metavar="clear")


def _spec_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "spec", nargs="?", default="sway.yaml", metavar="SPEC", help="default sway.yaml; - is standard input"
    )


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
