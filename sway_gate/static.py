"""What a LoRA adapter's files alone tell, without the base model, torch or peft.

`check` reads `adapter_config.json` and `adapter_model.safetensors` as hostile input: nothing in them can raise, run,
or make it allocate more than a small multiple of the files' real size. It names every lie of the safetensors header
(https://github.com/huggingface/safetensors#format), finds NaN and Inf, adapters and layers that were never trained,
contradictions between the config and the tensors, and gives the size of every module's update ΔW = s·B·A.
"""

import json
import math
import os
import re
import warnings
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any, NamedTuple, TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from sway_gate.result import Finding

CONFIG = "adapter_config.json"
WEIGHTS = "adapter_model.safetensors"
PICKLE = "adapter_model.bin"

MAX_CONFIG_BYTES = 4 << 20
MAX_HEADER_BYTES = 16 << 20
"""Some 95 000 tensors. Less than the format's own 100 MB: parsed JSON takes about twenty times its text."""

_MAX_NAME, _MAX_DIMS, _MAX_DIM = 512, 8, 1 << 48
_CHUNK = 1 << 20
"""Values that are looked at in one go."""
_MAX_RANK, _MAX_NORM_WORK = 2048, 2e12
"""Beyond them no norms: r of one module, and multiply-adds over all modules, about a minute."""
_MAX_PATTERN, _MAX_MATCH_WORK = 1000, 5e7
"""Beyond them no regex is run: its characters, and steps over all modules, a second or two."""

_LFS = b"version https://git-lfs"
_DOWNLOAD = "download or copy the file again"
_SAVE_AGAIN = "save the adapter again with save_pretrained()"
_MATCHING = "put config and weights of one and the same save_pretrained() call together"

Rank = Annotated[int, msgspec.Meta(ge=1, le=1 << 31)]
Alpha = Annotated[float, msgspec.Meta(ge=-1e12, le=1e12)]
Bits = NDArray[Any]
Doubles = NDArray[np.float64]
T = TypeVar("T")


class AdapterConfig(msgspec.Struct, frozen=True, kw_only=True):
    """What counts of adapter_config.json; a field that is missing or null has peft's default."""

    peft_type: str
    base_model_name_or_path: str | None = None
    r: Rank = 8
    lora_alpha: Alpha = 8
    target_modules: str | tuple[str, ...] | None = None
    target_parameters: tuple[str, ...] = ()
    modules_to_save: Annotated[tuple[str, ...], msgspec.Meta(max_length=100)] = ()
    rank_pattern: dict[str, Rank] = {}
    alpha_pattern: dict[str, Alpha] = {}
    bias: str = "none"
    lora_bias: bool = False
    use_dora: bool = False
    use_rslora: bool = False
    init_lora_weights: bool | str = True
    variants: tuple[str, ...] = ()
    """Switched-on variants whose update is not s·B·A (KaSA, BD-LoRA, …): shapes and norms are not checked."""


class ModuleNorm(msgspec.Struct, frozen=True, kw_only=True):
    """The update ΔW = s·B·A of one module, with s = alpha/r, or alpha/√r for rsLoRA; σ are its singular values."""

    module: str
    layer: int | None
    r: int
    frobenius: float
    """‖ΔW‖_F, in the units of the weights."""
    spectral: float
    """σ₁."""
    stable_rank: float
    """‖ΔW‖_F² / σ₁²; 0 where ΔW is 0."""
    effective_rank: float
    """exp of the entropy of σ/Σσ (Roy & Vetterli 2007); 0 where ΔW is 0."""


class StaticReport(msgspec.Struct, frozen=True, kw_only=True):
    """All that the files tell. `config` is None where it could not be read, `modules` lack what has no finite norm."""

    path: str
    findings: tuple[Finding, ...]
    modules: tuple[ModuleNorm, ...] = ()
    config: AdapterConfig | None = None

    @property
    def exit_code(self) -> int:
        """2 where the files are broken, 1 where they show an adapter that cannot work, else 0."""
        levels = {finding.level for finding in self.findings}
        return 2 if "broken" in levels else 1 if "verdict" in levels else 0


def check(folder: str | Path, base: str | None = None) -> StaticReport:
    """Everything that the adapter in `folder` (or in the folder of the file `folder`) tells by its files.

    `base` is the hub id or path of the model that it is to be used with. Raises nothing: faults are findings.
    """
    given = Path(folder)
    try:
        here = given.parent if given.name in (CONFIG, WEIGHTS) or given.is_file() else given
        found = _check(here, base) if here.is_dir() else _no_folder(here)
    except OSError as error:
        found = _unreadable(given, error)
    return msgspec.structs.replace(found, path=str(folder))


def _check(here: Path, base: str | None) -> StaticReport:
    findings: list[Finding] = []
    config = weights = None
    modules: tuple[ModuleNorm, ...] = ()
    try:
        config, problems = _read_config(here / CONFIG)
        findings += problems
    except _Fatal as fatal:
        findings.append(fatal.finding)
    if config:
        findings += _base_findings(here / CONFIG, config.base_model_name_or_path, base)
    try:
        weights = _read_weights(here)
    except _Fatal as fatal:
        findings.append(fatal.finding)
    if weights:
        findings += _pickle_beside(here)
        content, problems = _scan_all(weights)
        findings += problems
        if config and config.peft_type == "LORA":
            kinds = {name: _kind(config, _module_of(name)) for name in weights.tensors}
            modules, problems = _inspect(_Adapter(config, weights, content, kinds, _parts(weights)))
            findings += problems
    return StaticReport(path=str(here), findings=tuple(findings), modules=modules, config=config)


