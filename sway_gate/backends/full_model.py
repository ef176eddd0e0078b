"""A fine-tuned model without an adapter, as changes of its base's weights.

The files of both are read tensor by tensor, so that only one model is in memory. The base's files
must contain the loaded model's tensors, as they do if transformers loads them unchanged. If it
renames or fuses them, the fine-tuned model is loaded too, and both stay in memory.
"""

import inspect
import re
from collections.abc import Callable, Iterator, Mapping, Set
from functools import cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
import transformers
from safetensors import safe_open
from torch import Tensor, nn
from transformers import CONFIG_MAPPING, AutoConfig

from sway_gate.backends import loading
from sway_gate.backends.base import error_text
from sway_gate.errors import CannotDecide
from sway_gate.model_files.hub import weight_files
from sway_gate.model_files.shapes import oversized

_CPU = torch.device("cpu")
_ADVICE = "give a model that was fine-tuned from this base"
# Fields of config.json that do not change what a loaded model computes.
_NEUTRAL = frozenset(
    {
        "_name_or_path",
        "architectures",
        "bos_token_id",
        "dtype",
        "eos_token_id",
        "initializer_range",
        "pad_token_id",
        "torch_dtype",
        "transformers_version",
        "use_cache",
    }
)
_NEUTRAL_ENDINGS = ("dropout", "pdrop", "dropout_prob")

# Values that older versions of transformers saved, and that every version computes by itself.
_BUFFERS = (".rotary_emb.inv_freq", ".attn.bias", ".attn.masked_bias", ".attention.masked_bias")

Read = Callable[[], Tensor]


class Change(NamedTuple):
    """One tensor of the model, its values in the base and those in the fine-tuned model."""

    target: Tensor
    base: Read
    tuned: Read


class Changes(NamedTuple):
    """The tensors that training changed, by name, and a note for the report."""

    tensors: Mapping[str, Change]
    note: str


def read(network: Any, source: loading.Source) -> Changes:
    """The changes from the base, whose weights the network has, to the model in `source.adapter`.

    Raises CannotDecide if the two are not the same architecture with the same tensors.
    """
    if getattr(network, "is_quantized", False):
        raise CannotDecide(
            f"{source.base}: a fine-tuned model without an adapter cannot be compared with a"
            " quantized base; give the base without quantization"
        )
    if network.dtype != torch.float32:
        raise CannotDecide(
            f"{source.adapter}: a fine-tuned model without an adapter is compared in float32, in"
            " which small random changes do not vanish; set dtype to fp32 or auto"
        )
    check_config(network, source)
    note = "fine-tuned model without an adapter: runs one view at a time"
    changes = _of_files(network, source)
    if changes is None:
        changes = _of_models(network, source)
        note += (
            "; both models are in memory, because transformers converts the tensors of the files"
        )
    return Changes({n: c for n, c in changes.items() if _is_changed(n, c, source.adapter)}, note)


def _is_changed(name: str, change: Change, folder: Path) -> bool:
    old, new = change.base(), change.tuned()
    if old.shape != new.shape:
        raise CannotDecide(
            f"{folder}: tensor {name} has the shape {list(new.shape)}, in the base"
            f" {list(old.shape)}; {_ADVICE}"
        )
    if _equal(old, new):
        return False
    if not (old.is_floating_point() and new.is_floating_point()):
        raise CannotDecide(f"{folder}: tensor {name} differs, but is not of floats; {_ADVICE}")
    return True


def check_config(network: Any, source: loading.Source, *, ending: str = "") -> None:
    """Raise CannotDecide if a field of the configurations differs that changes the model.

    Only fields whose names have the `ending` are compared. The number of embeddings is the one of
    `network`, the base.
    """
    theirs, ours = _config(source, source.adapter), _config(source, source.base)
    rows = network.get_input_embeddings().weight.shape[0]
    for field in sorted(theirs.keys() | ours.keys(), key=lambda f: (f != "model_type", f)):
        if theirs.get(field) == ours.get(field) or _is_neutral(field):
            continue
        if field.endswith("vocab_size") and theirs.get(field) == rows:
            continue
        if field.endswith(ending) and (source.trust_remote_code or _is_read(field, ours)):
            advice = _ADVICE if ending else f"{_ADVICE}, or set differential to false in a spec"
            raise CannotDecide(
                f"{source.adapter / 'config.json'}: {field} is {theirs.get(field)!r},"
                f" in the base {ours.get(field)!r}; {advice}"
            )


def _config(source: loading.Source, folder: Path) -> dict[str, Any]:
    """The fields of a configuration with transformers' defaults; nested ones as outer.inner."""
    if wrong := oversized(folder):
        raise CannotDecide(f"{folder}: {wrong}; download it again")
    try:
        config = AutoConfig.from_pretrained(
            str(folder), local_files_only=True, trust_remote_code=source.trust_remote_code
        )
        return dict(_flat(config.to_dict()))
    except Exception as error:  # transformers raises arbitrary exceptions on invalid files
        raise CannotDecide(f"{folder / 'config.json'}: {error_text(error)}") from None


