"""The commands that need no verdict: static checks, explanations, the installation, the caches."""

import argparse
import os

from sway_gate.commands.common import Add, spec_argument, tell, tell_json


def add_to(add: Add) -> None:
    static = add("static", _static, "Judge adapters by their files alone, without torch.")
    static.add_argument("adapters", nargs="+", metavar="ADAPTER", help="folder of an adapter")
    static.add_argument("--base", metavar="BASE", help="folder of the base, to compare shapes with")
    static.add_argument("--verbose", action="store_true", help="every module, not only what stands out")
    static.add_argument("--json", action="store_true", help="print a JSON list, one entry an adapter")
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
    from sway_gate import static
    from sway_gate.reports import static as reports

    given = (os.path.split(path) for path in args.adapters)
    files = (static.CONFIG, static.WEIGHTS)
    adapters = dict.fromkeys((folder or ".") if name in files else os.path.join(folder, name) for folder, name in given)
    found = [static.check(adapter, args.base) for adapter in adapters]
    if args.json:
        tell_json([reports.to_dict(report) for report in found])
    else:
        tell("\n".join(reports.render(report, args.verbose) for report in found))
    return max(report.exit_code for report in found)


def _explain(args: argparse.Namespace) -> int:
    from sway_gate import explain

    if args.kind:
        return tell(explain.page(args.kind))
    return tell(f"{explain.overview()}\nsway explain KIND tells more about one of them.")


def _probes(args: argparse.Namespace) -> int:
    from sway_gate import explain

    return tell(explain.overview())


def _schema(args: argparse.Namespace) -> int:
    from sway_gate import spec

    return tell_json(spec.json_schema())


def _doctor(args: argparse.Namespace) -> int:
    from sway_gate import doctor

    facts = doctor.facts()
    return tell_json(facts) if args.json else tell(doctor.render(facts))


def _prefetch(args: argparse.Namespace) -> int:
    from sway_gate import gate, spec

    return tell("\n".join(gate.prefetch(spec.load(args.spec))))


def _cache(args: argparse.Namespace) -> int:
    from sway_gate import cache
    from sway_gate.doctor import cache_words
    from sway_gate.paths import cache_dir

    if args.action == "clear":
        return tell(f"{cache_dir()}: removed {cache_words(*cache.clear())}")
    return tell(f"{cache_dir()}: {cache_words(*cache.size())}")