def _no_folder(here: Path) -> StaticReport:
    remedy = f"give the folder that holds {CONFIG} and {WEIGHTS}"
    return StaticReport(path=str(here), findings=(_broken("folder-missing", here, "no such folder", remedy),))


def _unreadable(here: Path, error: OSError) -> StaticReport:
    finding = _broken(
        "unreadable", Path(error.filename or here), f"cannot be read: {error.strerror}", "make it readable"
    )
    return StaticReport(path=str(here), findings=(finding,))


# Findings


def _finding(level: str, id: str, path: str | Path, message: str, remedy: str = "") -> Finding:
    return Finding(id=id, level=level, message=message, remedy=remedy, path=str(path))


def _broken(id: str, path: str | Path, message: str, remedy: str) -> Finding:
    return _finding("broken", id, path, message, remedy)


class _Fatal(Exception):
    """What is wrong with one of the files leaves nothing of it to look at."""

    def __init__(self, id: str, path: str | Path, message: str, remedy: str) -> None:
        super().__init__(message)
        self.finding = _broken(id, path, message, remedy)


def _quote(text: str) -> str:
    """`text` in quotes, short, on one line, with everything that is not printable spelled out."""
    return repr(text if len(text) <= 120 else text[:119] + "…")


def _some(names: Iterable[str], of: int = 3) -> str:
    """The first names in quotes, and how many more there are."""
    listed = list(names)
    return ", ".join(map(_quote, listed[:of])) + (f" and {len(listed) - of} more" if len(listed) > of else "")


def _compact(modules: Iterable[str]) -> str:
    """Modules with their layers folded: ``'model.layers.{0-3,7}.mlp.up_proj'``."""
    families: dict[tuple[str, str], set[int]] = defaultdict(set)
    for name in modules:
        head, layer, tail = _layer(name)
        families[head, tail].update(() if layer is None else (layer,))
    return _some(
        f"{head}{{{_ranges(sorted(layers))}}}{tail}" if layers else head for (head, tail), layers in families.items()
    )


def _layer(module: str) -> tuple[str, int | None, str]:
    """The name around its layer index, the first dotted part that is a number."""
    if match := re.search(r"(?:^|(?<=\.))[0-9]{1,9}(?=\.|$)", module):
        return module[: match.start()], int(match[0]), module[match.end() :]
    return module, None, ""


def _ranges(numbers: list[int]) -> str:
    runs: list[list[int]] = []
    for number in numbers:
        if runs and runs[-1][-1] + 1 == number:
            runs[-1][1:] = [number]
        else:
            runs.append([number])
    return ",".join("-".join(map(str, run)) for run in runs)


# The config


def _read_config(path: Path) -> tuple[AdapterConfig | None, list[Finding]]:
    """The config, or None and what is wrong with its fields; raises `_Fatal` where there is no JSON object at all."""
    text = _config_text(path)
    raw = _config_object(path, text)
    if not isinstance(raw.get("peft_type"), str):
        message = "field peft_type is missing, or no string"
        return None, [_broken("peft-type-missing", path, message, f"use a peft adapter, or {_SAVE_AGAIN}")]
    is_lora = raw["peft_type"] == "LORA"
    given, wrong = _fields(raw, _LORA_FIELDS if is_lora else _COMMON_FIELDS)
    if wrong:
        return None, [_wrong_field(path, text, field, reason) for field, reason in wrong.items()]
    variants = tuple(name for name in _VARIANTS if raw.get(name))
    return AdapterConfig(**given, variants=variants), [] if is_lora else [_not_lora(path, raw["peft_type"])]


_COMMON_FIELDS = ("peft_type", "base_model_name_or_path")
_LORA_FIELDS = tuple(name for name in AdapterConfig.__struct_fields__ if name != "variants")
_VARIANTS = ("kasa_config", "monteclora_config", "use_bdlora", "use_qalora")


def _fields(raw: dict[str, Any], names: tuple[str, ...]) -> tuple[dict[str, Any], dict[str, str]]:
    """The fields that are given, and what is wrong with those that are not of their type."""
    types = {field.name: field.type for field in msgspec.structs.fields(AdapterConfig)}
    given, wrong = {}, {}
    for name in names:
        if raw.get(name) is None and not (name in raw and name in ("r", "lora_alpha")):
            continue
        try:
            given[name] = msgspec.convert(raw[name], types[name])
        except (msgspec.ValidationError, OverflowError) as error:
            wrong[name] = str(error)
    return given, wrong


def _not_lora(path: Path, peft_type: str) -> Finding:
    message = f"peft_type is {_quote(peft_type)}, not LORA: only NaN and Inf are looked for"
    return _finding("note", "not-lora", path, message)


