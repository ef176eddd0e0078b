"""Recognise what is given as a spec and is not one: a folder, a data file, a missing file."""

import difflib
import os
from pathlib import Path
from typing import Final

from sway_gate.model_files.hub import ADAPTER_CONFIG, is_hub_id
from sway_gate.spec import DEFAULT_SPEC

_SPECS: Final = (".yaml", ".yml")
_DATA: Final = (".jsonl", ".csv", ".tsv", ".parquet", ".arrow")


def not_a_spec(path: str) -> str:
    """What `path` is, and what to do; "" if it can be read as a spec."""
    try:
        os.lstat(path)
    except FileNotFoundError:
        return f"no such file; {_remedy(path)}"
    except (OSError, ValueError):  # its reader reports the reason
        return ""
    if os.path.isdir(path):
        return _folder(Path(path))
    is_data = path.lower().endswith(_DATA)
    return f"is a data file; write its spec: sway init ADAPTER --data {path}" if is_data else ""


def _folder(path: Path) -> str:
    if (path / ADAPTER_CONFIG).is_file():
        check = f"judge it without a spec: sway check {path}"
        return f"is an adapter, not a spec; {check}, or write its spec with `sway init`"
    if (path / "config.json").is_file():
        return "is a model, not a spec; write a spec with `sway init`"
    return "is a folder; give the file in it"


def _remedy(path: str) -> str:
    """The nearest spec in its folder, or how to create one."""
    if "/" in path and is_hub_id(path) and not path.lower().endswith(_SPECS):
        return "give a spec, not the name of a model"
    folder, name = os.path.split(path)
    found = _specs_in(folder or ".")
    if path == DEFAULT_SPEC:
        other = next((name for name in found if name.endswith(f".{path}")), f"my.{path}")
        return f"create one with `sway init`, or name yours, such as {other}"
    if near := difflib.get_close_matches(name, found, n=1, cutoff=0.8):
        return f"did you mean {os.path.join(folder, near[0])}?"
    return "create one with `sway init`"


def _specs_in(folder: str) -> list[str]:
    try:
        return sorted(name for name in os.listdir(folder) if name.lower().endswith(_SPECS))
    except OSError:
        return []
