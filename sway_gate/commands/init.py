"""`sway init` and `sway autogen`: write a suite."""

import argparse
import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from sway_gate import output
from sway_gate.commands._common import Add, check_targets, data_arguments, given_adapter, print_text
from sway_gate.errors import UsageError
from sway_gate.files import did_you_mean

if TYPE_CHECKING:
    from sway_gate.suites.generate import Draft


def add_to(add: Add) -> None:
    init = add(
        "init",
        _init,
        "Write a suite for an adapter and its training data.",
        "sway init runs/adapter --data train.jsonl",
        "sway init runs/adapter --data train.jsonl --held-out test.jsonl",
    )
    init.add_argument(
        "adapter", nargs="?", metavar="ADAPTER", help="folder or hub id of the adapter"
    )
    data_arguments(init, required=True)
    init.add_argument(
        "--base",
        metavar="BASE",
        help="folder or hub id of the base model (default: read from the adapter's config)",
    )
    autogen = add(
        "autogen",
        _autogen,
        "Write a suite for a .dlm document and an adapter that dlm trained on it.",
        "sway autogen notes.dlm",
    )
    autogen.add_argument("document", metavar="DOCUMENT", help="the .dlm document")
    autogen.add_argument(
        "--adapter", metavar="NAME", help="the adapter to test, if the document lists several"
    )
    for parser in (init, autogen):
        parser.add_argument(
            "-o",
            "--output",
            metavar="FILE",
            default="sway.yaml",
            help="write the suite to FILE (default: sway.yaml); - is standard output",
        )
        parser.add_argument("--force", action="store_true", help="overwrite an existing suite")
    init.add_argument("--online", action="store_true", help="download a missing adapter")


def _init(args: argparse.Namespace) -> int:
    from sway_gate.model_files import digest
    from sway_gate.spec.confine import check_files
    from sway_gate.suites import generate

    args.adapter = given_adapter(args)
    if args.adapter is None:
        raise UsageError("give an adapter: sway init runs/adapter --data train.jsonl")
    check_files({"ADAPTER": [args.adapter]}, args.confine)
    models = [Path(ref) for ref in (args.adapter, args.base) if ref and os.path.isdir(ref)]
    files = [file for model in models for file in digest.model_files(model)]
    folder = _folder(args, [*args.data, *args.held_out, *files])
    draft = generate.for_data(
        args.adapter,
        args.data,
        args.base,
        folder,
        args.online,
        args.held_out,
        args.learn,
        args.map,
        args.confine,
    )
    return _deliver(args, draft)


def _autogen(args: argparse.Namespace) -> int:
    from sway_gate.suites import generate

    folder = _folder(args, [args.document])
    return _deliver(args, generate.for_document(args.document, args.adapter, folder))


def _folder(args: argparse.Namespace, inputs: list[str]) -> str:
    """The folder of the new suite. Raises UsageError if the suite cannot be written there."""
    path: str = args.output
    if path == output.STDOUT:
        return os.getcwd()
    check_targets(args, {"-o": path}, inputs, specs=True)
    if os.path.lexists(path) and not args.force:
        raise UsageError(
            f"{path} already exists; use --force to overwrite it or -o FILE to write another file"
        )
    return os.path.dirname(os.path.abspath(path))


def _deliver(args: argparse.Namespace, draft: "Draft") -> int:
    output.write(args.output, draft.text.encode(), output.YAML)
    if args.output == output.STDOUT:
        return 0
    spec = shlex.quote(args.output)
    lines = [f"{args.output}: {len(draft.probes)} entries, from {draft.data}"]
    lines += [f"  {draft.few_rows}"] if draft.few_rows else []
    lines += [f"  left out {omitted.kind}: {omitted.reason}" for omitted in draft.left_out]
    for ref in draft.missing:
        remedy = did_you_mean(ref, folder=True) or f"run `sway prefetch {spec}`"
        lines.append(f"  not on this machine: {ref}; {remedy}")
    lines += [f"  {fault}" for fault in draft.faults]
    lines.append(f"next: sway gate {spec} --dry-run, then sway gate {spec}")
    return print_text("\n".join(lines))
