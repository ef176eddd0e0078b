"""Read adapter_config.json as untrusted input: validate the fields that the check uses."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec

from sway_gate.files import read_regular
from sway_gate.model_files.hub import ADAPTER_CONFIG
from sway_gate.results import Finding
from sway_gate.static import support
from sway_gate.static.findings import (
    SAVE_AGAIN,
    Fatal,
    broken,
    finding,
    quote,
    refuse_pointer,
    some,
)

MAX_CONFIG_BYTES = 4 << 20

Rank = Annotated[int, msgspec.Meta(ge=1, le=1 << 31)]
Alpha = Annotated[float, msgspec.Meta(ge=-1e12, le=1e12)]
TokenIds = tuple[Annotated[int, msgspec.Meta(ge=0, le=1 << 31)], ...]


class AdapterConfig(msgspec.Struct, frozen=True, kw_only=True):
    """The fields of adapter_config.json that the check uses, with peft's defaults."""

    peft_type: str
    base_model_name_or_path: str | None = None
    task_type: str | None = None
    r: Rank = 8
    lora_alpha: Alpha = 8
    target_modules: str | tuple[str, ...] | None = None
    exclude_modules: str | tuple[str, ...] | None = None
    target_parameters: tuple[str, ...] = ()
    modules_to_save: Annotated[tuple[str, ...], msgspec.Meta(max_length=100)] = ()
    rank_pattern: dict[str, Rank] = {}
    alpha_pattern: dict[str, Alpha] = {}
    layers_to_transform: int | tuple[int, ...] | None = None
    layers_pattern: str | tuple[str, ...] | None = None
    trainable_token_indices: TokenIds | dict[str, TokenIds] | None = None
    bias: Literal["none", "all", "lora_only"] = "none"
    lora_bias: bool = False
    use_dora: bool = False
    use_rslora: bool = False
    ensure_weight_tying: bool = False
    init_lora_weights: bool | str = True
    variants: tuple[str, ...] = ()
    """Enabled variants whose update is not s·B·A (KaSA, BD-LoRA, …).

    Their shapes and norms are not checked.
    """


_COMMON_FIELDS = ("peft_type", "base_model_name_or_path", "task_type")
_LORA_FIELDS = tuple(name for name in AdapterConfig.__struct_fields__ if name != "variants")
_NEVER_NULL = ("r", "lora_alpha", "lora_dropout", "rank_pattern", "alpha_pattern", "bias")
_VARIANTS = ("kasa_config", "monteclora_config", "use_bdlora", "velora_config")
_SETTINGS = (*_VARIANTS, "arrow_config", "corda_config", "eva_config", "lora_ga_config")
_TYPES = {field.name: field.type for field in msgspec.structs.fields(AdapterConfig)}
# Fields that the check does not use, but without which peft does not load the adapter.
_UNUSED: dict[str, Any] = {
    "lora_dropout": Annotated[float, msgspec.Meta(ge=0, le=1)],
    **dict.fromkeys(_SETTINGS, Annotated[dict[str, Any], msgspec.Meta(min_length=1)]),
}


def read_config(path: Path) -> tuple[AdapterConfig | None, list[Finding]]:
    """Return the config and notes about it, or None and the faults of its fields.

    Raises `Fatal` if the file does not contain a JSON object.
    """
    text = _config_text(path)
    raw = _config_object(path, text)
    if not isinstance(raw.get("peft_type"), str):
        message = "field peft_type is missing or not a string"
        remedy = f"use a peft adapter, or {SAVE_AGAIN}"
        return None, [broken("peft-type-missing", path, message, remedy)]
    is_lora = raw["peft_type"] == "LORA"
    given, wrong = _fields(raw, _LORA_FIELDS if is_lora else _COMMON_FIELDS)
    if is_lora:
        wrong |= _fields(raw, tuple(_UNUSED))[1] or _contradictions(given)
    if wrong:
        return None, [_wrong_field(path, text, field, reason) for field, reason in wrong.items()]
    variants = tuple(name for name in _VARIANTS if raw.get(name))
    return AdapterConfig(**given, variants=variants), [*_support(path, raw)]


def _contradictions(given: dict[str, Any]) -> dict[str, str]:
    """Fields that peft does not accept together, each with the reason."""
    found = {}
    patterns = given.get("layers_pattern") or ()
    if patterns and "layers_to_transform" not in given:
        found["layers_pattern"] = "requires layers_to_transform"
    if not all(map(str.isidentifier, [patterns] if isinstance(patterns, str) else patterns)):
        found["layers_pattern"] = "must be a plain name, such as 'layers'"
    for name in ("layers_to_transform", "layers_pattern"):
        if name in given and isinstance(given.get("target_modules"), str):
            found[name] = "requires target_modules to be a list"
    if given.get("target_modules") in ("", ()) and not given.get("target_parameters"):
        found["target_modules"] = "is empty; list the modules that have tensors"
    return found


