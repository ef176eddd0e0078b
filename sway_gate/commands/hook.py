"""`sway hook`: gate the specs that changed files concern, for pre-commit."""

import argparse
import sys
from typing import TYPE_CHECKING, Final

from sway_gate import output
from sway_gate.commands import gate
from sway_gate.commands._common import (
    EXIT_CODES,
    FORMATS,
    Add,
    clear_targets,
    confine_argument,
    print_text,
    targets,
)
from sway_gate.commands._formats import choose
from sway_gate.errors import SwayError, UsageError
from sway_gate.text import named, one_line

if TYPE_CHECKING:
    from sway_gate.gate.open import OpenBase


_NO_FILE: Final = "no file is given, and the commit deletes none"


def add_to(add: Add) -> None:
    hook = add(
        "hook",
        _hook,
        "Gate the specs that changed files concern, for pre-commit.",
        "sway hook sway.yaml",
        "sway hook runs/adapter/adapter_config.json",
    )
    hook.exit_codes = EXIT_CODES
    hook.add_argument(
        "files",
        nargs="*",
        metavar="FILE",
        help="a spec, or a file that specs name: of an adapter, the data or a base; files that the "
        "commit deletes are added",
    )
    confine_argument(hook)
    gate.options(hook, "quick")
    hook.collects = "files"


def _hook(args: argparse.Namespace) -> int:
    from sway_gate.gate.changed import concerned
    from sway_gate.gate.deleted import deleted_files

    if not (args.junit or ".xml").endswith(".xml"):
        raise UsageError(f"--junit {args.junit}: is not an .xml file; use --junit sway-junit.xml")
    choose(args, FORMATS)
    clear_targets(args, targets(args), [args.baseline])
    deleted = deleted_files()
    if deleted is None:
        output.say("note: git cannot list the files that the commit deletes\n", sys.stderr)
    specs = concerned(args.files, deleted or ())
    if not specs:
        files = [*args.files, *(deleted or ())]
        return print_text(
            f"nothing to gate: {f'no spec names {named(files)}' if files else _NO_FILE}"
        )
    if len(specs) == 1:
        return _gated(args, specs[0], None)
    return _all_gated(args, specs)


def _all_gated(args: argparse.Namespace, specs: list[str]) -> int:
    """Gate several specs, print one line for each, and return the highest exit code."""
    from sway_gate.gate.open import OpenBase
    from sway_gate.reports.wording import exit_word

    single = {"--baseline": args.baseline, **targets(args)}
    if given := [option for option, path in single.items() if path is not None]:
        raise UsageError(
            f"{given[0]} is for one spec, but the files concern {named(specs)}; "
            "use one hook for each spec, with its own `files`"
        )
    args.quiet, base = True, OpenBase()
    codes = {spec: _gated(args, spec, base) for spec in specs}
    lines = [f"{exit_word(code)}  {one_line(spec)}" for spec, code in codes.items()]
    print_text("\n" + "\n".join(lines))
    return max(codes.values())


def _gated(args: argparse.Namespace, spec: str, base: "OpenBase | None") -> int:
    """The exit code of one gate. An error is printed, so that the other specs are gated too."""
    try:
        return gate.judge(argparse.Namespace(**{**vars(args), "spec": spec}), base)
    except SwayError as error:
        lines = [f"error: {one_line(line)}\n" for line in str(error).splitlines()]
        output.say("".join(lines), sys.stderr)
        return error.exit_code
