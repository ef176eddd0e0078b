"""The command line.

Each command in `sway_gate.commands` is a function from the parsed arguments to an exit code. It
imports its dependencies when it runs, so that `sway --version` starts as fast as Python. Only
`main` turns errors into exit codes.
"""

import argparse
import os
import sys
from collections.abc import Iterable, Sequence
from typing import NoReturn

from sway_gate import commands, output
from sway_gate.commands._common import Command
from sway_gate.errors import CannotDecide, SwayError, unexpected_text
from sway_gate.model_files.online import is_online
from sway_gate.version import __version__

EXIT_CODES = "exit codes: 0 pass, 1 fail, 2 wrong command, spec or file, 3 could not decide"
INTERRUPTED = 130
_MAX_ERROR = 500


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code. An error is neither 0 nor the 1 of a verdict."""
    output.prepare_streams()
    try:
        arguments = sys.argv[1:] if argv is None else list(argv)
        args = _parser(arguments).parse_args(arguments)
    except SystemExit as stop:  # argparse has already printed help, version or the error
        output.say("")
        return stop.code if isinstance(stop.code, int) else CannotDecide.exit_code
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
        text = "out of memory; close other programs or use a larger machine"
        return _complain([text], CannotDecide.exit_code)
    # A panic in a Rust extension is not an Exception, and must not end as a 1 either.
    except BaseException as error:
        hint = "please report it with the output of `sway doctor` and SWAY_DEBUG=1"
        text = f"{unexpected_text(error)} (a bug in sway-gate; {hint})"
        return _complain([text], CannotDecide.exit_code)


def gate_main(argv: Sequence[str] | None = None) -> int:
    """The `sway-gate` script: `sway gate` with the same arguments."""
    arguments = sys.argv[1:] if argv is None else argv
    return main(["gate", *arguments])


def _complain(lines: Iterable[str], exit_code: int) -> int:
    from sway_gate.text import one_line

    output.say("".join(f"error: {one_line(line)}\n" for line in lines), sys.stderr)
    return exit_code


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


class _Parser(argparse.ArgumentParser):
    """Its errors cannot forge lines, colors or workflow commands: they quote arguments."""

    def error(self, message: str) -> NoReturn:
        from sway_gate.text import cut, one_line

        super().error(cut(one_line(message), _MAX_ERROR))


def _parser(arguments: Sequence[str]) -> argparse.ArgumentParser:
    """The parser of the command that `arguments` start with, or of all commands."""
    parser = _Parser(
        prog="sway",
        description="Test whether LoRA training changed a model as intended.",
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
        markdown=None,
        html=None,
        trace=None,
        quiet=False,
        no_cache=False,
    )
    subparsers = parser.add_subparsers(metavar="COMMAND", required=True)

    def add(name: str, command: Command, summary: str) -> argparse.ArgumentParser:
        added = subparsers.add_parser(
            name, help=summary, description=summary, epilog=EXIT_CODES, allow_abbrev=False
        )
        added.set_defaults(command=command)
        return added

    for module in commands.modules(arguments[0] if arguments else ""):
        module.add_to(add)
    return parser
