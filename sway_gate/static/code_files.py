"""Files next to the adapter that run code if another program loads them."""

import os
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from sway_gate.results import Finding
from sway_gate.static.findings import finding, some

_CODE = {".py", ".pyc", ".sh", ".js", ".bat", ".ps1", ".so", ".dll", ".dylib", ".exe"}
_PICKLES = {".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".joblib", ".dill", ".npy", ".npz"}
_MODELS = {".keras", ".h5", ".pb"}
"""Keras and TensorFlow; their layers can contain code."""
_ARCHIVES = {".zip", ".tar", ".gz", ".tgz", ".xz", ".bz2", ".7z", ".rar"}
_SUFFIXES = _CODE | _PICKLES | _MODELS | _ARCHIVES
_OF_TRAINERS = (
    "adapter_model.bin",
    "training_args.bin",
    "optimizer.",
    "scheduler.",
    "scaler.pt",
    "rng_state",
)
"""Starts of the names of pickles that trainers save with each adapter."""
_MAX_ENTRIES = 10_000


def code_files(here: Path) -> Iterator[Finding]:
    """Note the files. sway-gate loads none of them, so they cannot change its verdict."""
    with os.scandir(here) as entries:
        names = sorted(entry.name for entry in islice(entries, _MAX_ENTRIES))
    if found := [name for name in names if _is_code(name)]:
        message = "the folder contains files that can run code; sway-gate loads none of them"
        remedy = "read or scan them before another program loads them"
        yield finding("note", "code-files", here, f"{message}: {some(found)}", remedy)


def _is_code(name: str) -> bool:
    suffix = os.path.splitext(name.lower())[1]
    is_of_trainer = suffix in _PICKLES and name.startswith(_OF_TRAINERS)
    return suffix in _SUFFIXES and not is_of_trainer
