"""The command line.

Each command in `sway_gate.commands` is a function from the parsed arguments to an exit code. It
imports its dependencies when it runs, so that `sway --version` starts as fast as Python. Only
`main` turns errors into exit codes.
"""

import argparse
import os
import sys
from collections.abc import Iterable, Sequence
from contextlib import suppress

from sway_gate import commands, output
from sway_gate.commands._common import (
    EXIT_CODES,
    Command,
    common_arguments,
    version_argument,
)
from sway_gate.commands._parser import Parser, Program, near
from sway_gate.errors import (
    INTERRUPTED,
    TERMINATED,
    CannotDecide,
    SwayError,
    Terminated,
    UsageError,
    is_out_of_memory,
    unexpected_text,
)
from sway_gate.model_files.online import is_online
from sway_gate.watch import Watch

_OTHER_WORDS = {"version": "--version", "list-probes": "probes"}
"""Words of other programs, and what they are called here."""
EXAMPLES = (
    "sway demo",
    "sway check runs/adapter",
    "sway init runs/adapter --data train.jsonl",
    "sway gate",
)


def main(argv: Sequence[str] | None = None, watch: Watch | None = None) -> int:
    """Run one command and return its exit code. An error is neither 0 nor the 1 of a verdict.

    `watch` is the supervisor's. Without one, a time limit ends the process of the caller.
    """
    arguments = sys.argv[1:] if argv is None else list(argv)
    if watch:
        return _main(arguments, watch)
    watch = Watch()
    code = _main(arguments, watch)
    watch.finish(code)
    return code


def _main(arguments: Sequence[str], watch: Watch) -> int:
    try:
        output.prepare_streams()
        return _run(arguments, watch)
    except Terminated as stop:
        if message := watch.overdue():
            return _complain([_noted(message, stop)], CannotDecide.exit_code)
        return _complain([_noted("terminated", stop)], TERMINATED)
    except KeyboardInterrupt as stop:
        return _complain([_noted("interrupted", stop)], INTERRUPTED)
    except SwayError as error:
        return _complain(str(error).splitlines() or [type(error).__name__], error.exit_code)
    # A panic in a Rust extension is not an Exception, and must not end as a 1 either.
    except BaseException as error:
        if is_out_of_memory(error):
            text = "out of memory; close other programs or use a larger machine"
            return _complain([text], CannotDecide.exit_code)
        hint = "please report it with the output of `sway doctor` and --verbose"
        text = f"{unexpected_text(error)} (a bug in sway-gate; {hint})"
        return _complain([text], CannotDecide.exit_code)


def gate_main(argv: Sequence[str] | None = None, watch: Watch | None = None) -> int:
    """The `sway-gate` script: `sway gate` with the same arguments."""
    return main(["gate", *(sys.argv[1:] if argv is None else argv)], watch)


def _run(arguments: Sequence[str], watch: Watch) -> int:
    try:
        args = _parsed(arguments)
    except SystemExit as stop:  # argparse has already printed help, version or the error
        output.say("")
        return stop.code if isinstance(stop.code, int) else CannotDecide.exit_code
    args.watch = watch
    if args.verbose:
        os.environ["SWAY_DEBUG"] = "1"
    if args.timeout:
        watch.limit(args.timeout)
    watch.step("reading the inputs")
    _check_folder()
    _choose_network(args)
    _choose_threads()
    command: Command = args.command
    return command(args)


def _noted(message: str, stop: KeyboardInterrupt) -> str:
    """The message, with what became of the run's readings."""
    return "; ".join([message, *getattr(stop, "__notes__", ())])


def _complain(lines: Iterable[str], exit_code: int) -> int:
    from sway_gate.text import one_line

    with suppress(SwayError):  # standard error is full; the exit code remains
        output.say("".join(f"error: {one_line(line)}\n" for line in lines), sys.stderr)
    return exit_code


def _check_folder() -> None:
    """Raise UsageError if the current folder was removed: no relative path has a meaning then."""
    try:
        os.getcwd()
    except OSError:
        raise UsageError("the current folder does not exist; change to another one") from None


def _choose_network(args: argparse.Namespace) -> None:
    """Set the variables for offline mode, which hub libraries read when they are imported."""
    args.online = args.online or is_online()
    if not args.online:
        os.environ.update(HF_HUB_OFFLINE="1", TRANSFORMERS_OFFLINE="1")


def _choose_threads() -> None:
    """Make waiting threads sleep early; give numpy's BLAS one thread, as its matrices are small.

    On shared cores, as on a CI runner, spinning threads take time from working ones, and a run
    becomes several times slower. libgomp spins 300,000 rounds by default.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "3000")
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


def _parser(arguments: Sequence[str]) -> Program:
    """The parser of the command that `arguments` start with, or of all commands."""
    parser = Program(
        commands.GROUPS,
        prog="sway",
        description="Test whether LoRA training changed a model as intended.",
    )
    parser.examples, parser.exit_codes = EXAMPLES, EXIT_CODES
    version_argument(parser)
    parser.set_defaults(
        online=False,
        threshold=None,
        weights={},
        json=None,
        junit=None,
        markdown=None,
        html=None,
        sarif=None,
        codequality=None,
        trace=None,
        quiet=False,
        no_samples=False,
        no_cache=False,
        yes=False,
        allow_code=False,
        tier="full",
        budget=None,
        confine=None,
        adapter=None,
    )

    def add(name: str, command: Command, summary: str, *examples: str) -> Parser:
        added = parser.commands.add_parser(name, help=summary, description=summary)
        added.examples = examples
        added.set_defaults(command=command, prog=name)
        common_arguments(added)
        return added

    for module in commands.modules(arguments[0] if arguments else ""):
        module.add_to(add)
    return parser


def _parsed(arguments: Sequence[str]) -> argparse.Namespace:
    """The arguments of a command. Exits, like argparse, if they are wrong."""
    if arguments[:1] == ["help"]:
        arguments = [*arguments[1:2], "--help"]
    parser = _parser(arguments)
    if arguments and arguments[0] not in commands.MODULES and not arguments[0].startswith("-"):
        parser.error(f"{arguments[0]!r} is not a command; {_hint(arguments[0])}")
    args = parser.parse_args(arguments)
    args.program = parser
    if "command" not in args:
        parser.error("no command; `sway --help` lists them")
    return args


def _hint(word: str) -> str:
    """What to do instead of `sway WORD`."""
    if os.path.isdir(word):
        return f"to judge an adapter: sway check {word}"
    if word.lower().endswith((".yaml", ".yml")):
        return f"to judge by a spec: sway gate {word}"
    found = _OTHER_WORDS.get(word) or near(word, commands.MODULES)
    return f"did you mean {found}?" if found else "`sway --help` lists the commands"
