"""Outputs of the static check and the gate for defective and unusual adapters."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from safetensors.numpy import load, save

from tests.recorded.messages import spec
from tests.recorded.workshop import Workshop, timeless

Tensors = dict[str, np.ndarray]
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 3\n"


def _header(header: Any, data: bytes = b"") -> bytes:
    """A safetensors file with this header."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data


def _entry(shape: Any = (2,), begin: Any = 0, end: Any = 8, dtype: Any = "F32") -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


def _weights(sound: bytes) -> Iterator[tuple[str, bytes]]:
    """Weight files that are damaged or inconsistent."""
    yield "no bytes", b""
    yield "7 bytes", b"1234567"
    yield "a header of 2**64 bytes", b"\xff" * 8
    yield "cut in the header", sound[:100]
    yield "cut in the data", sound[:-4]
    yield "more bytes", sound + b"\0\0"
    yield "a Git LFS pointer as weights", POINTER
    yield "a header that is no JSON", _header(b"{")
    yield "a header that is no UTF-8", _header(b"\xff{}")
    yield "a header that is a list", _header([1])
    yield "a tensor twice", _header(b'{"t": 1, "t": 2}')
    yield "an entry that is a number", _header({"t": 1})
    yield "a negative size", _header({"t": _entry((-2,))}, bytes(8))
    yield "a giant size", _header({"t": _entry((2**70, 0), 0, 0)})
    yield "an unknown dtype", _header({"t": _entry(dtype="F31")}, bytes(8))
    yield "a shape that is too large", _header({"t": _entry((3,))}, bytes(8))
    yield "beyond the end", _header({"t": _entry((2,), 8, 16)}, bytes(8))
    yield "an overlap", _header({"t": _entry(), "u": _entry((2,), 4, 12)}, bytes(12))
    yield "a hole", _header({"t": _entry(), "u": _entry((2,), 12, 20)}, bytes(20))
    yield "no tensors", _header({})
    yield "other tensors", _header({"t": _entry()}, bytes(8))
    yield "no weights, a pickle", b"PICKLE"


def _configs(sound: dict[str, Any]) -> Iterator[tuple[str, bytes]]:
    """Configuration files that are damaged, unusual or do not match the weights."""
    yield "no configuration", b"ABSENT"
    yield "an empty configuration", b""
    yield "a Git LFS pointer as configuration", POINTER
    yield "a configuration that is no UTF-8", b'{"a": "\xff"}'
    yield "a configuration with a comma", b'{\n "r": 4,,\n}'
    yield "a configuration with NaN", b'{"r": NaN}'
    yield "a configuration that is a list", b"[1]"
    yield "no type", b'{"r": 4}'
    fields: dict[str, dict[str, Any]] = {
        "rank 0": {"r": 0},
        "another rank": {"r": 4},
        "wrong fields": {"r": "8", "lora_alpha": None, "bias": 1, "use_dora": "yes"},
        "another kind": {"peft_type": "IA3", "r": None},
        "prompt tuning": {"peft_type": "PROMPT_TUNING", "r": None},
        "a pattern that is no regex": {"rank_pattern": {"(": 4}},
        "a costly pattern": {"rank_pattern": {"(a+)+(b+)+(c+)+$": 4}},
        "targets that are no regex": {"target_modules": "(["},
        "targets that are not there": {"target_modules": ["q_proj", "zz_proj"]},
        "targets that are fewer": {"target_modules": ["q_proj"]},
        "another base": {"base_model_name_or_path": "org/other"},
        "no base": {"base_model_name_or_path": None},
        "alpha 0": {"lora_alpha": 0},
        "layers replicated": {"layer_replication": [[0, 1], [0, 1]]},
        "an unknown field": {"later": 1},
    }
    for name, changed in fields.items():
        yield name, json.dumps(sound | changed, indent=1).encode()


def _zero(key: str, tensor: np.ndarray) -> np.ndarray:
    return tensor * 0 if "lora_B" in key else tensor


def _zero_in_a_layer(key: str, tensor: np.ndarray) -> np.ndarray:
    return tensor * 0 if "layers.0" in key and "lora_B" in key else tensor


def _nan(key: str, tensor: np.ndarray) -> np.ndarray:
    return np.full_like(tensor, np.nan) if "layers.0.mlp.up_proj.lora_A" in key else tensor