def _wrong_field(path: Path, text: str, field: str, reason: str) -> Finding:
    key = re.search(rf'"{field}"\s*:', text)
    place = f"{path}:{text.count(chr(10), 0, key.start()) + 1}" if key else path
    return _broken("config-field", place, f"field {field}: {reason}", _SAVE_AGAIN)


def _config_text(path: Path) -> str:
    if not path.is_file():
        raise _Fatal("config-missing", path, f"{CONFIG} is missing", f"{_SAVE_AGAIN}, or give the folder that holds it")
    with open(path, "rb") as file:
        data = file.read(MAX_CONFIG_BYTES + 1)
    _refuse_pointer("config-lfs-pointer", path, data)
    if len(data) > MAX_CONFIG_BYTES:
        raise _Fatal("config-too-large", path, f"larger than {MAX_CONFIG_BYTES >> 20} MiB, no config is", _SAVE_AGAIN)
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise _Fatal("config-not-utf8", path, f"byte {error.start} is not UTF-8", "save the file as UTF-8") from None


def _config_object(path: Path, text: str) -> dict[str, Any]:
    try:
        raw = json.loads(text, parse_constant=_no_constant)
        json.dumps(raw, ensure_ascii=False).encode()  # lone surrogates are no text
    except json.JSONDecodeError as error:
        place = f"{path}:{error.lineno}:{error.colno}"
        raise _Fatal(
            "config-not-json", place, f"malformed JSON: {error.msg}", "correct it there, or " + _SAVE_AGAIN
        ) from None
    except (ValueError, RecursionError) as error:
        raise _Fatal("config-not-json", path, f"malformed JSON: {_reason(error)}", _SAVE_AGAIN) from None
    if not isinstance(raw, dict):
        raise _Fatal("config-not-object", path, "the JSON is not an object", _SAVE_AGAIN)
    return raw


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _reason(error: ValueError | RecursionError) -> str:
    match error:
        case RecursionError():
            return "nested too deep"
        case UnicodeEncodeError():
            return "a text holds half a surrogate pair"
    return str(error)


def _refuse_pointer(id: str, path: Path, start: bytes) -> None:
    if start.startswith(_LFS):
        message = f"{path.name} is a Git LFS pointer, its content was not downloaded"
        raise _Fatal(id, path, message, "run `git lfs pull` in the repository")


def _base_findings(path: Path, named: str | None, base: str | None) -> Iterator[Finding]:
    if not named:
        message = "base_model_name_or_path is missing: the files do not tell the base model"
        yield _finding("note", "base-missing", path, message)
    elif base and _is_hub_id(named) and _is_hub_id(base):
        if named.casefold() != base.casefold():
            message = f"the adapter was trained on {_quote(named)}, the base here is {_quote(base)}"
            yield _broken("base-mismatch", path, message, "use the base that it was trained on, or another adapter")
    elif base and os.path.abspath(named) != os.path.abspath(base):
        message = (
            f"the adapter names {_quote(named)} as its base, the base here is {_quote(base)}: same model not proven"
        )
        yield _finding("note", "base-other-path", path, message)


def _is_hub_id(name: str) -> bool:
    """A hub id, `model` or `owner/model`, and no folder of that name here."""
    return bool(re.fullmatch(r"\w[\w.-]{0,95}(/[\w.-]{1,96})?", name)) and not os.path.isdir(name)


# The weights' header


class _Tensor(NamedTuple):
    """`begin` and `end` in bytes from the end of the header."""

    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int


class _Weights(NamedTuple):
    path: Path
    tensors: dict[str, _Tensor]
    data: NDArray[np.uint8]
    """The mapped bytes after the header."""

    def raw(self, name: str) -> NDArray[np.uint8]:
        return self.data[self.tensors[name].begin : self.tensors[name].end]


_BITS = {"F4": 4, "F6_E2M3": 6, "F6_E3M2": 6}
_BITS |= dict.fromkeys(("BOOL", "U8", "I8", "F8_E5M2", "F8_E4M3", "F8_E8M0", "F8_E5M2FNUZ", "F8_E4M3FNUZ"), 8)
_BITS |= {"I16": 16, "U16": 16, "F16": 16, "BF16": 16, "I32": 32, "U32": 32, "F32": 32}
_BITS |= {"I64": 64, "U64": 64, "F64": 64, "C64": 64}


def _read_weights(here: Path) -> _Weights:
    """The header, checked against the file's size; raises `_Fatal`. The tensors stay on the disk."""
    path = here / WEIGHTS
    if not path.is_file():
        raise _no_weights(here)
    with open(path, "rb") as file:
        _refuse_pointer("weights-lfs-pointer", path, start := file.read(len(_LFS)))
    if len(start) < 8:
        raise _Fatal("weights-truncated", path, f"{len(start)} bytes are no safetensors file", _DOWNLOAD)
    data: NDArray[np.uint8] = np.memmap(path, np.uint8, "r").view(np.ndarray)
    length = int.from_bytes(start[:8], "little")
    if 8 + length > data.size:
        message = f"the header claims {length} bytes, the file has {data.size}: truncated, or not safetensors"
        raise _Fatal("weights-truncated", path, message, _DOWNLOAD)
    if length > MAX_HEADER_BYTES:
        message = f"the header claims {length} bytes, the limit is {MAX_HEADER_BYTES}"
        raise _Fatal("header-too-large", path, message, _SAVE_AGAIN)
    header = _header(path, data[8 : 8 + length].tobytes())
    header.pop("__metadata__", None)
    tensors = {name: _tensor(path, name, entry) for name, entry in header.items()}
    _check_layout(path, tensors, data.size - 8 - length)
    return _Weights(path, tensors, data[8 + length :])


