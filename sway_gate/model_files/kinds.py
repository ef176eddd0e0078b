"""Recognise folders and files that are not an adapter, or not a base model."""

import os
import re
from collections.abc import Iterable
from fnmatch import fnmatch
from pathlib import Path
from typing import Final, NamedTuple

from sway_gate.files import read_regular
from sway_gate.model_files.config import json_object
from sway_gate.model_files.hub import ADAPTER_CONFIG, ADAPTER_WEIGHTS, MLX_WEIGHTS
from sway_gate.text import counted, named

_ADAPTER: Final = (ADAPTER_WEIGHTS, MLX_WEIGHTS, "adapter_model.bin")
_OTHER_MLX: Final = ("*adapters.safetensors", "adapters.npz")
_MODEL: Final = ("model*.safetensors", "model.safetensors.index.json")
_PICKLED: Final = ("pytorch_model*.bin", "pytorch_model.bin.index.json")
_DATA: Final = ("*.jsonl", "*.json", "*.csv", "*.tsv", "*.parquet", "*.arrow")
_STATE: Final = (
    "optimizer.*",
    "scheduler.pt",
    "rng_state*.pth",
    "trainer_state.json",
    "training_args.bin",
    "global_step*",
    "zero_to_fp32.py",
    "*.distcp",
    "pytorch_model_fsdp_*",
)
_ARCHIVES: Final = ("*.zip", "*.tar", "*.tgz", "*.gz", "*.zst", "*.7z")
_PICKLES: Final = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl")
_GGUF_HEADER_BYTES: Final = 2**16
_GGUF_ADAPTER: Final = b"general.type" + (8).to_bytes(4, "little") + (7).to_bytes(8, "little")
_MAX_ENTRIES: Final = 10_000

FOLDER: Final = f"give the folder that contains {ADAPTER_CONFIG} and {ADAPTER_WEIGHTS}"


class Kind(NamedTuple):
    """What was given, and what to give instead."""

    message: str
    remedy: str


def not_an_adapter(path: Path) -> Kind | None:
    """What `path` is if it is not an adapter of peft or MLX.

    None for an adapter, also for a damaged one, and for a folder without any known file.
    """
    if path.is_file():
        return _file(path)
    names = _names(path)
    if not _matching(names, _ADAPTER) and (found := _matching(names, _OTHER_MLX)):
        return _other_mlx(found[-1])
    if ADAPTER_CONFIG in names or _matching(names, _ADAPTER):
        return None
    if found := _below(path, names, ADAPTER_CONFIG):
        return _subfolders(path, found, "adapter", "an adapter", "give one of them")
    if found := _matching(names, ("*.gguf",)):
        return _gguf(path / found[0])
    if "config.json" in names and (found := _matching(names, (*_MODEL, *_PICKLED))):
        message = f"this is a full model ({found[0]}), not an adapter"
        return Kind(message, f"judge it with sway check --model, or {FOLDER}")
    if "config.json" not in names and (found := _below(path, names, "config.json")):
        remedy = "judge one of them with sway check --model"
        return _subfolders(path, found, "model", "an adapter", remedy)
    if found := _matching(names, _STATE):
        message = f"this is the state of a training without an adapter ({named(found)})"
        return Kind(message, f"gather the weights, save them with save_pretrained(), or {FOLDER}")
    if found := _matching(names, _DATA):
        return Kind(f"this is a folder with data ({named(found)}), not an adapter", FOLDER)
    return None


def not_a_base(folder: Path, *, for_mlx: bool = False) -> Kind | None:
    """What `folder` is if it is not a safetensors model in the format of transformers.

    None for such a model. for_mlx: also for a model quantized by MLX.
    """
    names = _names(folder)
    if ADAPTER_CONFIG in names:
        message = "this is the folder of an adapter, not of a base model"
        return Kind(message, "give the model that it changes")
    if "config.json" in names and _matching(names, ("*.safetensors",)):
        return None if for_mlx else _mlx_base(folder)
    if found := _matching(names, ("*.gguf",)):
        return Kind(f"this is a GGUF model ({found[0]})", "give the same model as safetensors")
    if found := _matching(names, _PICKLED):
        remedy = "convert it with save_pretrained(safe_serialization=True)"
        return Kind(f"this is a model in pickle files ({found[0]}), which are never loaded", remedy)
    if "config.json" not in names and (found := _below(folder, names, "config.json")):
        return _subfolders(folder, found, "model", "a model", "give one of them")
    if "config.json" not in names:
        remedy = "give a folder that contains a saved model"
        return Kind("this is not a model: config.json is missing", remedy)
    return None


