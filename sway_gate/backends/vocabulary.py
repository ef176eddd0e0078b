"""Tokens that training added: the adapter's tokenizer, and embeddings of its size.

Of the tokenizer in the adapter's folder, only the data of added tokens is read. The base gets the
rows that peft saved with the adapter, as they were before training. Rows that are not saved are the
mean of the base's rows.
"""

import copy
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor
from transformers import AddedToken

from sway_gate.errors import AdapterError
from sway_gate.model_files.config import json_object
from sway_gate.model_files.hub import ADAPTER_WEIGHTS, weight_files
from sway_gate.model_files.shapes import shapes_of, short
from sway_gate.model_files.tokens import Malformed, Token, added_tokens
from sway_gate.static.findings import finding_line
from sway_gate.static.tokenizer import malformed
from sway_gate.text import counted, cut, named

_FEW = 1024
"""This number of rows takes little memory in any model."""
# Where peft saves the rows of an embedding or a head. The last one has the trained rows if
# modules_to_save lists the module.
_ROWS = ("original_module.weight", "base_layer.weight", "weight")


class Vocabulary(NamedTuple):
    """The tokenizer with the adapter's tokens, and notes for the report.

    `is_resized`: the base's embeddings have another size than in its files.
    """

    tokenizer: Any
    is_resized: bool
    notes: tuple[str, ...]


def fit(model: Any, tokenizer: Any, adapter: Path) -> Vocabulary:
    """Add the adapter's tokens to a copy of the tokenizer, and resize the base's embeddings.

    Raises AdapterError if files of the adapter are not valid.
    """
    rows = model.get_input_embeddings().weight.shape[0]
    size, saved = _saved_rows(model, adapter)
    tokens, known = _added_tokens(adapter), tokenizer.get_vocab()
    new = [token for token in tokens if token.content not in known]
    _require_rows(adapter, len(new), (size or rows) - len(tokenizer))
    tokenizer, count, notes = _with_tokens(tokenizer, tokens, new)
    size = size or (max(rows, len(tokenizer)) if count else rows)
    if size == rows:
        return Vocabulary(tokenizer, False, notes)
    is_saved = _resize(model, size, saved)
    kept = "saved with the adapter" if is_saved else "the mean of the others: the adapter has none"
    return Vocabulary(tokenizer, True, (*notes, _note(rows, size, kept)))


def fit_rows(model: Any, tuned: Path) -> tuple[str, ...]:
    """Give the base as many embeddings as the model in `tuned` has; a note if it had others.

    Nothing happens to a quantized base, or if the embeddings have another name in the files.
    """
    rows, size = model.get_input_embeddings().weight.shape[0], _rows_of(model, tuned)
    if size in (0, rows) or getattr(model, "is_quantized", False):
        return ()
    _resize(model, size, {})
    return (_note(rows, size, "the mean of the others: its files have none"),)


def _rows_of(model: Any, tuned: Path) -> int:
    """The number of embeddings in the files; 0 if unknown. Reading the files reports errors."""
    names = {short(f"{name}.weight") for name in _embeddings(model)}
    try:
        for path in weight_files(tuned):
            with safe_open(path, "pt") as file:
                slices = [file.get_slice(key) for key in file.keys() if short(key) in names]  # noqa: SIM118
                for shape in (found.get_shape() for found in slices):
                    if len(shape) == 2:
                        return int(shape[0])
    except (OSError, SafetensorError):
        pass
    return 0


def _note(rows: int, size: int, kept: str) -> str:
    note = f"vocabulary resized from {rows} to {size} embeddings"
    return f"{note}; the base's new ones are {kept}" if size > rows else note


def _added_tokens(folder: Path) -> list[Token]:
    try:
        return added_tokens(folder)
    except Malformed as error:
        raise AdapterError(finding_line(malformed(error))) from None


