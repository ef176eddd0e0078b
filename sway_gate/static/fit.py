"""Compare the names and shapes of an adapter's tensors with the base's weights."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from sway_gate.model_files.config import json_object
from sway_gate.model_files.shapes import Shapes, read_shapes, short
from sway_gate.results import Finding
from sway_gate.static.adapter import Adapter, module_of, reads_text
from sway_gate.static.base_modules import module_findings
from sway_gate.static.findings import quote, some

_VOCABULARY = re.compile(r"(.*\.)?(embed_tokens|lm_head|wte|embed_in|embed_out|word_embeddings)")
_TOKENIZERS = ("tokenizer.json", "tokenizer_config.json", "tokenizer.model")
# Multimodal models that AutoModelForCausalLM loads whole: their language model is nested.
_NESTED = frozenset({"gemma3", "gemma3n", "gemma4", "gemma4_unified", "got_ocr2"})
_IN_NESTED = re.compile(r"(model\.language_model|language_model\.model)\.")
_IN_TEXT = re.compile(r"(?:(?:language_)?model\.)?layers\.")


class Fit(NamedTuple):
    """Modules whose shapes do not fit the base, and those with another vocabulary."""

    wrong: list[str]
    vocabulary: list[str]


def fit_findings(adapter: Adapter, folder: Path) -> Iterator[Finding]:
    """Tensors that do not fit the base in `folder`, as far as its files show."""
    nesting, shapes = [*_nesting(adapter, folder)], read_shapes(folder)
    yield from nesting
    if not shapes or adapter.config.variants:
        return
    if not nesting and any(map(reads_text, adapter.parts)):
        yield from module_findings(adapter, shapes, folder)
    fit = _compare(adapter, shapes)
    if fit.wrong:
        message = f"tensors that do not fit the base: {'; '.join(fit.wrong[:3])}"
        remedy = "use the base model that the adapter was trained on"
        yield adapter.finding("broken", "base-shapes", message, remedy)
    if fit.vocabulary:
        message = f"the vocabulary is not the base's: {'; '.join(fit.vocabulary[:3])}"
        has_tokenizer = any((adapter.weights.path.parent / name).exists() for name in _TOKENIZERS)
        level = "note" if has_tokenizer else "broken"
        remedy = "put the tokenizer of the training into the adapter's folder"
        yield adapter.finding(level, "base-vocabulary", message, "" if has_tokenizer else remedy)


def _nesting(adapter: Adapter, folder: Path) -> Iterator[Finding]:
    """Names of the language model in a multimodal model, for a text model, or the reverse."""
    config = json_object(folder / "config.json")
    modules, kind = list(adapter.parts), config.get("model_type")
    if not isinstance(kind, str):
        return
    if kind in _NESTED:
        wrong = [module for module in modules if _IN_TEXT.match(module)]
        here, right = "the multimodal base has", "model.language_model.layers."
    elif not config.keys() & {"text_config", "vision_config"}:
        wrong = [module for module in modules if _IN_NESTED.match(module)]
        here, right = "the text-only base has", "model.layers."
    else:
        return
    if wrong:
        message = f"tensors named {some(wrong, 1)}; {here} the layers under '{right}'"
        remedy = f"use the base model that the adapter was trained on, or rename them to '{right}'"
        yield adapter.finding("broken", "base-names", message, f"{remedy}…")


def _compare(adapter: Adapter, shapes: Shapes) -> Fit:
    fit = Fit([], [])
    for name, shape in _changed(adapter).items():
        found = _of_base(shapes, name)
        if found is not None and len(found) == len(shape):
            _add(fit, name, shape, found)
    return fit


def _changed(adapter: Adapter) -> dict[str, tuple[int, ...]]:
    """Module or parameter -> shape of the weight that the adapter changes or replaces."""
    found: dict[str, tuple[int, ...]] = {}
    for module, part in adapter.parts.items():
        if {"A", "B"} <= part.keys():
            a, b = adapter.shape(module, "A"), adapter.shape(module, "B")
            if len(a) == len(b) == 2:
                found[module] = (b[0], a[1])
    for name, kind in adapter.kinds.items():
        if kind in ("trained", "frozen") and name.endswith(".weight"):
            module = module_of(name).removesuffix(".weight").removesuffix(".base_layer")
            found.setdefault(module, adapter.weights.tensors[name].shape)
    return {module: shape for module, shape in found.items() if 0 not in shape}


def _of_base(shapes: Shapes, module: str) -> tuple[int, ...] | None:
    """The base's shape; a head that the base does not store is tied to the embedding."""
    found = shapes.get(f"{short(module)}.weight")
    return shapes.get("embed_tokens.weight") if found is None and module == "lm_head" else found


def _add(fit: Fit, module: str, shape: tuple[int, ...], found: tuple[int, ...]) -> None:
    """Embeddings and Conv1D layers store the transposed weight."""
    if shape in (found, found[::-1]):
        return
    if _VOCABULARY.fullmatch(module) and found[-1] in shape:
        rows = next((size for size in shape if size != found[-1]), found[-1])
        fit.vocabulary.append(f"{quote(module)} has {rows} rows, the base {found[0]}")
    else:
        sizes = " x ".join(map(str, shape)), " x ".join(map(str, found))
        fit.wrong.append(f"{quote(module)} is {sizes[0]}, in the base {sizes[1]}")