def _no_weights(here: Path) -> _Fatal:
    if (here / PICKLE).is_file():
        message = f"only {PICKLE} is there: a pickle can run code when it is loaded, so it is refused"
        remedy = "convert it with save_pretrained(safe_serialization=True) in the training environment"
        return _Fatal("weights-pickle", here / PICKLE, message, remedy)
    return _Fatal("weights-missing", here / WEIGHTS, f"{WEIGHTS} is missing", _SAVE_AGAIN)


def _pickle_beside(here: Path) -> Iterator[Finding]:
    if (here / PICKLE).is_file():
        message = f"{PICKLE} is ignored, {WEIGHTS} is used"
        yield _finding("note", "pickle-ignored", here / PICKLE, message)


def _header(path: Path, data: bytes) -> dict[str, Any]:
    try:
        header = json.loads(data.decode("utf-8"), object_pairs_hook=_without_doubles, parse_constant=_no_constant)
    except _DoubleKey as error:
        raise _Fatal(
            "header-duplicate-key", path, f"the header names {_quote(str(error))} twice", _SAVE_AGAIN
        ) from None
    except (ValueError, RecursionError):
        raise _Fatal(
            "header-not-json", path, "the header is not JSON: damaged, or not safetensors", _DOWNLOAD
        ) from None
    if not isinstance(header, dict):
        raise _Fatal("header-not-json", path, "the header is not a JSON object", _DOWNLOAD)
    return header


class _DoubleKey(Exception):
    pass


def _without_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) < len(pairs):
        raise _DoubleKey(Counter(key for key, _ in pairs).most_common(1)[0][0])
    return table


def _tensor(path: Path, name: str, entry: Any) -> _Tensor:
    def fatal(id: str, message: str) -> _Fatal:
        return _Fatal(id, path, f"tensor {_quote(name)}: {message}", _SAVE_AGAIN)

    if len(name) > _MAX_NAME or not name.isprintable():
        raise fatal("tensor-malformed", "the name is not printable, or too long")
    try:
        dtype, shape, (begin, end) = entry["dtype"], entry["shape"], entry["data_offsets"]
    except (TypeError, KeyError, ValueError):
        raise fatal("tensor-malformed", "not an object with dtype, shape and two data_offsets") from None
    if not isinstance(shape, list) or not _are_sizes(shape) or len(shape) > _MAX_DIMS:
        raise fatal("tensor-malformed", "the shape holds something else than sizes, or too many or too large ones")
    if not isinstance(dtype, str) or dtype not in _BITS:
        raise fatal("dtype-unknown", f"unknown dtype {_quote(str(dtype))}")
    if not _are_sizes([begin, end]) or begin > end:
        raise fatal("tensor-malformed", "data_offsets are not a begin and an end")
    if (claimed := math.prod(shape) * _BITS[dtype]) != 8 * (end - begin):
        message = f"{dtype} of shape {shape} takes {claimed} bits, its range has {8 * (end - begin)}"
        raise fatal("tensor-size", message)
    return _Tensor(dtype, tuple(shape), begin, end)


def _are_sizes(values: list[Any]) -> bool:
    return all(type(value) is int and 0 <= value <= _MAX_DIM for value in values)


def _check_layout(path: Path, tensors: dict[str, _Tensor], size: int) -> None:
    """The tensors must fill the `size` bytes after the header, in some order, without hole or overlap."""
    at = 0
    for name, tensor in sorted(tensors.items(), key=lambda item: item[1][2:]):
        if tensor.end > size:
            message = f"tensor {_quote(name)} ends at byte {tensor.end} of {size}: truncated"
            raise _Fatal("tensor-out-of-file", path, message, _DOWNLOAD)
        if tensor.begin < at:
            message = f"tensor {_quote(name)} overlaps the one before it by {at - tensor.begin} bytes"
            raise _Fatal("tensor-overlap", path, message, _SAVE_AGAIN)
        if tensor.begin > at:
            message = f"{tensor.begin - at} bytes before tensor {_quote(name)} belong to no tensor"
            raise _Fatal("tensor-hole", path, message, _SAVE_AGAIN)
        at = tensor.end
    if at < size:
        raise _Fatal("trailing-bytes", path, f"{size - at} bytes after the last tensor belong to none", _SAVE_AGAIN)


# The tensors' content


class _Float(NamedTuple):
    """A floating dtype as bits: NaN and Inf are what has every bit of `exponent`, zero what has none but the sign."""

    bits: str
    exponent: int


_FLOATS = {
    "F64": _Float("<u8", 0x7FF << 52),
    "F32": _Float("<u4", 0xFF << 23),
    "F16": _Float("<u2", 0x1F << 10),
    "BF16": _Float("<u2", 0xFF << 7),
}


class _Content(NamedTuple):
    nonfinite: int
    nonzero: bool


