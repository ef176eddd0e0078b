"""`sway fleet`: gate many specs and adapters on many machines."""

import argparse
import glob
import hashlib
import os
import re
import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from sway_gate import output
from sway_gate.commands._adapters import expanded
from sway_gate.commands._common import (
    EXIT_CODES,
    Add,
    clear_targets,
    confine_argument,
    display,
    effort_arguments,
    form,
    positive_count,
    quiet_argument,
    samples_argument,
    shown,
    text_stream,
)
from sway_gate.commands._formats import choose, json_argument, output_arguments
from sway_gate.errors import SwayError, UsageError
from sway_gate.text import counted, one_line

if TYPE_CHECKING:
    from sway_gate.fleet.driver import Driver
    from sway_gate.fleet.outcome import Outcome
    from sway_gate.fleet.plan import Gate, Planned
    from sway_gate.spec.schema import Spec

_FORMATS: Final = ("json", "markdown", "junit")
LINE_S: Final = 60
"""Time without a finished gate after which a line says that the fleet works."""
_KEPT: Final = "finished gates are kept: run the same command to continue"


def add_to(add: Add) -> None:
    fleet = add(
        "fleet",
        _fleet,
        "Gate many specs and adapters with Ray, on this machine or on a cluster.",
        "sway fleet sway.yaml --adapters runs/adapter runs/old",
        "sway fleet sway.yaml --results results",
    )
    fleet.exit_codes = EXIT_CODES
    fleet.add_argument(
        "specs", nargs="+", metavar="SPEC", help="specs, or patterns such as '*.yaml'"
    )
    fleet.add_argument(
        "--adapters",
        action="extend",
        nargs="+",
        default=[],
        metavar="ADAPTER",
        help="judge each of these adapters by each spec, instead of the spec's own; or patterns",
    )
    fleet.add_argument(
        "--ray",
        type=_address,
        metavar="ADDRESS",
        help="a running Ray cluster: HOST:PORT, or auto (default: start Ray on this machine)",
    )
    fleet.add_argument(
        "--cpus",
        type=positive_count,
        default=1,
        metavar="N",
        help="CPUs of a worker, which it uses as threads (default: 1)",
    )
    confine_argument(fleet)
    effort_arguments(fleet, "full")
    fleet.add_argument("--no-cache", action="store_true", help="measure all gates again")
    reports = fleet.add_argument_group("reports")
    output_arguments(reports, _FORMATS)
    json_argument(reports)
    reports.add_argument(
        "--results", metavar="DIR", help="write the JSON report of each gate into DIR"
    )
    samples_argument(reports)
    quiet_argument(reports, "the gates that do not pass, and no progress")


def _address(text: str) -> str:
    host, colon, port = text.rpartition(":")
    if text != "auto" and not (host and colon and port.isdecimal() and int(port) < 2**16):
        raise argparse.ArgumentTypeError(f"{text!r}: must be HOST:PORT or auto")
    return text


def _fleet(args: argparse.Namespace) -> int:
    choose(args, _FORMATS)
    gates = _gates(args)
    targets = {f"--{name}": getattr(args, name) for name in _FORMATS}
    clear_targets(args, targets, [gate.spec for gate in gates])
    specs = {gate: _loaded(gate, args.confine) for gate in gates}
    _check_targets(args, targets, specs)
    _require_ray()
    from sway_gate.fleet import report

    collected = _Collected(gates, args)
    _measure(args, _planned(specs, args, collected), collected)
    outcomes = [collected.outcomes[gate] for gate in gates]
    chosen = {name: path for name in _FORMATS if (path := getattr(args, name)) is not None}
    stream = text_stream(chosen.values())
    output.say(report.render(outcomes, quiet=args.quiet, **display(stream)), stream)
    writers = {"json": report.to_json, "markdown": report.to_markdown, "junit": report.to_xml}
    for name, path in chosen.items():
        output.write(path, writers[name](outcomes), form(name))
    return report.exit_code(outcomes)


# ---------------------------------------------------------------------------------------- inputs


def _gates(args: argparse.Namespace) -> list["Gate"]:
    """Each spec with each adapter, once."""
    from sway_gate.fleet.plan import Gate

    specs = [path for given in args.specs for path in _spec_files(given)]
    adapters = [path for given in args.adapters for path in expanded(given)] or [""]
    gates = dict[tuple[str, str], Gate]()
    for spec in specs:
        for adapter in adapters:
            place = os.path.abspath(spec), os.path.realpath(adapter) if adapter else ""
            gates.setdefault(place, Gate(spec, adapter))
    return list(gates.values())


def _spec_files(given: str) -> list[str]:
    """The files that a pattern matches, or the path itself. Raises UsageError if there are none."""
    if given == output.STDOUT:
        raise UsageError("a fleet cannot read a spec from standard input; give its file")
    if os.path.lexists(given) or not glob.has_magic(given):
        return [given]
    if found := sorted(glob.glob(given, recursive=True)):
        return found
    raise UsageError(f"{one_line(given)}: no file matches this pattern")


def _check_targets(
    args: argparse.Namespace, targets: dict[str, str | None], specs: dict["Gate", "Spec"]
) -> None:
    from sway_gate.gate.resolve import inputs
    from sway_gate.spec import confine

    confine.check_targets({"--results": args.results}, args.confine)
    for gate, spec in specs.items():
        files, folders = inputs(spec)
        output.check_targets(targets, [gate.spec, *files], folders)
    if args.results is not None:
        try:
            os.makedirs(args.results, exist_ok=True)
        except OSError as error:
            raise UsageError(
                f"--results {one_line(args.results)}: {error.strerror}; name another folder"
            ) from None


