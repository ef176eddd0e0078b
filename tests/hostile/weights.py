"""Weights: headers that lie, NaN and infinite values, and formats that run code."""

import json
import struct

import numpy as np

from tests.hostile.case import (
    WEIGHTS,
    Case,
    Content,
    adapter,
    folder,
    own_spec,
    pipe,
    safetensors,
    sparse,
    spec,
    tensors,
    to,
)

STATIC = "static adapter"
EVIL = b"cos\nsystem\n(S'touch ran'\ntR."
"""A pickle that runs a command."""
NAME = "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight"


def field(
    dtype: object = "F32", shape: object = (2,), begin: object = 0, end: object = 8
) -> dict[str, object]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


def header(name: str, words: str, entries: object, data: bytes = b"", code: int = 2) -> Case:
    return Case(name, STATIC, code, words, adapter(safetensors(entries, data)))


def raw(name: str, words: str, weights: bytes, code: int = 2) -> Case:
    return Case(name, STATIC, code, words, adapter(weights))


def files(name: str, words: str, given: dict[str, Content], command: str = STATIC) -> Case:
    return Case(name, command, 2, words, given)


def only(file: str, content: Content) -> dict[str, Content]:
    """An adapter whose weights are in this file."""
    return {
        "adapter/adapter_config.json": adapter()["adapter/adapter_config.json"],
        f"adapter/{file}": content,
    }


def one(value: float) -> bytes:
    """The demo's weights, with this value in each tensor."""

    def change(_: str, tensor: np.ndarray) -> np.ndarray:
        tensor = tensor.astype(np.float32)
        tensor.flat[0] = value
        return tensor

    with np.errstate(over="ignore"):
        return tensors(change)


def claims(size: int) -> bytes:
    return size.to_bytes(8, "little")


GATE = "gate sway.yaml --no-cache"
GATED = [
    ("3e38", 1, "diverged or broken", one(3e38)),
    ("1e308", 1, "diverged or broken", tensors(lambda _, t: np.full(t.shape, 1e308))),
    ("integers", 2, "not of floating-point numbers", tensors(lambda _, t: t.astype(np.int32))),
]


def mlx(name: str, code: int, words: str, weights: bytes, **fields: object) -> Case:
    """An adapter of mlx-lm."""
    valid = {"fine_tune_type": "lora", "lora_parameters": {"rank": 1, "scale": 1.0}}
    own: dict[str, Content] = {
        "adapter/adapter_config.json": json.dumps(valid | fields),
        "adapter/adapters.safetensors": weights,
    }
    return Case(f"MLX: {name}", STATIC, code, words, own)


PAIR = safetensors(
    {
        "model.layers.0.self_attn.q_proj.lora_a": field(shape=(2, 1)),
        "model.layers.0.self_attn.q_proj.lora_b": field(shape=(1, 2), begin=8, end=16),
    },
    bytes(range(16)),
)
MLX = [
    mlx("not safetensors", 2, "safetensors", EVIL),
    mlx("layers of a list", 2, "num_layers", PAIR, num_layers=[1]),
    mlx("rank 2^40", 2, "rank", PAIR, lora_parameters={"rank": 2**40, "scale": 1}),
    mlx("scale of 1e308", 2, "scale", PAIR, lora_parameters={"rank": 1, "scale": 1e308}),
    mlx("method is code", 2, "fine_tune_type", PAIR, fine_tune_type="os.system"),
    mlx("model leads out", 0, "ok: adapter", PAIR, model="../../etc/passwd\x1b[2J"),
]

