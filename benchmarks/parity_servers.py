"""Servers of llama-cpp-python with known truth."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from benchmarks.parity_artefacts import BASE, SAME
from benchmarks.to_gguf import convert, convert_adapter, quantize


class Serving(NamedTuple):
    """`options` of the server; `base`: what is given as --served-base."""

    name: str
    truth: str
    options: tuple[str, ...]
    base: Path | None = None


def servers(folder: Path, trained: Path) -> list[Serving]:
    """The servers of the adapter `trained`, and the files that they need besides the artefacts."""
    base = made(folder / "base-F16.gguf", lambda out: convert(BASE, out))
    quantized = made(folder / "base-Q4_0.gguf", lambda out: quantize(base, out, "Q4_0"))
    adapter = made(folder / "adapter.gguf", lambda out: convert_adapter(trained, BASE, out))
    merged, merged_q4 = folder / "merged, F16.gguf", folder / "merged, Q4_0.gguf"
    return [
        Serving("server: merged, F16", SAME, model(merged)),
        Serving("server: base and adapter, F16", SAME, (*model(base), "--lora_path", str(adapter))),
        Serving("server: adapter left out, F16", "adapter not applied", model(base)),
        Serving("server: adapter left out, Q4_0", "adapter not applied", model(quantized)),
        Serving("server: merged, Q4_0", "precision not stated", model(merged_q4)),
        Serving("server: merged, Q4_0, with --served-base", SAME, model(merged_q4), quantized),
        Serving(
            "server: merged, F16, another chat template",
            "template differs",
            (*model(merged), "--chat_format", "chatml"),
        ),
    ]


def model(path: Path) -> tuple[str, ...]:
    return "--model", str(path), "--model_alias", "model"


def made(out: Path, make: Callable[[Path], Path]) -> Path:
    return out if out.exists() else make(out)
