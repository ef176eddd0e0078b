"""`sway static`: check adapters by their files."""

import argparse
import os

from sway_gate.commands._common import Add, print_json, print_text
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


def _static(args: argparse.Namespace) -> int:
    """The worst adapter decides. A hook passes each changed file; each adapter is checked once."""
    from sway_gate.model_files.hub import is_hub_id
    from sway_gate.reports import static as reports
    from sway_gate.static.check import check_files

    if args.base and not os.path.isdir(args.base) and not is_hub_id(args.base):
        raise UsageError(f"--base {args.base}: no such folder, and not a hub id")
    adapters = dict.fromkeys(_adapter(path) for path in args.adapters)
    found = [check_files(adapter, args.base) for adapter in adapters]
    if args.json:
        print_json([reports.to_dict(report) for report in found])
    else:
        print_text("\n".join(reports.render(report, args.verbose) for report in found))
    return max(report.exit_code for report in found)


def _adapter(path: str) -> str:
    """The folder of an adapter that is given by its folder or by one of its files."""
    from sway_gate.model_files.hub import ADAPTER_FILES

    folder, name = os.path.split(path)
    return (folder or ".") if name in ADAPTER_FILES else os.path.join(folder, name)
