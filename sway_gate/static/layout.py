"""The part of the static check that reads no values of tensors, and loads no numpy."""

from pathlib import Path

from sway_gate.model_files.hub import ADAPTER_CONFIG, ADAPTER_WEIGHTS, MLX_WEIGHTS, weight_files
from sway_gate.model_files.kinds import not_a_base
from sway_gate.results import Finding
from sway_gate.static.config import read_config
from sway_gate.static.findings import DOWNLOAD, Fatal, unreadable
from sway_gate.static.weights import read_header


def layout_faults(folder: Path, *, is_full: bool) -> list[Finding]:
    """The faults of an adapter's config, and of the header of its weights.

    `is_full`: of the headers of a fine-tuned model without an adapter.
    """
    try:
        found = _of_model(folder) if is_full else _of_adapter(folder)
    except Fatal as fatal:
        return [fatal.finding]
    except OSError as error:
        return [unreadable(folder, error)]
    return [finding for finding in found if finding.level == "broken"]


def _of_adapter(folder: Path) -> list[Finding]:
    is_mlx = not (folder / ADAPTER_WEIGHTS).exists() and (folder / MLX_WEIGHTS).exists()
    found = [] if is_mlx else read_config(folder / ADAPTER_CONFIG)[1]
    read_header(folder, MLX_WEIGHTS if is_mlx else ADAPTER_WEIGHTS)
    return found


def _of_model(folder: Path) -> list[Finding]:
    if (folder / ADAPTER_CONFIG).is_file():
        remedy = "give it as an adapter"
        raise Fatal("model-is-adapter", folder, f"contains {ADAPTER_CONFIG}", remedy)
    if kind := not_a_base(folder):
        raise Fatal("not-a-model", folder, kind.message, kind.remedy)
    files = weight_files(folder)
    if not files:
        message = "contains no model.safetensors and no index of its shards"
        remedy = "give the folder of a model that save_pretrained() wrote"
        raise Fatal("model-weights-missing", folder, message, remedy)
    for path in files:
        if not path.is_file():
            raise Fatal("model-shard-missing", path, "this shard is missing", DOWNLOAD)
        read_header(folder, path.name)
    return []
