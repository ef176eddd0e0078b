"""`sway static`: check adapters by their files."""

import argparse
import os
from pathlib import Path

from sway_gate import output
from sway_gate.commands._common import Add, print_json, sarif_argument, text_stream
from sway_gate.errors import UsageError


def add_to(add: Add) -> None:
    static = add("static", _static, "Check adapter files without loading a model (no torch).")
    static.add_argument(
        "adapters", nargs="+", metavar="ADAPTER", help="folder of an adapter, or a file in it"
    )
    static.add_argument(
        "--base",
        metavar="BASE",
        help="hub id or folder of the base model, to compare with the adapter's config",
    )
    static.add_argument(
        "--verbose", action="store_true", help="list every module, not only outliers"
    )
    static.add_argument(
        "--json", action="store_true", help="print a JSON list with one entry per adapter"
    )
    sarif_argument(static)


def _static(args: argparse.Namespace) -> int:
    """The worst adapter decides. A hook passes each changed file; each adapter is checked once."""
    from sway_gate.model_files.digest import model_files
    from sway_gate.model_files.hub import is_hub_id
    from sway_gate.reports import static as reports
    from sway_gate.static.check import check_files

    if args.base and not os.path.isdir(args.base) and not is_hub_id(args.base):
        raise UsageError(f"--base {args.base}: no such folder, and not a hub id")
    if args.json and args.sarif == output.STDOUT:
        raise UsageError("--json and --sarif - both use standard output; write SARIF to a file")
    adapters = list(dict.fromkeys(_adapter(path) for path in args.adapters))
    files = [file for adapter in adapters for file in model_files(Path(adapter))]
    output.check_targets({"--sarif": args.sarif}, files, adapters)
    found = [check_files(adapter, args.base) for adapter in adapters]
    if args.json:
        print_json([reports.to_dict(report) for report in found])
    else:
        text = "\n".join(reports.render(report, args.verbose) for report in found)
        output.say(text, text_stream([args.sarif]))
    if args.sarif:
        from sway_gate.reports.sarif import of_static

        output.write(args.sarif, of_static(found), output.JSON)
    return max(report.exit_code for report in found)


def _adapter(path: str) -> str:
    """The folder of an adapter that is given by its folder or by one of its files."""
    from sway_gate.model_files.hub import ADAPTER_FILES

    folder, name = os.path.split(path)
    return (folder or ".") if name in ADAPTER_FILES else os.path.join(folder, name)
