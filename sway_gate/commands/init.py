"""`sway init` and `sway autogen`: write a suite."""

import argparse
import os
from typing import TYPE_CHECKING

from sway_gate import output
from sway_gate.commands._common import Add, tell
from sway_gate.errors import UsageError

if TYPE_CHECKING:
    from sway_gate.suites.generate import Draft


def add_to(add: Add) -> None:
    init = add("init", _init, "Write a suite for an adapter and what it was trained on.")
    init.add_argument("adapter", metavar="ADAPTER", help="folder or hub id of the adapter")
    init.add_argument(
        "--data", metavar="FILE", nargs="+", required=True, help="JSONL, Markdown or text"
    )
    init.add_argument(
        "--base", metavar="BASE", help="folder or hub id of the base; else the adapter's files tell"
    )
    autogen = add(
        "autogen",
        _autogen,
        "Write a suite for a .dlm document and the adapter that dlm trained on it.",
    )
    autogen.add_argument("document", metavar="DOCUMENT", help="the .dlm document")
    autogen.add_argument(
        "--adapter", metavar="NAME", help="which of its adapters, where it names several"
    )
    for parser in (init, autogen):
        parser.add_argument(
            "-o",
            "--output",
            metavar="FILE",
            default="sway.yaml",
            help="default sway.yaml; - is standard output",
        )
        parser.add_argument("--force", action="store_true", help="overwrite a suite that is there")
    init.add_argument("--online", action="store_true", help="download an adapter that is missing")


def _init(args: argparse.Namespace) -> int:
    from sway_gate.suites import generate

    folder = _folder(args, args.data)
    return _deliver(
        args, generate.for_data(args.adapter, args.data, args.base, folder, args.online)
    )


def _autogen(args: argparse.Namespace) -> int:
    from sway_gate.suites import generate

    folder = _folder(args, [args.document])
    return _deliver(args, generate.for_document(args.document, args.adapter, folder))


def _folder(args: argparse.Namespace, inputs: list[str]) -> str:
    """Where the suite will lie. Raises UsageError where it cannot be written there."""
    path: str = args.output
    if path == output.STDOUT:
        return os.getcwd()
    output.check_targets({"-o": path}, inputs, specs=True)
    if os.path.lexists(path) and not args.force:
        raise UsageError(f"{path} is there already; --force overwrites it, -o names another file")
    return os.path.dirname(os.path.abspath(path))


def _deliver(args: argparse.Namespace, draft: "Draft") -> int:
    output.write(args.output, draft.text.encode())
    if args.output == output.STDOUT:
        return 0
    texts = "1 section" if draft.sections == 1 else f"{draft.sections} sections"
    counts = f"{len(draft.probes)} entries, from {texts} of text"
    left_out = (f"  left out {omitted.kind}: {omitted.reason}" for omitted in draft.left_out)
    missing = [
        f"  not on this machine: {ref}; `sway prefetch {args.output}` downloads it"
        for ref in draft.missing
    ]
    then = f"next: sway run {args.output} --dry-run, then sway gate {args.output}"
    return tell("\n".join([f"{args.output}: {counts}", *left_out, *missing, then]))
