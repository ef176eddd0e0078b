"""The commands that need no verdict: static checks, explanations, the installation, the caches."""

import argparse
import os

from sway_gate.commands._common import Add, spec_argument, tell, tell_json


def add_to(add: Add) -> None:
    static = add("static", _static, "Judge adapters by their files alone, without torch.")
    static.add_argument("adapters", nargs="+", metavar="ADAPTER", help="folder of an adapter")
    static.add_argument("--base", metavar="BASE", help="folder of the base, to compare shapes with")
    static.add_argument(
        "--verbose", action="store_true", help="every module, not only what stands out"
    )
    static.add_argument(
        "--json", action="store_true", help="print a JSON list, one entry an adapter"
    )
    explain = add("explain", _explain, "Tell what a probe measures, how, and what it cannot tell.")
    explain.add_argument("kind", nargs="?", metavar="KIND")
    add("probes", _probes, "List the kinds of probes.")
    add("schema", _schema, "Print the JSON Schema of sway.yaml.")
    doctor = add("doctor", _doctor, "Tell what this installation has and what it lacks.")
    doctor.add_argument("--json", action="store_true", help="print JSON")
    prefetch = add("prefetch", _prefetch, "Download the models that a spec names.")
    prefetch.set_defaults(online=True)
    spec_argument(prefetch)
    cache = add("cache", _cache, "Tell where the cache is and how big; clear empties it.")
    cache.add_argument("action", nargs="?", choices=["clear"], metavar="clear")


def _static(args: argparse.Namespace) -> int:
    """The worst of the adapters decides. Hooks name each file that changed: an adapter is checked once."""
    from sway_gate.reports import static as reports
    from sway_gate.static.check import check_files
    from sway_gate.static.config import CONFIG
    from sway_gate.static.weights import WEIGHTS

    given = (os.path.split(path) for path in args.adapters)
    files = (CONFIG, WEIGHTS)
    adapters = dict.fromkeys(
        (folder or ".") if name in files else os.path.join(folder, name) for folder, name in given
    )
    found = [check_files(adapter, args.base) for adapter in adapters]
    if args.json:
        tell_json([reports.to_dict(report) for report in found])
    else:
        tell("\n".join(reports.render(report, args.verbose) for report in found))
    return max(report.exit_code for report in found)


def _explain(args: argparse.Namespace) -> int:
    from sway_gate.probes import docs as probe_docs

    if args.kind:
        return tell(probe_docs.page(args.kind))
    return tell(f"{probe_docs.overview()}\nsway explain KIND tells more about one of them.")


def _probes(args: argparse.Namespace) -> int:
    from sway_gate.probes import docs as probe_docs

    return tell(probe_docs.overview())


def _schema(args: argparse.Namespace) -> int:
    from sway_gate.spec.json_schema import json_schema

    return tell_json(json_schema())


def _doctor(args: argparse.Namespace) -> int:
    from sway_gate.commands import doctor

    facts = doctor.facts()
    return tell_json(facts) if args.json else tell(doctor.render(facts))


def _prefetch(args: argparse.Namespace) -> int:
    from sway_gate.gate.prefetch import prefetch
    from sway_gate.spec.load import load_spec

    return tell("\n".join(prefetch(load_spec(args.spec))))


def _cache(args: argparse.Namespace) -> int:
    from sway_gate import cache
    from sway_gate.cache import cache_dir
    from sway_gate.commands._common import cache_words

    if args.action == "clear":
        return tell(f"{cache_dir()}: removed {cache_words(*cache.clear())}")
    return tell(f"{cache_dir()}: {cache_words(*cache.size())}")
