"""What the files of an adapter are called, and what both config and weights are refused for."""

from pathlib import Path
from typing import Any

from sway_gate.static.findings import Fatal

CONFIG = "adapter_config.json"
WEIGHTS = "adapter_model.safetensors"
PICKLE = "adapter_model.bin"
LFS = b"version https://git-lfs"


def refuse_pointer(id: str, path: Path, start: bytes) -> None:
    """Raises `Fatal` where a file that starts so stands in for content that Git LFS keeps elsewhere."""
    if start.startswith(LFS):
        message = f"{path.name} is a Git LFS pointer, its content was not downloaded"
        raise Fatal(id, path, message, "run `git lfs pull` in the repository")


def no_constant(name: str) -> Any:
    """`parse_constant` for `json.loads`, which would take NaN and Infinity for numbers."""
    raise ValueError(f"{name} is not JSON")
