"""Read and check the files of an MLX adapter, as mlx-lm writes them.

An adapted module computes y = Wx + scale · (x · lora_a) · lora_b, with lora_a [in, r] and
lora_b [r, out]. DoRA has a magnitude m [out] in addition. A full fine-tune has whole parameters.
"""

import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, NamedTuple

import msgspec

from sway_gate.model_files.config import json_object
from sway_gate.model_files.hub import ADAPTER_CONFIG, MLX_WEIGHTS
from sway_gate.results import Finding
from sway_gate.static.adapter import Adapter
from sway_gate.static.agreement import inspect
from sway_gate.static.base import Base, base_findings
from sway_gate.static.code_files import code_files
from sway_gate.static.config import AdapterConfig, Alpha, Rank, config_object
from sway_gate.static.content import FLOATS, Content, scan_all
from sway_gate.static.findings import Fatal, compact, finding, quote
from sway_gate.static.fit import fit_findings
from sway_gate.static.norms import ModuleNorm
from sway_gate.static.tokenizer import tokenizer_findings
from sway_gate.static.weights import Weights, read_weights

LEAVES = ("lora_a", "lora_b", "m")
_CONVERSION = re.compile(r"(?i)mlx-community/|[-_.](mlx|\d+-?bit)\b(?!.*/)")
_LAYER = re.compile(r"model\.layers\.(\d+)\.(.+)")
_SAVE_AGAIN = "train with mlx_lm.lora again, or use the config of the same training run"


class _Parameters(msgspec.Struct, frozen=True, kw_only=True):
    rank: Rank
    scale: Alpha
    alpha: Alpha | None = None
    keys: tuple[str, ...] | None = None


class MlxConfig(msgspec.Struct, frozen=True, kw_only=True):
    """The fields of mlx-lm's adapter_config.json that determine the change of the weights.

    `num_layers`: the adapter changes this number of layers, counted from the last; below 1: all.
    """

    fine_tune_type: Literal["lora", "dora", "full"] = "lora"
    model: str | None = None
    num_layers: int = -1
    lora_parameters: _Parameters | None = None

    @property
    def parameters(self) -> _Parameters:
        return self.lora_parameters or _Parameters(rank=1, scale=1.0)


class MlxAdapter(NamedTuple):
    """The config, the tensors, and the tensors of each adapted module by their last name."""

    config: MlxConfig
    weights: Weights
    modules: dict[str, dict[str, str]]


def is_mlx(folder: Path) -> bool:
    """Whether mlx-lm wrote the files, not peft."""
    fields = json_object(folder / ADAPTER_CONFIG)
    is_written_so = (folder / MLX_WEIGHTS).is_file() or "fine_tune_type" in fields
    return is_written_so and "peft_type" not in fields


def is_conversion(base: str) -> bool:
    """Whether the base's name denotes a conversion for MLX, such as mlx-community/X-4bit."""
    return _CONVERSION.search(base) is not None


def read_mlx(folder: Path) -> MlxAdapter:
    """The adapter in `folder`. Raises Fatal if a file is invalid or has other tensors."""
    config = _config(folder / ADAPTER_CONFIG)
    weights = read_weights(folder, MLX_WEIGHTS)
    modules: dict[str, dict[str, str]] = defaultdict(dict)
    for name, tensor in weights.tensors.items():
        if tensor.dtype not in FLOATS:
            message = f"tensor {quote(name)} is {tensor.dtype}; needs {', '.join(FLOATS)}"
            raise Fatal("mlx-tensor", weights.path, message, _SAVE_AGAIN)
        module, _, leaf = name.rpartition(".")
        modules[module][leaf] = name
    if config.fine_tune_type != "full":
        _check_tensors(config, weights, modules)
    return MlxAdapter(config, weights, dict(modules))


def _config(path: Path) -> MlxConfig:
    raw = config_object(path)
    fields = {name: raw[name] for name in MlxConfig.__struct_fields__ if raw.get(name) is not None}
    if "num_layers" not in fields and raw.get("lora_layers") is not None:
        fields["num_layers"] = raw["lora_layers"]
    if raw.get("use_dora") is True:
        fields["fine_tune_type"] = "dora"
    if fields.get("fine_tune_type") != "full":
        fields.setdefault("lora_parameters", raw)  # other tools write them at the top
    try:
        return msgspec.convert(fields, MlxConfig)
    except (msgspec.ValidationError, OverflowError) as error:
        raise Fatal("config-field", path, f"an MLX adapter: {error}", _SAVE_AGAIN) from None


