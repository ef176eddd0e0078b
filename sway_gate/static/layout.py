"""The part of the static check that reads no values of tensors, and loads no numpy."""

from pathlib import Path

from sway_gate.model_files.hub import ADAPTER_CONFIG, ADAPTER_WEIGHTS, MLX_WEIGHTS
from sway_gate.results import Finding
from sway_gate.static.config import read_config
from sway_gate.static.findings import Fatal, broken
from sway_gate.static.weights import read_header


def layout_faults(folder: Path) -> list[Finding]:
    """The faults of an adapter's config, and of the header of its weights."""
    is_mlx = not (folder / ADAPTER_WEIGHTS).exists() and (folder / MLX_WEIGHTS).exists()
    try:
        found = [] if is_mlx else read_config(folder / ADAPTER_CONFIG)[1]
        read_header(folder, MLX_WEIGHTS if is_mlx else ADAPTER_WEIGHTS)
    except Fatal as fatal:
        return [fatal.finding]
    except OSError as error:
        path, message = Path(error.filename or folder), f"cannot be read: {error.strerror}"
        return [broken("unreadable", path, message, "make it readable")]
    return [finding for finding in found if finding.level == "broken"]
