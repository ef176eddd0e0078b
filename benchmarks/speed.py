"""Measure the time and memory of commands against other commands in the same run.

    python -m benchmarks.speed [--theirs PATH_TO_PYTHON] [--repeats N] [--only ROW …]

The two commands of a row run in turn. Each starts with empty caches, unless the row is about the
cache. Commit 11cb735 runs in a separate work tree with the same libraries. The results are
kept in the temporary folder: a run that was stopped continues, and all rows of the current commit
are printed as Markdown. A row that fails is reported and left out. Rows on a real base require the
zoo of `benchmarks.real` (SWAY_REAL).
"""

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks import speed_inputs
from benchmarks.real.paths import ADAPTERS, BASE, ROOT
from benchmarks.speed_inputs import (
    compile_package,
    suite,
    whole_suite,
    write_chat_rows,
    write_suite,
)

WORK = Path(tempfile.gettempdir()) / "sway-gate-bench"
RESULTS = WORK / "speed.jsonl"
MODELS = WORK / "model-v2"
BEFORE = WORK / "before"
BEFORE_COMMIT = "11cb735"
VERDICTS = (0, 1, 3)
"""3 without an error is an inconclusive verdict."""
LORA, SECOND, DORA = (
    str(ADAPTERS / name) for name in ("facts-middle-r16", "facts-linear-r16", "facts-dora-r16")
)
ROWS = (40, 400, 4_000, 40_000)
NULLS = (4, 8, 16, 32)
Arguments = tuple[str, ...]


class Side(NamedTuple):
    """A command of a row: the arguments of `sway`."""

    label: str
    arguments: Arguments
    first: Arguments = ()
    """A command that runs before, is not measured and leaves its caches."""
    code: Path = ROOT
    """The checkout whose package runs."""
    python: str | None = None
    """The Python whose `sway` runs instead."""

    def command(self, arguments: Arguments) -> list[str]:
        own = [sys.executable, "-m", "sway_gate"]
        return [*([str(Path(self.python).with_name("sway"))] if self.python else own), *arguments]


class Row(NamedTuple):
    """A row of the table: a side, and perhaps another one to compare it with."""

    title: str
    target: str
    sides: tuple[Side, ...]
    times: int = 1
    """Measurements per repetition, for commands that take less than a second."""
    codes: tuple[int, ...] = VERDICTS


class Cost(NamedTuple):
    """One measurement of a side."""

    seconds: float
    cpu_seconds: float
    peak_mib: float


def rows(theirs: str | None) -> dict[str, Row]:
    """All rows by name. `theirs`: the Python that has dlm-sway; None leaves it out."""
    check = ("check", LORA, "--base", str(BASE))
    with_data = (*check, "--data", str(WORK / "rows-40.jsonl"))
    second = ("check", SECOND, *with_data[2:])

    def against(ours: Arguments, other: Arguments) -> tuple[Side, ...]:
        sides = (Side("sway-gate", ours), Side("dlm-sway", other, python=theirs))
        return sides if theirs else sides[:1]

    def before(*arguments: str, first: Arguments = ()) -> tuple[Side, ...]:
        return tuple(
            Side(label, arguments, first, code)
            for label, code in {"sway-gate": ROOT, BEFORE_COMMIT: BEFORE}.items()
        )

    two_kinds, eight_kinds = ("run", _spec("runs-3")), ("run", _spec("whole"))
    return {
        "init": Row(
            f"suite of `sway init`, 40 chat rows; {BEFORE_COMMIT} runs the suite that it writes",
            "≤ .25",
            (
                Side("sway-gate", ("gate", _spec("init"))),
                Side(BEFORE_COMMIT, ("gate", _spec("init-before")), code=BEFORE),
            ),
        ),
        "init-same": Row(
            f"the suite of {BEFORE_COMMIT} for these rows, both in fp32",
            "",
            before("gate", _spec("init-before")),
        ),
        "check": Row("`sway check` (theirs: 4 prompts, no harms)", "≤ .60", against(check, check)),
        "check-data": Row(
            "`sway check --data`, 40 rows (theirs: `check` as above)",
            "≤ 1.5",
            against(with_data, check),
        ),
        "two-kinds": Row(
            "delta_kl × 32, adapter_ablation × 8, 3 nulls", "≤ .35", against(two_kinds, two_kinds)
        ),
        "eight-kinds": Row(
            "8 kinds, 3 nulls (theirs calibrates three kinds)",
            "≤ .20",
            against(eight_kinds, eight_kinds),
        ),
        "dora": Row(
            "`sway check --data`, DoRA against LoRA",
            "≤ 1.5",
            (Side("DoRA", ("check", DORA, *with_data[2:])), Side("LoRA", with_data)),
        ),
        "second": Row(
            "`sway check --data` of a second adapter, with and without the base's readings",
            "≤ .80",
            (Side("with", second, first=with_data), Side("without", second)),
        ),
        "cached": Row(
            "cached `sway gate`",
            "not slower",
            before(*("gate", _spec("runs-3")), first=("gate", _spec("runs-3"))),
            times=9,
        ),
        "version": Row("`sway --version`", "not slower", before("--version"), 9),
        "spec-error": Row("spec error", "not slower", before("gate", _spec("broken")), 9, (2,)),
        "static": Row(
            "`sway static`, 100 MB", "not slower", before("static", str(MODELS / "large")), 3
        ),
        **{
            f"rows-{n}": Row(
                f"`sway check --data`, {n:,} rows",
                "",
                (Side("sway-gate", (*check, "--data", str(WORK / f"rows-{n}.jsonl"))),),
            )
            for n in ROWS
        },
        **{
            f"nulls-{n}": Row(
                f"delta_kl × 32, adapter_ablation × 8, {n} nulls",
                "",
                (Side("sway-gate", ("run", _spec(f"runs-{n}"))),),
            )
            for n in NULLS
        },
    }