def _check_tensors(config: MlxConfig, weights: Weights, modules: dict[str, dict[str, str]]) -> None:
    """Raise Fatal unless each module has two factors of the config's rank and, for DoRA, an m."""
    wanted = set(LEAVES if config.fine_tune_type == "dora" else LEAVES[:2])
    for module, tensors in modules.items():
        if odd := [name for leaf, name in tensors.items() if leaf not in wanted]:
            message = f"tensor {quote(odd[0])} is none of an MLX {config.fine_tune_type} adapter"
            raise Fatal("mlx-tensor", weights.path, message, _SAVE_AGAIN)
        if missing := wanted - tensors.keys():
            message = f"module {quote(module)} lacks {', '.join(sorted(missing))}"
            raise Fatal("mlx-tensor", weights.path, message, _SAVE_AGAIN)
        a, b = (weights.tensors[tensors[leaf]].shape for leaf in LEAVES[:2])
        if len(a) == len(b) == 3:
            message = f"module {quote(module)} adapts experts; this is not supported for MLX"
            raise Fatal("mlx-experts", weights.path, message, "convert the adapter to peft's form")
        rank = config.parameters.rank
        if len(a) != 2 or len(b) != 2 or a[1] != rank or b[0] != rank or 0 in (*a, *b):
            message = f"module {quote(module)} has factors {list(a)} and {list(b)}"
            needed = f"needs [in, {rank}] and [{rank}, out]"
            raise Fatal("mlx-tensor", weights.path, f"{message}, {needed}", _SAVE_AGAIN)
        # An embedding has a magnitude per token, which is its input.
        if "m" in tensors and (m := weights.tensors[tensors["m"]].shape) not in ((b[1],), (a[0],)):
            message = f"tensor {quote(tensors['m'])} has shape {list(m)}, needs [{b[1]}]"
            raise Fatal("mlx-tensor", weights.path, message, _SAVE_AGAIN)


def outside_config(adapter: MlxAdapter, layers: int) -> list[str]:
    """The modules that mlx-lm does not adapt in a model of `layers` layers."""
    return [module for module in adapter.modules if not _is_adapted(adapter.config, module, layers)]


def _is_adapted(config: MlxConfig, module: str, layers: int) -> bool:
    """Whether mlx-lm adapts the module: by its name in `keys`, or in one of the last layers."""
    keys, count = config.parameters.keys, config.num_layers
    if keys is not None and module in keys:
        return True
    match = _LAYER.fullmatch(module)
    if match is None or (keys is not None and match[2] not in keys):
        return False
    return count < 1 or int(match[1]) >= layers - count


class MlxReport(NamedTuple):
    """The findings; the config in peft's terms and the norms, if the files are valid."""

    findings: tuple[Finding, ...]
    config: AdapterConfig | None = None
    modules: tuple[ModuleNorm, ...] = ()


def check_mlx(here: Path, base: Base | None) -> MlxReport:
    """Check the MLX adapter in `here`; `base` as in `check_files`."""
    try:
        adapter = read_mlx(here)
    except Fatal as fatal:
        return MlxReport((fatal.finding,))
    content, findings = scan_all(adapter.weights)
    found = (*_notes(here, adapter, base), *code_files(here), *findings)
    found += (*tokenizer_findings(here, base.folder if base else None),)
    if adapter.config.fine_tune_type == "full":
        return MlxReport(found, AdapterConfig(peft_type="FULL"))
    common = _common(adapter, content)
    norms, problems = inspect(common)
    misfits = _misfits(adapter, common, base.folder) if base and base.folder else ()
    return MlxReport((*found, *misfits, *problems), common.config, norms)


def _misfits(adapter: MlxAdapter, common: Adapter, base: Path) -> Iterator[Finding]:
    """Modules that mlx-lm or the base do not have."""
    layers = json_object(base / "config.json").get("num_hidden_layers")
    if isinstance(layers, int) and (outside := outside_config(adapter, layers)):
        message = f"modules outside num_layers and keys of the config: {compact(outside)}"
        yield common.finding("broken", "mlx-layers", message, _SAVE_AGAIN)
    else:
        yield from fit_findings(common, base)


def _common(adapter: MlxAdapter, content: dict[str, Content]) -> Adapter:
    """The adapter in peft's terms.

    It changes the transposed weights: ΔWᵀ = scale · lora_a · lora_b has the norms of ΔW. So lora_a
    is the B, and lora_b is the A.
    """
    parameters, weights = adapter.config.parameters, adapter.weights
    config = AdapterConfig(
        peft_type="LORA",
        base_model_name_or_path=adapter.config.model,
        r=parameters.rank,
        lora_alpha=parameters.scale * parameters.rank,
        target_modules=tuple(adapter.modules),
    )
    parts = {
        module: {"A": tensors["lora_b"], "B": tensors["lora_a"]}
        for module, tensors in adapter.modules.items()
    }
    kinds = {name: "trained" if name.endswith(".m") else "lora" for name in weights.tensors}
    return Adapter(config, weights, content, kinds, parts)


def _notes(here: Path, adapter: MlxAdapter, base: Base | None) -> Iterator[Finding]:
    path, config = here / ADAPTER_CONFIG, adapter.config
    message = f"an MLX adapter (fine_tune_type {config.fine_tune_type}): read as mlx-lm does"
    yield finding("note", "mlx", path, message)
    if base and config.model and config.model != base.ref and is_conversion(config.model):
        message = (
            f"the adapter was trained on {quote(config.model)}, a conversion for MLX; "
            "cannot verify that the base is its original"
        )
        yield finding("note", "mlx-base", path, message)
    else:
        common = AdapterConfig(peft_type="LORA", base_model_name_or_path=config.model)
        yield from base_findings(here, common, base)
    parameters = config.parameters
    if parameters.alpha is not None and parameters.alpha != parameters.rank:
        message = f"alpha {parameters.alpha:g} is ignored, as by mlx-lm since June 2024"
        yield finding("warning", "mlx-alpha", path, message, "check the scale in the config")
    if config.fine_tune_type == "dora":
        message = "DoRA: norms are for s·B·A, before the magnitudes are applied"
        yield finding("note", "dora-norms", path, message)
