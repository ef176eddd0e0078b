"""Compare `sway static` with adaptersentry and modelscan on hostile and odd adapters.

    pip install adaptersentry modelscan
    python -m benchmarks.scanners.run > benchmarks/results/scanners.md

`--adaptersentry` and `--modelscan` are their commands, if they are in other environments.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.scanners.corpus import CASES, WEIGHTS, save_healthy

TIMEOUT_SECONDS = 120
WIDE = os.environ | {"COLUMNS": "1000000"}
"""modelscan breaks the lines of its JSON at the width of the terminal."""
SILENT = ("NO_REFERENCE_PROFILE", "MISSING_METADATA")
"""Reasons that adaptersentry gives for each adapter of the corpus."""

HEAD = """\
# Scanners

`sway static`, [adaptersentry](https://pypi.org/project/adaptersentry/) {adaptersentry} and \
[modelscan](https://pypi.org/project/modelscan/) {modelscan} (without TensorFlow, so it reads no \
Keras files) on {cases} adapters: a healthy one, and the same one with a change each. From \
`benchmarks/scanners/run.py`; [what follows from it](../../docs/comparison.md#scanners).

`sway static` states its findings and its exit code: 2 for broken files, 1 for an adapter without \
effect, otherwise 0. adaptersentry states allow, review or block, and its reasons. modelscan \
counts its findings by severity. A cell is empty if the scanner reports nothing.
"""


class Scanner(NamedTuple):
    command: tuple[str, ...]
    cell: Callable[[subprocess.CompletedProcess[str]], str]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--adaptersentry", default="adaptersentry")
    parser.add_argument("--modelscan", default="modelscan")
    args = parser.parse_args()
    scanners = {
        "sway static": Scanner((sys.executable, "-m", "sway_gate", "static", "--json"), sway),
        "adaptersentry": Scanner((args.adaptersentry, "scan", "--format", "json"), sentry),
        "modelscan": Scanner((args.modelscan, "scan", "-r", "json", "-p"), modelscan),
    }
    versions = {name: version(getattr(args, name)) for name in ("adaptersentry", "modelscan")}
    print(HEAD.format(cases=sum(map(len, CASES.values())), **versions), end="")
    with tempfile.TemporaryDirectory() as folder:
        print("\n".join(table(Path(folder), scanners)))


def version(command: str) -> str:
    done = subprocess.run((command, "--version"), capture_output=True, text=True)
    return (done.stdout + done.stderr).split()[-1]


def table(folder: Path, scanners: dict[str, Scanner]) -> Iterator[str]:
    number = 0
    for family, cases in CASES.items():
        yield f"\n## {family.capitalize()}\n"
        yield f"| adapter | {' | '.join(scanners)} |"
        yield "| --- " * (1 + len(scanners)) + "|"
        for case, change in cases.items():
            adapter = folder / f"adapter{(number := number + 1)}"
            save_healthy(adapter)
            change(adapter)
            cells = (scan(scanner, name, adapter) for name, scanner in scanners.items())
            yield f"| {case} | {' | '.join(cells)} |"


def scan(scanner: Scanner, name: str, adapter: Path) -> str:
    """The scanner's answer as a cell. adaptersentry reads the file of the weights."""
    target = adapter / WEIGHTS if name == "adaptersentry" else adapter
    command = (*scanner.command, str(target))
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=TIMEOUT_SECONDS, env=WIDE
        )
    except subprocess.TimeoutExpired:
        return "does not end"
    return scanner.cell(done)


def sway(done: subprocess.CompletedProcess[str]) -> str:
    (report,) = json.loads(done.stdout)
    found = ", ".join(dict.fromkeys(f"`{finding['id']}`" for finding in report["findings"]))
    return f"{found} ({done.returncode})" if found else ""


def sentry(done: subprocess.CompletedProcess[str]) -> str:
    try:
        report = json.loads(done.stdout)
    except ValueError:
        return f"error: {last_line(done)}"
    verdict = report["verdict"]
    reasons = [reason["code"] for reason in verdict["reasons"]]
    findings = [finding["rule_id"] for finding in report.get("findings", [])]
    names = dict.fromkeys(name for name in (*reasons, *findings) if name not in SILENT)
    return f"{verdict['action']}: {', '.join(f'`{name}`' for name in names)}" if names else ""


def modelscan(done: subprocess.CompletedProcess[str]) -> str:
    start = done.stdout.find("{")
    if start < 0:
        return f"error: {last_line(done)}" if done.returncode not in (0, 3) else ""
    report: dict[str, Any] = json.loads(done.stdout[start:])
    counts = report["summary"]["total_issues_by_severity"]
    found = [f"{number} {name.lower()}" for name, number in counts.items() if number]
    errors = [f"{len(report['errors'])} not read"] if report.get("errors") else []
    return ", ".join(found + errors)


def last_line(done: subprocess.CompletedProcess[str]) -> str:
    return ((done.stderr or done.stdout).strip().splitlines() or ["no output"])[-1][:100]


if __name__ == "__main__":
    main()
