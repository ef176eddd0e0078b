"""Hostile and odd adapters for the comparison of scanners, each a change of one healthy adapter.

Payloads are harmless: they call `os.system("true")`, or print.
"""

import json
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file, save_file

Change = Callable[[Path], object]
LAYERS, WIDTH, RANK = 24, 64, 8
MODULES = ("self_attn.q_proj", "self_attn.v_proj", "mlp.down_proj")
WEIGHTS, CONFIG = "adapter_model.safetensors", "adapter_config.json"
CODE = b"print('code from an adapter')\n"
PICKLE = b"cos\nsystem\n(S'true'\ntR."
TORCH = {"archive/data.pkl": PICKLE, "archive/version": b"3\n"}
"""Members of the zip file that torch.save writes."""
CONFIG_FIELDS: dict[str, Any] = {
    "peft_type": "LORA",
    "task_type": "CAUSAL_LM",
    "base_model_name_or_path": "example/base",
    "r": RANK,
    "lora_alpha": 16,
    "target_modules": ["q_proj", "v_proj", "down_proj"],
    "bias": "none",
}


def tensor(layer: int, module: str, factor: str) -> str:
    return f"base_model.model.model.layers.{layer}.{module}.lora_{factor}.weight"


def save_healthy(folder: Path) -> None:
    """Save an adapter with factors of the sizes that training leaves."""
    rng = np.random.default_rng(0)
    tensors = {}
    for layer in range(LAYERS):
        for module in MODULES:
            for factor, shape in {"A": (RANK, WIDTH), "B": (WIDTH, RANK)}.items():
                values = rng.normal(0, 0.02, shape).astype(np.float32)
                tensors[tensor(layer, module, factor)] = values
    folder.mkdir(parents=True)
    save_file(tensors, folder / WEIGHTS, {"format": "pt"})
    (folder / CONFIG).write_text(json.dumps(CONFIG_FIELDS), encoding="utf-8")


# ------------------------------------------------------------------------------------------ changes


def fields(**values: Any) -> Change:
    """Set fields of the config."""
    text = json.dumps(CONFIG_FIELDS | values)
    return lambda folder: (folder / CONFIG).write_text(text, encoding="utf-8")


def add(name: str, data: bytes) -> Change:
    """Add a file, or replace it."""

    def change(folder: Path) -> None:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)

    return change


def zipped(name: str, members: dict[str, bytes], method: int = zipfile.ZIP_STORED) -> Change:
    """Add a zip file with these members."""

    def change(folder: Path) -> None:
        with zipfile.ZipFile(folder / name, "w", method) as archive:
            for member, data in members.items():
                archive.writestr(member, data)

    return change


def weights(change: Callable[[dict[str, Any]], object]) -> Change:
    """Change the tensors in place."""

    def apply(folder: Path) -> None:
        tensors = load_file(folder / WEIGHTS)
        change(tensors)
        save_file(tensors, folder / WEIGHTS, {"format": "pt"})

    return apply


def scaled(module: str, layer: int, by: float) -> Change:
    """Multiply the update of one module."""

    def change(tensors: dict[str, Any]) -> None:
        tensors[tensor(layer, module, "B")] *= np.float32(by)

    return weights(change)


def value(number: float) -> Change:
    """Set one value of one tensor."""

    def change(tensors: dict[str, Any]) -> None:
        tensors[tensor(3, MODULES[0], "A")][2, 5] = number

    return weights(change)


def spike(layer: int, size: float, rows: int) -> Change:
    """Replace an update by rank 1 into few outputs, as an edit of a single association does."""

    def change(tensors: dict[str, Any]) -> None:
        b = tensors[tensor(layer, "mlp.down_proj", "B")]
        b[:] = 0
        b[:rows, 0] = size

    return weights(change)


def new_tensor(name: str, shape: tuple[int, ...], dtype: type = np.float32) -> Change:
    def change(tensors: dict[str, Any]) -> None:
        tensors[name] = np.ones(shape, dtype)

    return weights(change)


def renamed(old: str, new: str) -> Change:
    """Replace a part of each tensor's name."""

    def change(tensors: dict[str, Any]) -> None:
        for name in list(tensors):
            tensors[name.replace(old, new)] = tensors.pop(name)

    return weights(change)