def _support(path: Path, raw: dict[str, Any]) -> Iterator[Finding]:
    """The method, the options and the task, unless they are ordinary LoRA."""
    peft_type, task = raw["peft_type"], raw.get("task_type")
    if reason := support.unsupported_method(peft_type):
        message = f"peft_type {quote(peft_type)} is not supported: {reason}"
        yield broken("unsupported-method", path, message, "give a LoRA adapter")
    elif peft_type != "LORA":
        message = f"peft_type is {quote(peft_type)}, not LORA: only checked for NaN and Inf"
        yield finding("note", "not-lora", path, message)
    else:
        yield from _options(path, raw)
    if task not in (None, "CAUSAL_LM"):
        named = f"{task}: {support.TASKS[task]}" if task in support.TASKS else quote(task)
        message = f"task_type is {named}, not a causal language model"
        yield broken("other-task", path, message, "give an adapter with task_type CAUSAL_LM")


def _options(path: Path, raw: dict[str, Any]) -> Iterator[Finding]:
    for name, reason in support.unsupported_options(raw):
        message = f"option {quote(name)} is on, but not supported: {reason}"
        yield broken("unsupported-option", path, message, "give an adapter without this option")
    if off := support.unknown_options(raw):
        message = f"options that this version of sway-gate does not know are off: {some(off)}"
        yield finding("note", "unknown-option", path, message)


def _fields(raw: dict[str, Any], names: tuple[str, ...]) -> tuple[dict[str, Any], dict[str, str]]:
    """The valid fields, and for each field of the wrong type a description of the fault."""
    given, wrong = {}, {}
    for name in names:
        if name not in raw or (raw[name] is None and name not in _NEVER_NULL):
            continue
        try:
            given[name] = msgspec.convert(raw[name], (_TYPES | _UNUSED)[name])
        except (msgspec.ValidationError, OverflowError) as error:
            wrong[name] = str(error)
    return given, wrong


def _wrong_field(path: Path, text: str, field: str, reason: str) -> Finding:
    key = re.search(rf'"{field}"\s*:', text)
    place = f"{path}:{text.count(chr(10), 0, key.start()) + 1}" if key else path
    return broken("config-field", place, f"field {field}: {reason}", SAVE_AGAIN)


def config_object(path: Path) -> dict[str, Any]:
    """The JSON object in the file. Raises `Fatal` if there is none."""
    return _config_object(path, _config_text(path))


def _config_text(path: Path) -> str:
    if not path.exists():
        remedy = f"{SAVE_AGAIN}, or give the folder that contains it"
        raise Fatal("config-missing", path, f"{ADAPTER_CONFIG} is missing", remedy)
    data = read_regular(path, MAX_CONFIG_BYTES + 1)
    refuse_pointer("config-lfs-pointer", path, data)
    if len(data) > MAX_CONFIG_BYTES:
        message = f"larger than {MAX_CONFIG_BYTES >> 20} MiB, the limit for a config"
        raise Fatal("config-too-large", path, message, SAVE_AGAIN)
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        message = f"byte {error.start} is not UTF-8"
        raise Fatal("config-not-utf8", path, message, "save the file as UTF-8") from None


def no_constant(name: str) -> Any:
    """`parse_constant` for `json.loads`, which by default accepts NaN and Infinity."""
    raise ValueError(f"{name} is not JSON")


def _config_object(path: Path, text: str) -> dict[str, Any]:
    try:
        raw = json.loads(text, parse_constant=no_constant)
        json.dumps(raw, ensure_ascii=False).encode()  # unpaired surrogates cannot be encoded
    except json.JSONDecodeError as error:
        place = f"{path}:{error.lineno}:{error.colno}"
        message, remedy = f"malformed JSON: {error.msg}", f"correct it there, or {SAVE_AGAIN}"
        raise Fatal("config-not-json", place, message, remedy) from None
    except (ValueError, RecursionError) as error:
        message = f"malformed JSON: {_reason(error)}"
        raise Fatal("config-not-json", path, message, SAVE_AGAIN) from None
    if not isinstance(raw, dict):
        raise Fatal("config-not-object", path, "the JSON is not an object", SAVE_AGAIN)
    return raw


def _reason(error: ValueError | RecursionError) -> str:
    match error:
        case RecursionError():
            return "nested too deeply"
        case UnicodeEncodeError():
            return "a string contains an unpaired surrogate"
    return str(error)
