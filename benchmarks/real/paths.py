"""Folders of the zoo: `.bench/real`, or SWAY_REAL if it is set."""

from __future__ import annotations

import csv
import json
import os
import sys
import time
from importlib import import_module
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
HOME = Path(os.environ.get("SWAY_REAL") or ROOT / ".bench" / "real")
CACHE = Path.home() / ".cache" / "sway-gate-real"
"""Outside the work tree, where sway-gate refuses a cache."""
BASE = HOME / "base"
DATA = HOME / "data"
ADAPTERS = HOME / "adapters"
TRUTH = HOME / "truth"
MANIFEST = HOME / "manifest.json"
STATUS = HOME / "STATUS.txt"

Row = dict[str, Any]


def read_rows(path: Path) -> list[Row]:
    """The rows of a JSONL file."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line]


def read_sheet(path: Path) -> list[Row]:
    """The rows of a CSV file with a header."""
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def write_sheet(path: Path, rows: list[Row]) -> None:
    """Write rows as CSV with a header, in one step."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(f".part{os.getpid()}")
    with part.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    part.rename(path)


def read_parquet(path: Path) -> list[Row]:
    """The rows of a Parquet file."""
    rows: list[Row] = import_module("pyarrow.parquet").read_table(path).to_pylist()
    return rows


def write_parquet(path: Path, rows: list[Row]) -> None:
    """Write rows as Parquet, in one step."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(f".part{os.getpid()}")
    table = import_module("pyarrow").Table.from_pylist(rows)
    import_module("pyarrow.parquet").write_table(table, part)
    part.rename(path)


def read_json(path: Path) -> Any:
    """A JSON file."""
    return json.loads(path.read_text(encoding="utf-8"))


def write_rows(path: Path, rows: list[Row]) -> None:
    """Write rows as JSONL, in one step."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(f".part{os.getpid()}")
    part.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), "utf-8")
    part.rename(path)


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file, in one step."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(f".part{os.getpid()}")
    part.write_text(json.dumps(value, indent=1, ensure_ascii=False) + "\n", "utf-8")
    part.rename(path)


def now() -> str:
    """The time in UTC, as the truth and the results record it."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def note(text: str) -> None:
    """Print an event with its time and add it to STATUS.txt."""
    line = f"{time.strftime('%H:%M:%S')} {text}"
    print(line, file=sys.stderr, flush=True)
    STATUS.parent.mkdir(parents=True, exist_ok=True)
    with STATUS.open("a", encoding="utf-8") as file:
        file.write(line + "\n")