def _flat(fields: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in fields.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _is_neutral(field: str) -> bool:
    name = field.rpartition(".")[2]
    return name in _NEUTRAL or name.endswith(_NEUTRAL_ENDINGS)


def _is_read(field: str, config: Mapping[str, Any]) -> bool:
    """Whether transformers' code contains the name of each part of the field.

    Training tools add fields that no model reads.
    """
    code = _code(str(config["model_type"]))
    return all(re.search(rf"\b{re.escape(name)}\b", code) for name in field.split("."))


@cache
def _code(model_type: str) -> str:
    """The source of the parts that all models share, and of the architecture."""
    architecture = Path(inspect.getfile(CONFIG_MAPPING[model_type])).parent
    shared = Path(transformers.__file__).parent
    folders = (shared, shared / "generation", shared / "integrations", architecture)
    return "".join(path.read_text("utf-8") for folder in folders for path in folder.glob("*.py"))


def _targets(network: nn.Module) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The parameters and saved buffers by name, and each other name of one that is tied."""
    targets: dict[str, Tensor] = {}
    tied: dict[str, str] = {}
    names: dict[int, str] = {}
    for name, tensor in network.state_dict(keep_vars=True).items():
        if (first := names.setdefault(id(tensor), name)) == name:
            targets[name] = tensor.detach()
        else:
            tied[name] = first
    return targets, tied


def _of_files(network: Any, source: loading.Source) -> dict[str, Change] | None:
    """The changes between the tensors of the files.

    None if the base's files do not contain the tensors of the loaded model.
    """
    targets, tied = _targets(network)
    base, tuned = (
        _tensors(folder, f"{network.base_model_prefix}.", targets.keys() | tied.keys())
        for folder in (source.base, source.adapter)
    )
    for tensors in (base, tuned):
        for name in tied.keys() & tensors.keys():
            tensors.setdefault(tied[name], tensors[name])
    rows = network.get_input_embeddings().weight.shape[0]
    for name, target in targets.items():
        if name in base and target.shape[:1] == (rows,) and _is_resized(base[name](), target):
            base[name] = partial(_same, target.clone())
    if not all(n in base and _equal(base[n](), target) for n, target in targets.items()):
        return None
    if missing := targets.keys() - tuned.keys():
        raise CannotDecide(
            f"{source.adapter}: tensor {min(missing)} of the base is missing; {_ADVICE}"
        )
    for name in sorted(tuned.keys() - targets.keys()):
        if name in tied:
            if not _equal(tuned[name](), tuned[tied[name]]()):
                raise CannotDecide(
                    f"{source.adapter}: tensors {name} and {tied[name]} differ, but are one in the"
                    f" base; {_ADVICE}"
                )
        elif name not in base and not name.endswith(_BUFFERS):
            raise CannotDecide(f"{source.adapter}: the base has no tensor {name}; {_ADVICE}")
    return {n: Change(target, base[n], tuned[n]) for n, target in targets.items()}


def _is_resized(old: Tensor, new: Tensor) -> bool:
    """Whether only the number of rows differs: the embeddings were resized after loading."""
    return old.shape != new.shape and old.shape[1:] == new.shape[1:]


def _tensors(folder: Path, prefix: str, known: Set[str]) -> dict[str, Read]:
    """The tensors of a model's files, which are read when they are called.

    Some files were saved without the `prefix` of the `known` names. Raises CannotDecide if a file
    is invalid.
    """
    tensors: dict[str, Read] = {}
    for path in weight_files(folder):
        try:
            file: Any = safe_open(path, framework="pt")
        except Exception as error:  # safetensors has its own exception type
            raise CannotDecide(f"{path}: cannot be read: {error_text(error)}") from None
        for name in file.keys():  # noqa: SIM118
            full = prefix + name if name not in known and prefix + name in known else name
            tensors[full] = partial(file.get_tensor, name)
    return tensors


def _of_models(network: nn.Module, source: loading.Source) -> dict[str, Change]:
    """The changes between the loaded base and the fine-tuned model, which is loaded too."""
    targets, _ = _targets(network)
    theirs, _ = _targets(loading.load_model(source._replace(base=source.adapter), _CPU))
    if different := targets.keys() ^ theirs.keys():
        raise CannotDecide(
            f"{source.adapter}: only one of the two models has the tensor {min(different)};"
            f" {_ADVICE}"
        )
    return {
        name: Change(target, partial(_same, target.clone()), partial(_same, theirs[name]))
        for name, target in targets.items()
    }


def _same(tensor: Tensor) -> Tensor:
    return tensor


def _equal(a: Tensor, b: Tensor) -> bool:
    """Whether the values are equal, in a dtype that can represent both."""
    dtype = torch.promote_types(a.dtype, b.dtype)
    return a.shape == b.shape and torch.equal(a.to(b.device, dtype), b.to(dtype))