def _scan_all(weights: _Weights) -> tuple[dict[str, _Content], list[Finding]]:
    content = {name: _scan(weights.raw(name), tensor.dtype) for name, tensor in weights.tensors.items()}
    return content, [*_non_finite(weights, content), *_not_inspected(weights)]


def _scan(raw: NDArray[np.uint8], dtype: str) -> _Content:
    """How many values are NaN or Inf, and whether any is not zero. What is no float is taken for not zero."""
    if dtype not in _FLOATS:
        return _Content(0, raw.size > 0)
    bits, exponent = raw.view(_FLOATS[dtype].bits), _bits_of(dtype, _FLOATS[dtype].exponent)
    magnitude = ~(_bits_of(dtype, 1) << _bits_of(dtype, 8 * bits.itemsize - 1))
    nonfinite, nonzero = 0, False
    for start in range(0, bits.size, _CHUNK):
        part = bits[start : start + _CHUNK]
        nonfinite += int(np.count_nonzero((part & exponent) == exponent))
        nonzero = nonzero or bool((part & magnitude).any())
    return _Content(nonfinite, nonzero)


def _bits_of(dtype: str, value: int) -> Any:
    """`value` as a scalar of the unsigned type that holds the bits of `dtype`."""
    return np.dtype(_FLOATS[dtype].bits).type(value)


def _non_finite(weights: _Weights, content: dict[str, _Content]) -> Iterator[Finding]:
    bad = {name: found.nonfinite for name, found in content.items() if found.nonfinite}
    if bad:
        worst = sorted(bad, key=lambda name: -bad[name])
        sizes = {name: math.prod(weights.tensors[name].shape) for name in worst[:3]}
        named = ", ".join(f"{_quote(name)} ({bad[name]} of {size})" for name, size in sizes.items())
        more = f" and {len(bad) - 3} more" if len(bad) > 3 else ""
        message = f"NaN or Inf in {len(bad)} of {len(content)} tensors: {named}{more}"
        remedy = "take a checkpoint from before the loss diverged; train with a lower learning rate or in bfloat16"
        yield _finding("verdict", "non-finite", weights.path, message, remedy)


def _not_inspected(weights: _Weights) -> Iterator[Finding]:
    names = [name for name, t in weights.tensors.items() if t.dtype[0] in "FC" and t.dtype not in _FLOATS]
    if names:
        message = f"not looked into, for their dtype: {_some(names)}"
        yield _finding("note", "dtype-not-inspected", weights.path, message)


# Config and tensors together


class _Adapter(NamedTuple):
    config: AdapterConfig
    weights: _Weights
    content: dict[str, _Content]
    kinds: dict[str, str]
    """Tensor -> lora, trained, frozen, unknown."""
    parts: dict[str, dict[str, str]]
    """Module -> A, B, magnitude_vector -> tensor."""

    def finding(self, level: str, id: str, message: str, remedy: str = "") -> Finding:
        return _finding(level, id, self.weights.path, message, remedy)

    def shape(self, module: str, part: str) -> tuple[int, ...]:
        return self.weights.tensors[self.parts[module][part]].shape


_PART = re.compile(r"(.+)\.lora_(?:embedding_)?(A|B|magnitude_vector)(?:\.weight)?")


def _module_of(tensor: str) -> str:
    return tensor.removeprefix("base_model.model.")


def _parts(weights: _Weights) -> dict[str, dict[str, str]]:
    parts: dict[str, dict[str, str]] = defaultdict(dict)
    for name in weights.tensors:
        if match := _PART.fullmatch(_module_of(name)):
            parts[match[1]][match[2]] = name
    return dict(parts)


def _inspect(adapter: _Adapter) -> tuple[tuple[ModuleNorm, ...], list[Finding]]:
    if not any("A" in part or "B" in part for part in adapter.parts.values()):
        message = "no tensor is a LoRA matrix (lora_A, lora_B)"
        remedy = "use peft's format; convert adapters of other tools"
        return (), [adapter.finding("broken", "no-lora-tensors", message, remedy)]
    pairs, problems = _pairs(adapter)
    found = [*problems, *_other_tensors(adapter), *_untrained(adapter, pairs), *_dora(adapter, pairs)]
    found += [*_start(adapter), *_coverage(adapter)]
    try:
        ranks = _by_pattern(adapter.config.rank_pattern, adapter.config.r, pairs)
        alphas = _by_pattern(adapter.config.alpha_pattern, adapter.config.lora_alpha, pairs)
    except _Regex as error:
        return (), [*found, error.finding(adapter, "rank_pattern or alpha_pattern", "ranks and norms")]
    if adapter.config.variants:
        message = f"{', '.join(adapter.config.variants)}: ranks and norms are not checked for this variant"
        return (), [*found, adapter.finding("note", "variant", message)]
    if pairs and not any(alphas[module] for module in pairs):
        message = "alpha is 0 in all modules: the adapter leaves the base model as it is"
        found.append(adapter.finding("verdict", "alpha-zero", message, "train with lora_alpha above 0"))
    if wrong := _wrong_ranks(adapter, pairs, ranks):
        some, held = next(iter(wrong.items()))
        first = f"rank {held} in the tensors, {ranks[some]} in the config"
        found.append(adapter.finding("broken", "rank-mismatch", f"{first}: {_compact(wrong)}", _MATCHING))
    modules, problems = _norms(adapter, {m: ranks[m] for m in pairs if m not in wrong}, alphas)
    return modules, found + problems