def _spec(name: str) -> str:
    return str(WORK / f"{name}.yaml")


def prepare() -> None:
    """Write the inputs of all rows, unless an earlier run has."""
    WORK.mkdir(exist_ok=True)
    # In a separate process: a child's peak memory starts at its parent's.
    part = [sys.executable, "-m", "benchmarks.speed", "--part", "model"]
    subprocess.run(part, check=True, stdout=subprocess.DEVNULL, cwd=ROOT)
    for runs in (3, *NULLS):
        write_suite(WORK / f"runs-{runs}.yaml", MODELS, suite(runs))
    write_suite(WORK / "whole.yaml", MODELS, whole_suite())
    (WORK / "broken.yaml").write_text("version: 1\nsuite: []\n", encoding="utf-8")
    if not BEFORE.exists():
        _git("worktree", "prune")
        _git("worktree", "add", "--detach", str(BEFORE), BEFORE_COMMIT)
    for code in (ROOT, BEFORE):
        compile_package(code)
    if not BASE.is_dir():
        return
    for number in ROWS:
        write_chat_rows(WORK / f"rows-{number}.jsonl", number)
    data = ("--data", str(WORK / "rows-40.jsonl"))
    for name, code in {"init": ROOT, "init-before": BEFORE}.items():
        arguments = ("init", LORA, "--base", str(BASE), *data, "-o", _spec(name), "--force")
        _cost(Side(name, arguments, code=code), arguments, (0,))
    speed_inputs.set_dtype(WORK / "init-before.yaml", "fp32")


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=ROOT, check=True, capture_output=True, text=True)
    return done.stdout.strip()


# -------------------------------------------------------------------------------------- measuring


class Failed(Exception):
    """A command ended with an error."""


def measure(name: str, row: Row, repeats: int, commit: str) -> None:
    """Measure what `RESULTS` lacks: the sides in turn."""
    for repeat in range(repeats):
        for side in row.sides:
            if len(_costs(name, side, commit)) > repeat * row.times:
                continue
            _empty_caches()
            if side.first:
                _cost(side, side.first, VERDICTS)
            for _ in range(row.times):
                if not side.first:
                    _empty_caches()
                cost = _cost(side, side.arguments, row.codes)
                _keep({"commit": commit, "row": name, "side": side.label, **cost._asdict()})