def _file(path: Path) -> Kind | None:
    """What a file is. A file of an adapter, or next to one, stands for the adapter's folder."""
    name = path.name.lower()
    if name.endswith(".gguf"):
        return _gguf(path)
    if name in (ADAPTER_CONFIG, *_ADAPTER):
        return None
    if _matching([name], _OTHER_MLX):
        return _other_mlx(path.name)
    if name.endswith(".json") and "schema_version" in json_object(path):
        remedy = "show it with sway report, or compare two with sway compare"
        return Kind("this is a JSON report, not an adapter", remedy)
    if _matching([name], _DATA):
        return Kind("this is a data file, not an adapter", f"{FOLDER}; give data with --data")
    if not_an_adapter(path.parent) is None and ADAPTER_CONFIG in _names(path.parent):
        return None
    if _matching([name], _ARCHIVES):
        return Kind("this is an archive, not an adapter", f"unpack it, then {FOLDER}")
    if _matching([name], _PICKLES):
        return Kind("this is a pickle file, which is never loaded", FOLDER)
    return Kind("this is a file, not the folder of an adapter", FOLDER)


def _other_mlx(file: str) -> Kind:
    remedy = f"save it as {MLX_WEIGHTS} next to its {ADAPTER_CONFIG}, or convert it for peft"
    return Kind(f"this is an MLX adapter under another name ({file})", remedy)


def _mlx_base(folder: Path) -> Kind | None:
    """MLX writes its quantization under two names, without the method that others state."""
    fields = json_object(folder / "config.json")
    other = fields.get("quantization_config")
    if "quantization" not in fields or (isinstance(other, dict) and "quant_method" in other):
        return None
    remedy = "give the model from which it was converted"
    return Kind("this is a model quantized by MLX", remedy)


def _gguf(path: Path) -> Kind:
    try:
        is_adapter = _GGUF_ADAPTER + b"adapter" in read_regular(path, _GGUF_HEADER_BYTES)
    except OSError:
        is_adapter = False
    if is_adapter:
        remedy = "give the peft adapter from which it was converted"
        return Kind(f"this is a GGUF adapter ({path.name}), not a peft adapter", remedy)
    return Kind(f"this is a GGUF file ({path.name}), not a peft adapter", FOLDER)


def _subfolders(path: Path, found: list[str], noun: str, wanted: str, remedy: str) -> Kind:
    """Models or adapters one folder below; the checkpoint of the last step is the first."""
    which = "for example"
    if all(map(_is_checkpoint, found)):
        found = sorted(found, key=lambda name: int(name.rpartition("-")[2]), reverse=True)
        noun, which = "checkpoint", "the newest is"
    message = f"this is a folder with {counted(len(found), noun)} ({named(found)}), not {wanted}"
    return Kind(message, f"{remedy}, {which} {path / found[0]}")


def _is_checkpoint(name: str) -> bool:
    return re.fullmatch(r"checkpoint-[0-9]{1,12}", name) is not None


def _below(path: Path, names: Iterable[str], config: str) -> list[str]:
    """The folders in `path` that have a file named `config`."""
    return [name for name in sorted(names) if (path / name / config).is_file()]


def _matching(names: Iterable[str], patterns: Iterable[str]) -> list[str]:
    return [name for name in sorted(names) if any(fnmatch(name.lower(), p) for p in patterns)]


def _names(folder: Path) -> set[str]:
    """Names of the entries; empty if the folder is missing. A broken link counts as missing."""
    try:
        with os.scandir(folder) as entries:
            found = [entry.name for entry, _ in zip(entries, range(_MAX_ENTRIES), strict=False)]
    except (OSError, ValueError):
        return set()
    return {name for name in found if (folder / name).exists()}