def _pairs(adapter: _Adapter) -> tuple[list[str], list[Finding]]:
    """The modules with an A [r, d_in, …] and a B [d_out, r, …] that fit together, and what is wrong with the others."""
    single, misshapen, differing, pairs = [], [], [], []
    for module, part in adapter.parts.items():
        if not {"A", "B"} <= part.keys():
            single.append(module)
        elif any(len(adapter.shape(module, p)) < 2 or 0 in adapter.shape(module, p) for p in "AB"):
            misshapen.append(module)
        elif adapter.shape(module, "A")[0] != adapter.shape(module, "B")[1]:
            differing.append(module)
        else:
            pairs.append(module)
    faults = [
        ("pair-incomplete", single, "A or B is missing for", _SAVE_AGAIN),
        ("factor-shape", misshapen, "A or B is no matrix, or empty, for", "gather the sharded weights before saving"),
        ("factor-ranks-differ", differing, "A and B have different ranks for", _SAVE_AGAIN),
    ]
    return pairs, [
        adapter.finding("broken", id, f"{message} {_compact(modules)}", remedy)
        for id, modules, message, remedy in faults
        if modules
    ]


def _wrong_ranks(adapter: _Adapter, pairs: list[str], ranks: dict[str, int]) -> dict[str, int]:
    """Modules whose tensors have another rank than the config, and which.

    peft stores the experts of a targeted parameter one after another, so there a multiple of r is right.
    """
    held = {module: adapter.shape(module, "A")[0] for module in pairs}
    if adapter.config.target_parameters:
        return {module: rank for module, rank in held.items() if rank % ranks[module]}
    return {module: rank for module, rank in held.items() if rank != ranks[module]}


def _other_tensors(adapter: _Adapter) -> Iterator[Finding]:
    if unknown := [name for name, kind in adapter.kinds.items() if kind == "unknown"]:
        message = f"tensors that the config does not explain: {_some(unknown)}"
        yield adapter.finding("warning", "unknown-tensor", message, _MATCHING)
    saved = [f".{_module_of(name)}" for name, kind in adapter.kinds.items() if kind == "trained"]
    if missing := [m for m in adapter.config.modules_to_save if not any(f".{m}." in name for name in saved)]:
        message = f"modules_to_save names modules without tensors: {_some(missing)}"
        yield adapter.finding("warning", "saved-module-without-tensors", message, _MATCHING)


_FROZEN = re.compile(r".*\.base_layer\.(weight|bias)|(.*\.)?(embed_tokens|lm_head)\.(weight|bias)")


def _kind(config: AdapterConfig, name: str) -> str:
    """lora; trained: what is trained beside LoRA; frozen: embeddings that peft saves along; unknown."""
    if _PART.fullmatch(name):
        return "lora"
    if any(f".{module}." in f".{name}" for module in config.modules_to_save):
        return "trained"
    if name.endswith("trainable_tokens_delta") or (name.endswith(".lora_B.bias") and config.lora_bias):
        return "trained"
    if name.endswith(".bias") and config.bias != "none" and ".lora_" not in name:
        return "trained"
    return "frozen" if _FROZEN.fullmatch(name) else "unknown"


def _untrained(adapter: _Adapter, pairs: list[str]) -> Iterator[Finding]:
    """Modules whose update is exactly zero. peft starts B at zero, and every optimizer step moves it off."""
    zero = [m for m in pairs if not all(adapter.content[adapter.parts[m][part]].nonzero for part in "AB")]
    remedy = "check that these parameters reach the optimizer with a learning rate above 0"
    if zero and len(zero) < len(pairs):
        message = f"{len(zero)} of {len(pairs)} modules change nothing, their A or B is all zero: {_compact(zero)}"
        yield adapter.finding("warning", "dead-layers", message, remedy)
    elif zero:
        others = any(kind == "trained" and adapter.content[name].nonzero for name, kind in adapter.kinds.items())
        message = f"the A or B of all {len(zero)} modules is zero"
        if others:
            message += ": only what is saved beside LoRA can have been trained"
            yield adapter.finding("warning", "lora-all-zero", message, remedy)
        else:
            message += ": never trained, the adapter leaves the base model as it is"
            remedy += ", and that the trained checkpoint was saved"
            yield adapter.finding("verdict", "never-trained", message, remedy)


def _dora(adapter: _Adapter, pairs: list[str]) -> Iterator[Finding]:
    def fits(module: str) -> bool:
        part = adapter.parts[module]
        if not adapter.config.use_dora or "magnitude_vector" not in part:
            return adapter.config.use_dora == ("magnitude_vector" in part)
        return math.prod(adapter.shape(module, "magnitude_vector")) == adapter.shape(module, "B")[0]

    if wrong := [module for module in pairs if not fits(module)]:
        message = f"use_dora is {adapter.config.use_dora}, the magnitude vectors do not fit that: {_compact(wrong)}"
        yield adapter.finding("broken", "dora-magnitude", message, _MATCHING)
    if adapter.config.use_dora:
        yield adapter.finding("note", "dora-norms", "DoRA: the norms are of s·B·A, before the magnitudes are applied")


