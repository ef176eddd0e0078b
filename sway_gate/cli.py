"""The command line. Each command, in `sway_gate.commands`, is a function from the parsed arguments to an exit code and
imports what it uses when it runs, so that `sway --version` costs what Python costs. `main` alone turns errors into
exit codes."""

import argparse
import os
import sys
from collections.abc import Iterable, Sequence

from sway_gate import output
from sway_gate.commands import (
    cache,
    check,
    compare,
    demo,
    doctor,
    explain,
    gate,
    init,
    mine,
    prefetch,
    report,
    static,
    trace,
)
from sway_gate.commands._common import Command
from sway_gate.errors import SwayError
from sway_gate.model_files.hub import is_online
from sway_gate.version import __version__

# In the order of `sway --help`.
COMMANDS = (
    gate,
    check,
    demo,
    init,
    report,
    compare,
    mine,
    trace,
    static,
    explain,
    doctor,
    prefetch,
    cache,
)
EXIT_CODES = (
    "exit codes: 0 pass, 1 fail, 2 the command, the spec or the files are wrong, 3 could not decide"
)
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
        return _complain(
            ["out of memory; close other programs, or judge on a larger machine"], UNDECIDED
        )
    except (
        BaseException
    ) as error:  # a panic in a Rust extension is no Exception, and must not end as a 1 either
        return _unexpected(error)


def gate_main(argv: Sequence[str] | None = None) -> int:
    """The `sway-gate` script: `sway gate` with the same arguments."""
    return main(["gate", *(sys.argv[1:] if argv is None else argv)])


def _complain(lines: Iterable[str], exit_code: int) -> int:
    from sway_gate.text import one_line

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
    args.online = args.online or is_online()
    if not args.online:
        os.environ.update(HF_HUB_OFFLINE="1", TRANSFORMERS_OFFLINE="1")


def _choose_threads() -> None:
    """Threads that wait must soon sleep: where cores are shared, as on a CI runner, spinning ones take the time of the
    working ones, and a run becomes several times slower (libgomp spins 300,000 rounds unless told otherwise). numpy's
    own BLAS gets one thread: its matrices here are small."""
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "3000")
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="sway",
        description="Did LoRA training really change this model, without breaking the rest?",
        epilog=EXIT_CODES,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"sway-gate {__version__}")
    parser.set_defaults(
        online=False,
        threshold=None,
        weights={},
        json=None,
        junit=None,
        quiet=False,
        no_cache=False,
    )
    parser.set_defaults(trace=None, markdown=None, html=None)
    commands = parser.add_subparsers(metavar="COMMAND", required=True)

    def add(name: str, command: Command, summary: str) -> argparse.ArgumentParser:
        added = commands.add_parser(
            name, help=summary, description=summary, epilog=EXIT_CODES, allow_abbrev=False
        )
        added.set_defaults(command=command)
        return added

    for module in COMMANDS:
        module.add_to(add)
    return parser