CASES = [
    # the header
    raw("no bytes", "not a safetensors file", b""),
    raw("seven bytes", "not a safetensors file", b"1234567"),
    raw("header of 2^64 bytes", "truncated or not safetensors", claims(2**64 - 1)),
    raw("header of 2^63 bytes", "truncated or not safetensors", claims(2**63) + b"{}"),
    raw("header of no bytes", "not JSON", claims(0)),
    raw("header of zeros", "not JSON", claims(64) + bytes(64)),
    header("header is a list", "not a JSON object", []),
    header("header nests", "not JSON", b'{"a":' * 50_000),
    header(
        "header with NaN",
        "tensor",
        b'{"a": {"dtype": "F32", "shape": [NaN], "data_offsets": [0, 8]}}',
    ),
    header("integer of 5000 digits", "not JSON", b'{"a": {"shape": [' + b"9" * 5000 + b"]}}"),
    header("not UTF-8", "not JSON", b"\xff{}"),
    header("duplicate tensor", "twice", b'{"t": 1, "t": 2}'),
    header("duplicate shape", "twice", b'{"t": {"shape": [1], "shape": [2]}}'),
    header("metadata is a number", "__metadata__", {"__metadata__": 1}),
    header("entry is a number", "tensor 't'", {"t": 1}),
    header("no offsets", "data_offsets", {"t": {"dtype": "F32", "shape": [2]}}),
    header("three offsets", "data_offsets", {"t": field() | {"data_offsets": [0, 4, 8]}}, bytes(8)),
    header("offsets of text", "data_offsets", {"t": field(begin="0")}, bytes(8)),
    header("offset of a float", "data_offsets", {"t": field(end=8.0)}, bytes(8)),
    header(
        "offset of a truth value", "data_offsets", {"t": field("U8", (1,), False, True)}, bytes(1)
    ),
    header("offsets in reverse", "data_offsets", {"t": field(begin=8, end=0)}, bytes(8)),
    header("negative offset", "data_offsets", {"t": field(begin=-8)}, bytes(8)),
    header("unknown dtype", "unknown dtype", {"t": field("F31")}, bytes(8)),
    header("dtype of a list", "unknown dtype", {"t": field(["F32"])}, bytes(8)),
    header("dtype with an escape", "\\x1b", {"t": field("\x1b[2J")}, bytes(8)),
    header("negative size", "shape", {"t": field(shape=(-2,))}, bytes(8)),
    header("sizes that overflow", "shape", {"t": field(shape=(2**62, 4), end=0)}),
    header("giant beside zero", "shape", {"t": field(shape=(2**70, 0), end=0)}),
    header("thousand dimensions", "shape", {"t": field(shape=(1,) * 1000, end=4)}, bytes(4)),
    header("shape of another size", "bits", {"t": field(shape=(3,))}, bytes(8)),
    header("beyond the end", "truncated file", {"t": field(begin=8, end=16)}, bytes(8)),
    header("overlap", "overlaps", {"t": field(), "u": field(begin=4, end=12)}, bytes(12)),
    header("same bytes twice", "overlaps", {"t": field(), "u": field()}, bytes(8)),
    header("hole", "belong to no tensor", {"t": field(), "u": field(begin=12, end=20)}, bytes(20)),
    header("name with an escape", "not printable", {"\x1b[2J": field()}, bytes(8)),
    header("name with a workflow command", "not printable", {"\n::error::x": field()}, bytes(8)),
    header("name with a bidi override", "not printable", {"a\u202eb": field()}, bytes(8)),
    header("name of 10000 letters", "not printable", {"n" * 10_000: field()}, bytes(8)),
    header("name that leads out", "no-lora-tensors", {"../../etc/passwd": field()}, bytes(8)),
    header("no tensors", "no ", {}),
    header("tensor of no values", "pair-incomplete", {NAME: field(shape=(0, 4), end=0)}),
    header(
        "hundred thousand tensors",
        "header",
        {f"t{i}": field(shape=(0,), end=0) for i in range(300_000)},
    ),
    raw("cut in the data", "truncated file", WEIGHTS[:-4]),
    raw("more bytes", "belong to no tensor", WEIGHTS + b"\0\0"),
    raw("zip at the end", "belong to no tensor", WEIGHTS + b"PK\5\6" + bytes(18)),
    # values
    raw("NaN", "NaN or Inf", one(float("nan")), code=1),
    raw("infinity", "NaN or Inf", one(float("inf")), code=1),
    raw("denormal", "ok: adapter", one(1e-45), code=0),
    raw("3e38", "9.52e+77", one(3e38), code=0),
    raw("NaN of float64", "NaN or Inf", tensors(lambda _, t: np.full(t.shape, np.nan)), code=1),
    raw("1e308 of float64", "norms-skipped", tensors(lambda _, t: np.full(t.shape, 1e308)), code=0),
    raw("all zero", "never trained", tensors(lambda _, t: t * 0), code=1),
    Case(
        "fp8 with NaN",
        STATIC,
        2,
        "NaN or Inf",
        adapter(safetensors({NAME: field("F8_E4M3", (8,))}, b"\x7f" * 8)),
    ),
    raw("integers", "dtype-not-float", tensors(lambda _, t: t.astype(np.int32))),
    raw("complex", "pair-incomplete", safetensors({NAME: field("C64", (1,))}, bytes(8))),
    # other formats
    files("pickle", "can run code", only("adapter_model.bin", EVIL)),
    Case(
        "pickle beside the weights",
        STATIC,
        0,
        "is ignored",
        adapter() | {"adapter/adapter_model.bin": EVIL},
    ),
    files("pickle under the weights' name", "safetensors", adapter(EVIL)),
    files("zip under the weights' name", "safetensors", adapter(b"PK\3\4" + bytes(100))),
    files("checkpoint", "pickle", {"adapter/x.pt": EVIL}, "static adapter/x.pt"),
    files("archive of numpy", "MLX", only("adapters.npz", EVIL)),
    files("GGUF", "GGUF", {"adapter/a.gguf": b"GGUF" + struct.pack("<IQQ", 3, 2**60, 2**60)}),
    files("GGUF adapter", "GGUF", {"adapter/a.gguf": b"GGUF" + bytes(99)}, "static adapter/a.gguf"),
    files("archive", "archive", {"adapter.zip": b"PK\3\4"}, "static adapter.zip"),
    files(
        "Git LFS pointer",
        "Git LFS pointer",
        adapter(b"version https://git-lfs.github.com/spec/v1\n"),
    ),
    files(
        "state of a training",
        "training",
        {"adapter/optimizer.pt": EVIL, "adapter/scheduler.pt": EVIL},
    ),
    files(
        "full model",
        "full model",
        {"adapter/config.json": "{}", "adapter/model.safetensors": WEIGHTS},
    ),
    *MLX,
    # files
    files("pipe", "adapter_model.safetensors", only("adapter_model.safetensors", pipe)),
    files(
        "folder as weights", "adapter_model.safetensors", only("adapter_model.safetensors", folder)
    ),
    files(
        "device", "adapter_model.safetensors", only("adapter_model.safetensors", to("/dev/zero"))
    ),
    files(
        "link to itself",
        "adapter_model.safetensors",
        only("adapter_model.safetensors", to("adapter_model.safetensors")),
    ),
    files(
        "link to the secret",
        "truncated or not safetensors",
        only("adapter_model.safetensors", to("../.git-credentials")),
    ),
    files(
        "sparse 200 GB of zeros", "not JSON", only("adapter_model.safetensors", sparse(200 * 10**9))
    ),
    files(
        "sparse 200 GB after the weights",
        "belong to no tensor",
        only("adapter_model.safetensors", sparse(200 * 10**9, WEIGHTS)),
    ),
    Case(
        "sparse 200 GB in a gate",
        "gate sway.yaml",
        2,
        "belong to no tensor",
        own_spec()
        | only("adapter_model.safetensors", sparse(200 * 10**9, WEIGHTS))
        | {"base/config.json": "{}", "base/model.safetensors": WEIGHTS},
    ),
    *(
        Case(
            f"gate of {name}",
            GATE,
            code,
            words,
            spec(ft="{base: '{demo}/model', adapter: ./adapter}") | adapter(weights),
            heavy=True,
        )
        for name, code, words, weights in GATED
    ),
    files(
        "header of 60 MB",
        "the limit is",
        only("adapter_model.safetensors", sparse(10**8, claims(60 << 20))),
    ),
]