def _start(adapter: _Adapter) -> Iterator[Finding]:
    """Some initialisations (PiSSA, OLoRA, CorDA, LoftQ, orthogonal, …) leave neither A nor B at zero."""
    start = adapter.config.init_lora_weights
    if start is not True and str(start).lower() not in ("gaussian", "eva", "mica"):
        message = (
            f"init_lora_weights is {start!r:.40}: neither A nor B starts at zero, so untrained cannot be seen here"
        )
        yield adapter.finding("note", "init-not-zero", message)


# Names against patterns


class _Regex(Exception):
    """A pattern of the config that is not run. Arguments: level, id, reason."""

    def finding(self, adapter: "_Adapter", field: str, unchecked: str) -> Finding:
        level, id, reason = self.args
        remedy = "correct it in the config" if level == "broken" else ""
        return adapter.finding(level, id, f"{field}: {reason}; {unchecked} are not checked", remedy)


def _coverage(adapter: _Adapter) -> list[Finding]:
    """Targets without tensors, and tensors without a target, by the rule of peft's target_modules."""
    targets, modules = adapter.config.target_modules, list(adapter.parts)
    if targets is None or targets in ("all-linear", "dummy-target-modules") or adapter.config.target_parameters:
        return []
    unused = set() if isinstance(targets, str) else set(targets)
    if isinstance(targets, str):
        try:
            matches = _matchers([targets], modules, "{}")[0]
        except _Regex as error:
            return [error.finding(adapter, "target_modules", "names of modules")]
        outside = [module for module in modules if not matches(module)]
    else:
        hits = {module: unused.intersection(_endings(module)) for module in modules}
        outside = [module for module in modules if not hits[module]]
        unused = unused.difference(*hits.values())
    faults = [
        ("target-without-tensors", unused, f"target_modules names modules without tensors: {_some(sorted(unused))}"),
        (
            "tensor-without-target",
            outside,
            f"tensors of modules that target_modules does not name: {_compact(outside)}",
        ),
    ]
    return [adapter.finding("warning", id, message, _MATCHING) for id, names, message in faults if names]


def _endings(module: str) -> Iterator[str]:
    """The name, and what follows each of its dots."""
    yield module
    yield from (module[dot.end() :] for dot in re.finditer(r"\.", module))


def _by_pattern(patterns: dict[str, T], default: T, modules: list[str]) -> dict[str, T]:
    """Each module's value: that of the first pattern that matches it, as in peft's rank_pattern and alpha_pattern."""
    matchers = list(zip(_matchers(patterns, modules, r"(.*\.)?({})$"), patterns.values(), strict=True))
    return {module: next((value for match, value in matchers if match(module)), default) for module in modules}


def _matchers(patterns: Iterable[str], modules: list[str], form: str) -> list[Callable[[str], object]]:
    """One predicate a pattern. Raises `_Regex` where to compile and run them could take more than a few seconds."""
    forms = [form.replace("{}", pattern) for pattern in patterns]
    longest = max(map(len, modules), default=0)
    if sum(_ways(text, longest) * len(modules) + 500 * len(text) for text in forms) > _MAX_MATCH_WORK:
        raise _Regex("note", "regex-skipped", "too costly a regex")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return [re.compile(text).fullmatch for text in forms]
    except (re.error, RecursionError, OverflowError) as error:
        raise _Regex("broken", "regex-invalid", f"not a regex ({error})") from None


_TOKENS = re.compile(
    r"""\\. | \[\^?\]?(?:\\.|[^\]\\])*\] | \((?:\?(?:[:=!]|<[=!]|P<\w+>))?
    | \)(?:[*+?]|\{\d*,?\d*\})? | (?:[*+?]|\{\d*,?\d*\})[?+]? | \|""",
    re.VERBOSE | re.DOTALL,
)


def _ways(pattern: str, length: int) -> float:
    """At least the ways in which a backtracking matcher can try `pattern` on a text of `length`.

    A free quantifier can stop at length + 1 places, a `?` at 2, a group can take any of its alternatives; they
    multiply. Infinite where a repeated group holds a choice of its own, the case that explodes, and for rare syntax.
    """
    if len(pattern) > _MAX_PATTERN or "(?" in re.sub(r"\(\?(?:[:=!]|<[=!]|P<\w+>)", "", pattern):
        return math.inf
    ways, bars, choice = 1.0, [1], [False]  # of each open group
    for piece in _TOKENS.findall(pattern):
        if piece == "|":
            bars[-1] += 1
            choice[-1] = True
        elif piece[0] == "(":
            bars.append(1)
            choice.append(False)
        elif piece[0] in "*+{?" or piece[0] == ")":
            repeat = piece[1:] if piece[0] == ")" else piece
            if piece[0] == ")" and len(bars) > 1:
                ways *= bars.pop()
                inner = choice.pop()
                if inner and repeat not in ("", "?"):
                    return math.inf
                choice[-1] |= inner
            if repeat:
                ways *= 2 if repeat[0] == "?" else length + 1
                choice[-1] = True
    return ways * bars[0]