def only(part: str) -> Change:
    """Remove each tensor whose name does not contain this part."""

    def change(tensors: dict[str, Any]) -> None:
        for name in list(tensors):
            if part not in name:
                del tensors[name]

    return weights(change)


def no_update(tensors: dict[str, Any]) -> None:
    for name in tensors:
        if "lora_B" in name:
            tensors[name][:] = 0


def hidden_bytes(tensors: dict[str, Any]) -> None:
    """Write a text into the lowest bytes of one tensor: no value changes by more than 2^-15."""
    flat = tensors[tensor(7, MODULES[0], "A")].reshape(-1).view(np.uint8)
    text = np.frombuffer(CODE, np.uint8)
    flat[: 4 * text.size : 4] = text


def header(edit: Callable[[dict[str, Any]], object]) -> Change:
    """Edit the header of the weights and keep the data."""

    def change(folder: Path) -> None:
        data = (folder / WEIGHTS).read_bytes()
        size = struct.unpack("<Q", data[:8])[0]
        entries = json.loads(data[8 : 8 + size])
        edit(entries)
        text = json.dumps(entries).encode()
        (folder / WEIGHTS).write_bytes(struct.pack("<Q", len(text)) + text + data[8 + size :])

    return change


def overlap(entries: dict[str, Any]) -> None:
    first, second = (name for name in list(entries)[1:3])
    entries[second]["data_offsets"] = entries[first]["data_offsets"]


def all_of(*changes: Change) -> Change:
    return lambda folder: [change(folder) for change in changes]


def without_weights(folder: Path) -> None:
    (folder / WEIGHTS).unlink()


def as_link(name: str, target: str) -> Change:
    def change(folder: Path) -> None:
        (folder / name).unlink()
        (folder / name).symlink_to(target)

    return change


def trailing(data: bytes) -> Change:
    def change(folder: Path) -> None:
        with open(folder / WEIGHTS, "ab") as file:
            file.write(data)

    return change


