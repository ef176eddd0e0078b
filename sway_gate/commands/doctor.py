"""`sway doctor`: list the parts of this installation. Only torch is imported, for the devices."""

import argparse
import os
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from sway_gate import output
from sway_gate.commands import cache as cache_command
from sway_gate.commands._common import Add, print_json, print_text
from sway_gate.commands._formats import json_argument
from sway_gate.version import __version__

_NETWORK = {
    "offline": "offline: models are read from disk (--online or SWAY_ONLINE=1 allows downloads)",
    "online": "online: missing models are downloaded",
}


class Extra(NamedTuple):
    """An optional part: its purpose and the distributions that it installs."""

    purpose: str
    packages: tuple[str, ...]


CORE = ("numpy", "pyyaml", "msgspec", "jinja2", "junit-xml", "rich")
EXTRAS = {
    "hf": Extra(
        "judge models: every probe needs it",
        ("torch", "transformers", "tokenizers", "safetensors", "peft", "huggingface-hub"),
    ),
    "mlx": Extra("kind: mlx, models of mlx-lm", ("mlx", "mlx-lm")),
    "semsim": Extra(
        "probes that compare meanings", ("sentence-transformers", "scikit-learn", "threadpoolctl")
    ),
    "qlora": Extra("bases quantized to nf4 or int8", ("bitsandbytes", "accelerate")),
    "style": Extra("extended style fingerprints", ("spacy", "textstat")),
    "dlm": Extra("suites from .dlm documents", ("document-language-model",)),
    "data": Extra("training data in Parquet, Arrow and zstd files", ("pyarrow",)),
    "viz": Extra("pictures in the HTML report", ("matplotlib",)),
    "api": Extra("kind: api, and sway parity with servers", ("httpx", "tenacity")),
    "gguf": Extra("sway parity with GGUF files", ("llama-cpp-python", "gguf")),
    "ray": Extra("sway fleet", ("ray", "psutil")),
    "completion": Extra("completion in a shell", ("shtab",)),
    "pytest": Extra("verdicts as pytest items", ("pytest",)),
}


def add_to(add: Add) -> None:
    doctor = add(
        "doctor",
        _doctor,
        "List installed and missing parts, devices, caches and models.",
        "sway doctor",
    )
    json_argument(doctor)


def _doctor(args: argparse.Namespace) -> int:
    output.check_targets({"--json": args.json}, [])
    found = facts()
    return print_text(render(found)) if args.json is None else print_json(found, args.json)


def facts() -> dict[str, Any]:
    """Versions, devices, caches and network state, ready for JSON."""
    import platform

    return {
        "sway_gate": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "core": {name: _version(name) for name in CORE},
        "extras": {name: _extra(name, extra) for name, extra in EXTRAS.items()},
        "devices": _devices(),
        "cache": _cache(),
        "hub": _hub(),
        "network": "offline" if os.environ.get("HF_HUB_OFFLINE") == "1" else "online",
    }


def _version(distribution: str) -> str | None:
    from importlib import metadata

    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def _extra(name: str, extra: Extra) -> dict[str, Any]:
    return {
        "purpose": extra.purpose,
        "packages": {package: _version(package) for package in extra.packages},
        "install": f"pip install 'sway-gate[{name}]'",
    }


def _devices() -> dict[str, Any]:
    """The devices and threads that torch uses; `problem` if torch is missing or does not start."""
    from importlib.util import find_spec

    from sway_gate.backends import processor

    cores = {"cpu_count": os.cpu_count()}
    if find_spec("torch") is None:
        return cores | {"problem": "torch is not installed"}
    try:
        import torch

        cuda = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
        mps = torch.backends.mps.is_available()
        rates = processor.rates()
        return cores | {
            "bfloat16_ratio": round(rates.ratio, 1) if rates else None,
            "prefers_bfloat16": rates is not None and rates.prefers_bfloat16,
            "torch": torch.__version__,
            "threads": torch.get_num_threads(),
            "cuda": cuda,
            "mps": mps,
        }
    except Exception as error:  # this command exists for broken installations
        return cores | {"problem": f"torch does not start: {type(error).__name__}: {error}"}


def _cache() -> dict[str, Any]:
    from sway_gate import cache

    entries, size_bytes = cache.size()
    return {"folder": str(cache.cache_dir()), "entries": entries, "bytes": size_bytes}


def _hub() -> dict[str, Any]:
    """The models in the hub cache and in the installation: folders models--ORG--NAME."""
    from sway_gate.model_files.hub import cache_folder, folders

    names = {path.name for folder in folders() for path in folder.glob("models--*")}
    models = [name.removeprefix("models--").replace("--", "/") for name in names]
    return {"folder": str(cache_folder()), "models": sorted(models)}


def render(found: Mapping[str, Any]) -> str:
    """The facts as text."""
    return "\n".join([*_lines(found), ""])


def _lines(found: Mapping[str, Any]) -> Iterator[str]:
    yield f"sway-gate {found['sway_gate']}, Python {found['python']}, {found['platform']}"
    yield f"core      {_listed(found['core'])}"
    yield from ("", "extras")
    for name, extra in found["extras"].items():
        yield f"  {name:12}{_state(extra)}"
    devices, cache, hub = found["devices"], found["cache"], found["hub"]
    yield from ("", f"devices   {_device_words(devices)}")
    if ratio := devices.get("bfloat16_ratio"):
        chosen = "bf16 for large or 16-bit bases" if devices["prefers_bfloat16"] else "fp32"
        yield (
            f"dtype     auto on this CPU is {chosen}: "
            f"it multiplies bfloat16 {ratio} times as fast as float32"
        )
    yield f"cache     {cache['folder']}: {cache_command.amount(cache['entries'], cache['bytes'])}"
    yield f"hub       {hub['folder']}: {', '.join(hub['models']) or 'no models'}"
    yield f"network   {_NETWORK[found['network']]}"


def _state(extra: Mapping[str, Any]) -> str:
    packages = extra["packages"]
    if all(packages.values()):
        return f"ready: {_listed(packages)}"
    return f"{extra['purpose']}: {extra['install']}"


def _listed(packages: Mapping[str, str | None]) -> str:
    return ", ".join(f"{name} {version or 'MISSING'}" for name, version in packages.items())


def _device_words(devices: Mapping[str, Any]) -> str:
    if problem := devices.get("problem"):
        return f"{problem}; {devices['cpu_count']} cores"
    found = ["cpu", *devices["cuda"]]
    if devices["mps"]:
        found.append("mps")
    return f"{', '.join(found)}; {devices['threads']} threads on {devices['cpu_count']} cores"