def _infinite(key: str, tensor: np.ndarray) -> np.ndarray:
    return np.full_like(tensor, np.inf) if "layers.0.mlp.up_proj.lora_B" in key else tensor


def _huge(key: str, tensor: np.ndarray) -> np.ndarray:
    return tensor.astype(np.float32) * (1e6 if "layers.0" in key else 1)


def _narrow(key: str, tensor: np.ndarray) -> np.ndarray:
    return tensor[:, :-1] if "lora_A" in key else tensor


def _short(key: str, tensor: np.ndarray) -> np.ndarray:
    return tensor[:-1] if "q_proj.lora_B" in key else tensor


TENSORS: dict[str, Callable[[str, np.ndarray], np.ndarray]] = {
    "lora_B is zero": _zero,
    "lora_B is zero in a layer": _zero_in_a_layer,
    "NaN weights": _nan,
    "infinite weights": _infinite,
    "huge weights": _huge,
    "narrower than the base": _narrow,
    "shorter than the base": _short,
}


def _lacking(tensors: Tensors) -> Iterator[tuple[str, Tensors]]:
    """Weight files with missing or additional tensors."""
    first, *_ = sorted(tensors)
    yield "a lora_A alone", {key: value for key, value in tensors.items() if key != first}
    yield "no upper layer", {key: value for key, value in tensors.items() if "layers.0" in key}
    yield (
        "a module more",
        tensors
        | {first.replace("down_proj", "zz_proj").replace("up_proj", "zz_proj"): tensors[first]},
    )


def _cases(config: bytes, weights: bytes) -> Iterator[tuple[str, bytes, bytes]]:
    """Name, configuration and weights of every adapter."""
    tensors = load(weights)
    for name, data in _weights(weights):
        yield name, config, data
    for name, text in _configs(json.loads(config)):
        yield name, text, weights
    for name, change in TENSORS.items():
        changed = {key: np.ascontiguousarray(change(key, value)) for key, value in tensors.items()}
        yield name, config, save(changed)
    for name, changed in _lacking(tensors):
        yield name, config, save(changed)


def _write(work: Workshop, folder: str, config: bytes, weights: bytes) -> None:
    if config != b"ABSENT":
        work.write(f"{folder}/adapter_config.json", config)
    is_pickle = weights == b"PICKLE"
    work.write(f"{folder}/adapter_model.{'bin' if is_pickle else 'safetensors'}", weights)


def _sound(work: Workshop) -> tuple[bytes, bytes]:
    """Configuration and weights of the demo's healthy adapter."""
    work.bring_demo()
    folder = work.folder / "demo" / "healthy"
    config, weights = "adapter_config.json", "adapter_model.safetensors"
    return (folder / config).read_bytes(), (folder / weights).read_bytes()


def _gated(work: Workshop, folder: str) -> str:
    work.write("sway.yaml", spec(ft=f"ft: {{base: demo/model, adapter: {folder}}}"))
    return timeless(work.told("gate", "sway.yaml", "--no-cache", "--quiet"))


def adapters(work: Workshop) -> None:
    """`sway static` of each adapter, and `sway gate` of those with a finding."""
    told = {}
    for number, (name, *files) in enumerate(_cases(*_sound(work))):
        folder = f"adapter{number}"
        _write(work, folder, *files)
        told[name] = timeless(work.told("static", folder, "--base", "demo/model"))
        if "exit code 0" not in told[name]:
            told[name] += _gated(work, folder)
    work.keep_passages("adapters.txt", told)


REFUSED = (
    "another kind",
    "prompt tuning",
    "layers replicated",
    "targets that are fewer",
    "a costly pattern",
    "narrower than the base",
    "shorter than the base",
)


def refused(work: Workshop) -> None:
    """`sway gate` of adapters whose defects are visible only with the base."""
    cases = {name: files for name, *files in _cases(*_sound(work)) if name in REFUSED}
    told = {}
    for number, name in enumerate(REFUSED):
        _write(work, f"adapter{number}", *cases[name])
        told[name] = _gated(work, f"adapter{number}")
    sides = ("--a", "demo/healthy", "--b", "demo/absent")
    told["a side of a diff that is not there"] = work.told("diff", "sway.yaml", *sides)
    work.keep_passages("refused.txt", told)