# Norms


def _norms(
    adapter: _Adapter, ranks: dict[str, int], alphas: dict[str, float]
) -> tuple[tuple[ModuleNorm, ...], list[Finding]]:
    """A row for each module that has finite factors of a dtype that is inspected, as far as the work allows."""
    rows, skipped, work = [], [], 0.0
    for module, rank in ranks.items():
        a, b = adapter.shape(module, "A"), adapter.shape(module, "B")
        work += a[0] ** 3 + a[0] * (math.prod(a) + math.prod(b))
        names = [adapter.parts[module][part] for part in "BA"]
        if any(adapter.content[name].nonfinite for name in names):
            continue
        is_plain = a[0] == rank and math.prod(b) == b[0] * b[1]
        is_float = all(adapter.weights.tensors[name].dtype in _FLOATS for name in names)
        fits = rank <= _MAX_RANK and work <= _MAX_NORM_WORK
        row = _norm(adapter, module, alphas[module]) if is_plain and is_float and fits else None
        rows += [row] if row else []
        skipped += [] if row else [module]
    message = f"no norms for {len(skipped)} modules, for their dtype, shape, size or range: {_compact(skipped)}"
    rows.sort(key=lambda row: (-1 if row.layer is None else row.layer, row.module))
    return tuple(rows), [adapter.finding("note", "norms-skipped", message)] if skipped else []


def _norm(adapter: _Adapter, module: str, alpha: float) -> ModuleNorm | None:
    """None where ΔW is beyond the range of a double."""
    rank = adapter.shape(module, "A")[0]
    b, a = (_matrix(adapter.weights, adapter.parts[module][part]) for part in "BA")
    with np.errstate(all="ignore"):
        try:
            sigma = abs(alpha) / (math.sqrt(rank) if adapter.config.use_rslora else rank) * _singular_values(b, a)
        except np.linalg.LinAlgError:
            return None
        total, frobenius = float(sigma.sum()), float(np.linalg.norm(sigma))
    if not math.isfinite(total):
        return None
    share = sigma[sigma > 0] / (total or 1.0)
    return ModuleNorm(
        module=module,
        layer=_layer(module)[1],
        r=rank,
        frobenius=frobenius,
        spectral=float(sigma.max()),
        stable_rank=(frobenius / float(sigma.max())) ** 2 if total else 0.0,
        effective_rank=math.exp(-float(share @ np.log(share))) if total else 0.0,
    )


class _Matrix(NamedTuple):
    """The bits of a 2-D tensor, and the dtype that they are of."""

    bits: Bits
    dtype: str

    @property
    def T(self) -> "_Matrix":
        return _Matrix(self.bits.T, self.dtype)

    def doubles(self, start: int = 0, stop: int | None = None) -> Doubles:
        """Some rows as float64."""
        part = self.bits[start:stop]
        if self.dtype == "BF16":
            return (part.astype(np.uint32) << np.uint32(16)).view(np.float32).astype(np.float64)
        return part.astype(np.float64)


def _matrix(weights: _Weights, name: str) -> _Matrix:
    """A convolution's kernel is flattened into the columns: the norm of ΔW is that of all its numbers."""
    dtype, shape = weights.tensors[name].dtype, weights.tensors[name].shape
    stored = "<u2" if dtype == "BF16" else f"<f{_BITS[dtype] // 8}"
    return _Matrix(weights.raw(name).view(stored).reshape(shape[0], -1), dtype)


def _singular_values(b: _Matrix, a: _Matrix) -> Doubles:
    """Of B [d_out, r] times A [r, d_in], without ever forming it: at most r values, descending not promised.

    With FᵀF = XᵀX for one of X = B, X = Aᵀ, and Y the other one, σ²(B·A) are the eigenvalues of F·YᵀY·Fᵀ.
    Accurate to about 1e-8 of the largest.
    """
    x, y = sorted((b, a.T), key=lambda factor: factor.bits.shape[0])
    root = _root(x)  # [min(d, r), r]
    return _roots(np.linalg.eigvalsh(root @ _gram(y) @ root.T))


def _roots(eigenvalues: Any) -> Doubles:
    """Square roots; what rounding put below zero counts as zero."""
    roots: Doubles = np.sqrt(np.maximum(eigenvalues, 0.0))
    return roots


def _root(x: _Matrix) -> Doubles:
    """F [min(d, r), r] with FᵀF = XᵀX, for X [d, r]."""
    if x.bits.shape[0] <= x.bits.shape[1]:
        return x.doubles()
    gram = _gram(x)
    try:
        return np.linalg.cholesky(gram).T.astype(np.float64, copy=False)
    except np.linalg.LinAlgError:  # X has not full rank
        squares, vectors = np.linalg.eigh(gram)
        root: Doubles = _roots(squares)[:, None] * vectors.T
        return root


def _gram(x: _Matrix) -> Doubles:
    """XᵀX [r, r], for X [d, r]."""
    d, r = x.bits.shape
    total, step = np.zeros((r, r)), max(1, _CHUNK // r)
    for start in range(0, d, step):
        part = x.doubles(start, start + step)
        total += part.T @ part
    return total