def shortened(folder: Path) -> None:
    data = (folder / WEIGHTS).read_bytes()
    (folder / WEIGHTS).write_bytes(data[: len(data) // 2])


# -------------------------------------------------------------------------------------------- cases

AUTO_MAP = json.dumps({"auto_map": {"AutoTokenizer": ["tokenization_own.OwnTokenizer", None]}})
TEMPLATE = "{{ ''.__class__.__mro__[1].__subclasses__() }}"
KERAS = json.dumps({"config": {"layers": [{"class_name": "Lambda", "config": {}}]}})
HEAD = "base_model.model.lm_head.weight"

CASES: dict[str, dict[str, Change]] = {
    "no fault": {
        "a healthy adapter": lambda _: None,
        "a checkpoint of a trainer: `training_args.bin`, `optimizer.pt`": all_of(
            add("training_args.bin", b"\x80\x02}q\x00."), add("optimizer.pt", b"\x80\x02}q\x00.")
        ),
        "complete embeddings that the config names, as after new tokens": all_of(
            fields(modules_to_save=["embed_tokens"]),
            new_tensor("base_model.model.model.embed_tokens.weight", (512, WIDTH)),
        ),
    },
    "code in files": {
        "the weights only as a pickle of torch that runs a command": all_of(
            without_weights, zipped("adapter_model.bin", TORCH)
        ),
        "a pickle of torch that runs a command next to the weights": zipped(
            "adapter_model.bin", TORCH
        ),
        "`training_args.bin` that runs a command": zipped("training_args.bin", TORCH),
        "a bare pickle named `adapter_model.bin`": add("adapter_model.bin", PICKLE),
        "a pickle that ends in an error after its command": add("optimizer.pt", PICKLE[:-1] + b"X"),
        "a pickle in a zip with another compression": zipped(
            "state.pt", {"archive/data.pkl": PICKLE}, zipfile.ZIP_LZMA
        ),
        "a pickle under another ending, `weights.dat2`": add("weights.dat2", PICKLE),
        "a pickle named as the weights": add(WEIGHTS, PICKLE),
        "a pickle in a folder below": add("global_step1/state.pkl", PICKLE),
        "an array of objects, `.npy`": add(
            "vectors.npy",
            b"\x93NUMPY\x01\x00\x46\x00"
            + b"{'descr': '|O', 'fortran_order': False, 'shape': (1,), }".ljust(69)
            + b"\n"
            + PICKLE,
        ),
        "a joblib file that runs a command": add("scaler.joblib", PICKLE),
        "a Keras model with a lambda layer": zipped(
            "model.keras", {"config.json": KERAS.encode(), "metadata.json": b"{}"}
        ),
        "Python code that `auto_map` of the tokenizer names": all_of(
            add("tokenizer_config.json", AUTO_MAP.encode()), add("tokenization_own.py", CODE)
        ),
        "a Python file, a shell script, a library": all_of(
            add("setup.py", CODE), add("install.sh", b"#!/bin/sh\ntrue\n"), add("x.so", b"\x7fELF")
        ),
        "a config that names a module to import": fields(
            auto_mapping={"base_model_class": "Own", "parent_library": "own"}
        ),
        "a config that names a module of Megatron to import": fields(
            megatron_config={"tensor_model_parallel_size": 1}, megatron_core="own.module"
        ),
        "a chat template that reaches Python's classes": add(
            "chat_template.jinja", TEMPLATE.encode()
        ),
    },
    "files that break a reader": {
        "cut in half": shortened,
        "a header of 2^60 bytes": add(WEIGHTS, struct.pack("<Q", 1 << 60) + b"{}"),
        "two tensors in the same bytes": header(overlap),
        "a zip file after the last tensor": trailing(b"PK\x05\x06" + bytes(18)),
        "a tensor of 2^47 rows": header(
            lambda entries: entries[tensor(0, MODULES[0], "A")].update(shape=[1 << 47, WIDTH])
        ),
        "a config of deeply nested lists": add(CONFIG, b"[" * 100_000 + b"]" * 100_000),
        "a pattern that backtracks for ever": all_of(
            fields(target_modules="(.*(a+)+)+$"), renamed("self_attn.q_proj", "a" * 60 + "!")
        ),
        "the weights a link to a file of the system": as_link(WEIGHTS, "/etc/passwd"),
        "the config a link to a device": as_link(CONFIG, "/dev/zero"),
        "a zip bomb next to the weights": zipped(
            "data.zip", {"zeros": bytes(50_000_000)}, zipfile.ZIP_DEFLATED
        ),
        "names of tensors with control characters": renamed("model.layers.3.", "\x1b[2J"),
        "names of tensors with `../`": renamed("model.layers.3.", "../../layers.3."),
    },
    "weights": {
        "NaN in one value": value(float("nan")),
        "Inf in one value": value(float("inf")),
        "never trained: all B are zero": weights(no_update),
        "one module 1000 times as large": scaled(MODULES[2], 12, 1000),
        "`lora_alpha` of 10^9": fields(lora_alpha=1e9),
        "rank-1 spike into 2 outputs of one module, of ordinary size": spike(12, 0.45, 2),
        "rank-1 spike into 2 outputs of one module, 20 times as large": spike(12, 9, 2),
        "rank-1 spike in the last layer": spike(LAYERS - 1, 9, 2),
        "only one layer": only(".layers.12."),
        "a complete `lm_head` that the config names": all_of(
            fields(modules_to_save=["lm_head"]), new_tensor(HEAD, (512, WIDTH))
        ),
        "a complete `lm_head` that the config does not name": new_tensor(HEAD, (512, WIDTH)),
        "a tensor of bytes that the config does not explain": new_tensor(
            "payload", (4096,), np.uint8
        ),
        "a text in the lowest bits of one tensor": weights(hidden_bytes),
        "LoRA on the router of a mixture of experts": renamed("self_attn.v_proj", "mlp.gate"),
        "ranks that differ from the config": fields(r=4),
        "modules that the config does not name": fields(target_modules=["q_proj", "v_proj"]),
        "one LoRA factor without the other": only("lora_A"),
    },
}
"""Family -> case -> change of the healthy adapter."""