def _loaded(gate: "Gate", folder: str | None) -> "Spec":
    from sway_gate.spec.confine import check_files, check_spec, check_waivers
    from sway_gate.spec.load import load_spec
    from sway_gate.spec.waivers import waivers_file

    check_files({"SPEC": [gate.spec]}, folder)
    check_waivers(waivers_file(gate.spec), folder)
    spec = load_spec(gate.spec, gate.adapter or None)
    check_spec(spec, folder)
    return spec


def _require_ray() -> None:
    """Raise UsageError if Ray is missing, before hours of digests."""
    from importlib.util import find_spec

    if find_spec("ray") is None:
        raise UsageError("sway fleet needs Ray; install the extra: pip install 'sway-gate[ray]'")


# ------------------------------------------------------------------------------------- measuring


class _Collected:
    """The outcomes, each of which is printed and written when it arrives."""

    def __init__(self, gates: Sequence["Gate"], args: argparse.Namespace) -> None:
        self.outcomes: dict[Gate, Outcome] = {}
        self._total, self._args = len(gates), args
        self._started = self._last = time.monotonic()
        self._measured = 0

    def add(self, outcome: "Outcome", name: str = "") -> None:
        from sway_gate.fleet.report import word

        if outcome.result:
            outcome = outcome._replace(result=shown(self._args, outcome.result))
        self.outcomes[outcome.gate] = outcome
        if outcome.result and self._args.results is not None:
            _write_result(self._args.results, name, outcome)
        if outcome.node:
            if not self._measured:  # neither the digests nor the start of Ray count
                self._started = time.monotonic() - outcome.seconds
            self._measured += 1
        took = f"{outcome.seconds:.0f} s on {one_line(outcome.node)}" if outcome.node else ""
        took = took or ("stored" if outcome.is_stored else "")
        label = one_line(outcome.gate.label)
        self.say(f"{word(outcome).upper():<5}  {label}  {took}")

    def wait(self, driver: "Driver") -> None:
        """Say that the fleet works if no gate has ended for a while."""
        self._args.watch.step("gating the fleet", len(self.outcomes), self._total)
        if time.monotonic() - self._last > LINE_S:
            busy = driver.busy
            self.say(f"{counted(busy, 'worker')} measuring" if busy else "waiting for a worker")

    def say(self, text: str) -> None:
        self._last = time.monotonic()
        if self._args.quiet:
            return
        done = len(self.outcomes)
        left = (self._last - self._started) / max(1, self._measured) * (self._total - done)
        rest = f", about {_time(left)} left" if self._measured and done < self._total else ""
        width = len(str(self._total))
        output.say(f"[{done:>{width}}/{self._total}] {text.rstrip()}{rest}\n", sys.stderr)


def _time(seconds: float) -> str:
    return f"{max(1, round(seconds))} s" if seconds < 90 else f"{round(seconds / 60)} min"


def _planned(
    specs: dict["Gate", "Spec"], args: argparse.Namespace, collected: _Collected
) -> list["Planned"]:
    """The gates to measure. Collects the outcomes of all others: stored ones, and broken files."""
    from sway_gate.fleet.outcome import failed, stored
    from sway_gate.fleet.plan import plan
    from sway_gate.gate.resolve import Options

    options = Options(cache=not args.no_cache, tier=args.tier, budget=args.budget, allow_code=True)
    planned = []
    for gate, spec in specs.items():
        args.watch.step(f"computing the digests of {one_line(gate.label)}")
        try:
            one = plan(gate, spec, options)
        except SwayError as error:
            collected.add(failed(gate, error))
            continue
        if outcome := stored(one):
            collected.add(outcome, _file_name(one))
        else:
            planned.append(one)
    return planned


def _measure(args: argparse.Namespace, planned: Sequence["Planned"], collected: _Collected) -> None:
    if not planned:
        return
    from sway_gate.fleet.driver import Driver
    from sway_gate.fleet.ray_pool import ray_pool

    names = {one.gate: _file_name(one) for one in planned}
    args.watch.step("starting Ray")
    how = f"connecting to {one_line(args.ray)}" if args.ray else "starting Ray"
    collected.say(f"{counted(len(planned), 'gate')} to measure; {how}")
    with ray_pool(args.ray, args.cpus) as pool:
        driver = Driver(planned, pool, lambda found: collected.add(found, names[found.gate]))
        try:
            driver.run(lambda: collected.wait(driver))
        except KeyboardInterrupt:  # Ray takes longer to end than the process is given
            output.say(f"{_KEPT}\n", sys.stderr)
            raise


# --------------------------------------------------------------------------------------- reports


def _file_name(planned: "Planned") -> str:
    """A name that contains the spec's and the adapter's, and no other gate's."""
    task, adapter = planned.task, os.path.basename(os.path.normpath(planned.gate.adapter or "own"))
    words = re.sub(r"[^A-Za-z0-9._-]+", "_", f"{planned.gate.spec}-{adapter}")[-80:]
    own = hashlib.sha256("\0".join([task.content, task.spec, task.adapter]).encode())
    return f"{words.lstrip('.')}-{own.hexdigest()[:12]}.json"


def _write_result(folder: str, name: str, outcome: "Outcome") -> None:
    from sway_gate.reports import json_v1

    if outcome.result:
        output.write(os.path.join(folder, name), json_v1.to_json(outcome.result), output.JSON)