def _cost(side: Side, arguments: Arguments, codes: tuple[int, ...]) -> Cost:
    """Time and peak memory of one process and its children. Raises Failed."""
    with tempfile.TemporaryFile() as errors:
        started = time.perf_counter()
        process = subprocess.Popen(
            side.command(arguments),
            stdout=subprocess.DEVNULL,
            stderr=errors,
            env=_environment(side.code),
            cwd=WORK,
        )
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - started
        code = process.returncode = os.waitstatus_to_exitcode(status)
        errors.seek(0)
        lines = errors.read().decode(errors="replace").splitlines()
        if code not in codes or (code == 3 and any(x.startswith("error:") for x in lines)):
            raise Failed(f"{side.label}: exit code {code}: {lines[-1:]}")
    return Cost(seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


def _environment(code: Path) -> dict[str, str]:
    home = WORK / "home"
    return os.environ | {
        "HOME": str(home),
        "XDG_CACHE_HOME": str(home / ".cache"),
        "HF_HUB_OFFLINE": "1",
        "PYTHONPATH": str(code),
    }


def _empty_caches() -> None:
    shutil.rmtree(WORK / "home", ignore_errors=True)
    (WORK / "home").mkdir(parents=True)


def _keep(entry: dict[str, Any]) -> None:
    with RESULTS.open("a", encoding="utf-8") as file:
        file.write(json.dumps(entry) + "\n")


def _costs(name: str, side: Side, commit: str) -> list[Cost]:
    """The measurements of one side of a row at `commit`."""
    lines = RESULTS.read_text(encoding="utf-8").splitlines() if RESULTS.exists() else []
    return [
        Cost(*(entry[field] for field in Cost._fields))
        for entry in map(json.loads, lines)
        if (entry["row"], entry["side"], entry["commit"]) == (name, side.label, commit)
    ]


# ---------------------------------------------------------------------------------------- printing


def table(all_rows: dict[str, Row], commit: str) -> Iterable[str]:
    """The rows that were measured, as lines of Markdown."""
    yield f"# Speed\n\nFrom `benchmarks/speed.py` at commit {commit}, medians, on {_machine()}.\n"
    yield "| what | measured | compared with | wall | CPU | peak | target |"
    yield "| --- | ---: | ---: | ---: | ---: | ---: | ---: |"
    for name, row in all_rows.items():
        sides = [_median(_costs(name, side, commit)) for side in row.sides]
        if found := [side for side in sides if side]:
            yield _line(row, found)


def _median(costs: list[Cost]) -> Cost | None:
    return Cost(*map(statistics.median, zip(*costs, strict=True))) if costs else None


def _line(row: Row, found: list[Cost]) -> str:
    cells = [_text(cost) for cost in found]
    ratios = ["–"] * 3
    if len(found) == 2:
        mine, other = found
        ratios = [f"{a / b:.2f} ×" for a, b in zip(mine, other, strict=True)]
    else:
        cells.append("–")
    return f"| {' | '.join([row.title, *cells, *ratios, row.target])} |"


def _text(cost: Cost) -> str:
    return f"{cost.seconds:.2f} s, CPU {cost.cpu_seconds:.2f} s, {cost.peak_mib:.0f} MiB"


def _machine() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text(encoding="utf-8").splitlines() if cpuinfo.exists() else []
    cpu = next(
        (x.split(":")[1].strip() for x in lines if x.startswith("model name")), platform.machine()
    )
    return f"{cpu}, {os.cpu_count()} cores, {platform.system()}, Python {platform.python_version()}"


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--theirs", metavar="PYTHON", help="of a venv with dlm-sway[hf]==0.1.0")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--only", nargs="+", metavar="ROW", help="measure only these rows")
    parser.add_argument("--print", action="store_true", help="print the results; measure nothing")
    parser.add_argument("--part", choices=["model"], help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.part:
        speed_inputs.make_model(MODELS)
        return 0
    all_rows, failed = rows(args.theirs), False
    if unknown := set(args.only or ()) - all_rows.keys():
        parser.error(f"unknown rows: {', '.join(sorted(unknown))}; use {', '.join(all_rows)}")
    commit = _git("describe", "--always", "--dirty")
    if not args.print:
        prepare()
        for name in args.only or all_rows:
            try:
                measure(name, all_rows[name], args.repeats, commit)
            except Failed as error:
                failed = True
                print(f"{name}: {error}", file=sys.stderr, flush=True)
    print("\n".join(table(all_rows, commit)))
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