def _require_rows(adapter: Path, new: int, free: int) -> None:
    """Raise AdapterError if far more tokens are added than the embeddings have rows for.

    free: rows without a token. Others get rows that nothing trained, which takes memory and time.
    """
    shapes = shapes_of(adapter / ADAPTER_WEIGHTS).values()
    largest = max((max(shape, default=0) for shape in shapes), default=0)
    if new > max(free, 0) + max(_FEW, largest):
        raise AdapterError(
            f"{adapter}: the tokenizer adds {new:,} tokens that the base lacks, but the adapter "
            "has no embeddings for them; use the tokenizer of the training, or remove its files"
        )


def _with_tokens(
    tokenizer: Any, tokens: list[Token], new: list[Token]
) -> tuple[Any, int, tuple[str, ...]]:
    """The tokenizer with the tokens that it lacks, their number, and notes."""
    if all(tokenizer.convert_tokens_to_ids(token.content) == token.id for token in tokens):
        return tokenizer, 0, ()
    extended = copy.deepcopy(tokenizer)
    for special, group in groupby(new, lambda token: token.special):
        extended.add_tokens([_added(token) for token in group], special_tokens=special)
    for token in tokens:
        number = extended.convert_tokens_to_ids(token.content)
        if number != token.id:
            text = cut(repr(token.content), 60)
            why = f"gives {text} the id {token.id}, the base's gives it {number}"
            note = f"warning: the tokenizer in the adapter's folder {why}; the base's is used"
            return tokenizer, 0, (note,)
    names = named([cut(repr(token.content), 60) for token in new])
    return extended, len(new), (f"{counted(len(new), 'token')} of the adapter added: {names}",)


def _added(token: Token) -> Any:
    options = {name: value for name, value in msgspec.structs.asdict(token).items() if name != "id"}
    make: Any = AddedToken
    return make(**options)


def _saved_rows(model: Any, adapter: Path) -> tuple[int, dict[str, Tensor]]:
    """Number of embeddings that the adapter was saved with, 0 if unknown, and the base's rows."""
    listed = json_object(adapter / "adapter_config.json").get("modules_to_save")
    trained = listed if isinstance(listed, list) else []
    sizes: set[int] = set()
    saved = {}
    try:
        with safe_open(adapter / ADAPTER_WEIGHTS, "pt") as file:
            keys = set(file.keys())
            for name in _embeddings(model):
                prefix = f"base_model.model.{name}."
                present = [prefix + key for key in _ROWS if prefix + key in keys]
                shapes = [file.get_slice(key).get_shape() for key in present]
                sizes |= {shape[0] for shape in shapes if len(shape) == 2}
                if name.rpartition(".")[2] in trained and prefix + "weight" in present:
                    present.remove(prefix + "weight")
                if present:
                    saved[name] = file.get_tensor(present[0])
    except (OSError, SafetensorError):
        return 0, {}  # reading the adapter reports it
    if len(sizes) > 1:
        raise AdapterError(f"{adapter}: saved embeddings have different sizes: {sorted(sizes)}")
    return next(iter(sizes), 0), saved


def _embeddings(model: Any) -> dict[str, Any]:
    """The input embeddings and the head, by name."""
    ends = (model.get_input_embeddings(), model.get_output_embeddings())
    return {n: module for n, module in model.named_modules() if any(module is m for m in ends)}


def _resize(model: Any, size: int, saved: dict[str, Tensor]) -> bool:
    """Resize the embeddings and the head. Whether the rows of all of them are saved."""
    old = model.get_input_embeddings().weight.shape[0]
    model.resize_token_embeddings(size, mean_resizing=False)
    is_saved = True
    names: dict[Tensor, list[str]] = {}  # a tied weight has two names
    for name, module in _embeddings(model).items():
        names.setdefault(module.weight, []).append(name)
    for weight, of_weight in names.items():
        rows = next((saved[name] for name in of_weight if name in saved), None)
        is_saved = is_saved and rows is not None
        if size > old:
            with torch.no_grad():
                weight[old:] = weight[:old].mean(0) if rows is None else rows[old:].to(weight)
    return is_saved
