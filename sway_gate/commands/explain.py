"""`sway explain`, `probes` and `schema`: the entries that a suite can contain."""

import argparse

from sway_gate.commands._common import Add, print_json, print_text


def add_to(add: Add) -> None:
    explain = add(
        "explain",
        _explain,
        "Explain what a probe measures, how, and what it cannot show.",
        "sway explain delta_kl",
    )
    explain.add_argument(
        "kind", nargs="?", metavar="KIND", help="a kind of probe (default: list all)"
    )
    add("probes", _probes, "List the kinds of probes.", "sway probes")
    add("schema", _schema, "Print the JSON Schema of sway.yaml.", "sway schema")


def _explain(args: argparse.Namespace) -> int:
    from sway_gate.probes import docs as probe_docs

    if args.kind:
        return print_text(probe_docs.page(args.kind))
    return print_text(f"{probe_docs.overview()}\nRun `sway explain KIND` for details of one kind.")


def _probes(args: argparse.Namespace) -> int:
    from sway_gate.probes import docs as probe_docs

    return print_text(probe_docs.overview())


def _schema(args: argparse.Namespace) -> int:
    from sway_gate.spec.json_schema import json_schema

    return print_json(json_schema())
