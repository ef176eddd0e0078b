"""`sway static`: check adapters by their files."""

import argparse
import datetime
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from sway_gate import output
from sway_gate.commands._common import Add, print_json, sarif_argument, text_stream
from sway_gate.commands._formats import choose, json_argument, output_arguments
from sway_gate.errors import UsageError
from sway_gate.spec import WAIVERS

if TYPE_CHECKING:
    from sway_gate.static.check import StaticReport

_FORMATS = ("json", "sarif")


def add_to(add: Add) -> None:
    static = add(
        "static",
        _static,
        "Check adapter files without loading a model (no torch).",
        "sway static runs/adapter",
        "sway static runs/adapter --base org/model",
        "sway static runs/adapter --verbose",
    )
    static.exit_codes = "exit codes: 0 sound, 1 cannot work (never trained, NaN), 2 broken files"
    static.add_argument(
        "adapters", nargs="*", metavar="ADAPTER", help="folder of an adapter, or a file in it"
    )
    static.add_argument(
        "--base",
        metavar="BASE",
        help="hub id or folder of the base model, to compare with the adapter's config",
    )
    output_arguments(static, _FORMATS)
    json_argument(static)
    sarif_argument(static)


def _static(args: argparse.Namespace) -> int:
    """The worst adapter decides. A hook passes each changed file; each adapter is checked once."""
    from sway_gate.model_files.digest import model_files
    from sway_gate.model_files.hub import is_hub_id
    from sway_gate.reports import static as reports
    from sway_gate.static.check import check_files

    if args.base and not os.path.isdir(args.base):
        if os.path.lexists(args.base):
            raise UsageError(f"--base {args.base}: not a folder; give the folder of the base model")
        if not is_hub_id(args.base):
            raise UsageError(f"--base {args.base}: no such folder, and not a hub id")
    adapters = list(dict.fromkeys(_adapter(path) for path in _given(args)))
    choose(args, _FORMATS)
    files = [file for adapter in adapters for file in model_files(Path(adapter))]
    output.clear_targets({"--json": args.json, "--sarif": args.sarif}, files, adapters)
    found = [check_files(adapter, args.base) for adapter in adapters]
    if os.path.lexists(WAIVERS):
        found = _waived(found)
    if args.json != output.STDOUT:
        text = "\n".join(reports.render(report, args.verbose) for report in found)
        output.say(text, text_stream([args.sarif]))
    if args.json:
        print_json([reports.to_dict(report) for report in found], args.json)
    if args.sarif:
        from sway_gate.reports.sarif import of_static

        output.write(args.sarif, of_static(found), output.JSON)
    return max(report.exit_code for report in found)


def _waived(found: "list[StaticReport]") -> "list[StaticReport]":
    """The reports with the waivers of the current folder applied."""
    from msgspec.structs import replace

    from sway_gate.judge.file_waivers import file_waiver_notes, with_file_waivers
    from sway_gate.spec.waivers import file_waivers

    waivers, today = file_waivers(), datetime.datetime.now(datetime.UTC).date()
    found = [replace(r, findings=with_file_waivers(r.findings, waivers, today)) for r in found]
    for note in file_waiver_notes([one for r in found for one in r.findings], waivers):
        output.say(f"note: {note}\n", sys.stderr)
    return found


def _given(args: argparse.Namespace) -> list[str]:
    """The adapters. What is not the name of a JSON file after --json is one of them, not FILE."""
    from sway_gate.model_files.hub import ADAPTER_FILES

    given: list[str] = args.adapters
    is_file = args.json in (None, output.STDOUT) or (
        args.json.endswith(".json") and os.path.basename(args.json) not in ADAPTER_FILES
    )
    if not is_file:
        given, args.json = [args.json, *given], output.STDOUT
    if not given:
        raise UsageError("give the folder of an adapter: sway static runs/adapter")
    return given


def _adapter(path: str) -> str:
    """The folder of an adapter that is given by its folder or by one of its files."""
    from sway_gate.model_files.hub import ADAPTER_FILES

    folder, name = os.path.split(path)
    return (folder or ".") if name in ADAPTER_FILES else os.path.join(folder, name)
