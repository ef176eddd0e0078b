"""Read the JSON files of models: context length, chat template, and the fields of an adapter."""

import json
import os
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, Final, NamedTuple

from sway_gate.files import read_regular

_MAX_BYTES: Final = 64 * 2**20
_MAX_TEMPLATE_BYTES: Final = 2**20
CONTEXT_KEYS: Final = ("max_position_embeddings", "n_positions", "max_seq_len")
STARTED: Final = datetime.now()
"""The time that chat templates see: one for all renderings of a process."""
_TEMPLATE_FILES: Final = ("chat_template.jinja", "chat_template.json", "additional_chat_templates")


def context_tokens(folder: Path) -> int | None:
    """Context length of the model in tokens; None if its configuration does not state it."""
    fields = model_config(folder)
    for key in CONTEXT_KEYS:
        length = fields.get(key)
        if isinstance(length, int) and length > 0:
            return length
    return None


def model_config(folder: Path) -> dict[str, Any]:
    """The model's configuration; for a multimodal model, with the fields of its language model."""
    fields = json_object(folder / "config.json")
    nested = fields.get("text_config")
    return fields | nested if isinstance(nested, dict) else fields


def hub_kernel(config: Mapping[str, Any]) -> str:
    """The hub id in a field attn_implementation: code that transformers runs; "" if there is none.

    The field can be in nested configs, and can have a value for each of them.
    """
    found: list[tuple[str, Any]] = [("", config)]
    while found:
        field, value = found.pop()
        is_attention = field.endswith("attn_implementation")
        if isinstance(value, dict):
            found += [(field if is_attention else key, item) for key, item in value.items()]
        elif is_attention and "/" in str(value):
            return str(value)
    return ""


def has_chat_template(folder: Path) -> bool:
    """Whether the tokenizer comes with a chat template."""
    if any(os.path.exists(folder / name) for name in _TEMPLATE_FILES):
        return True
    return bool(json_object(folder / "tokenizer_config.json").get("chat_template"))


def is_served_with_template(base: Path, adapter: Path) -> bool:
    """Whether the base or the adapter's folder has a chat template."""
    return has_chat_template(base) or chat_template(adapter) is not None


class ChatTemplate(NamedTuple):
    """The text of a chat template, and the name of its file."""

    text: str
    file: str


def chat_template(folder: Path) -> ChatTemplate | None:
    """The chat template saved in a folder; None if it has none of at most 1 MiB of UTF-8 text.

    Of several named templates, the one named default. No code of the folder is read.
    """
    try:
        name = "chat_template.jinja"
        text: Any = read_regular(folder / name, _MAX_TEMPLATE_BYTES + 1).decode()
    except (OSError, UnicodeDecodeError):
        name = "tokenizer_config.json"
        text = json_object(folder / name).get("chat_template")
        if isinstance(text, list):
            named = [entry for entry in text if isinstance(entry, dict)]
            text = next((e.get("template") for e in named if e.get("name") == "default"), None)
    is_usable = isinstance(text, str) and 0 < len(text) <= _MAX_TEMPLATE_BYTES
    return ChatTemplate(text, name) if is_usable and text.strip() else None


def prints_date(folder: Path) -> bool:
    """Whether the chat template saved in a folder prints the date, as in Llama 3."""
    found = chat_template(folder)
    return found is not None and "strftime_now" in found.text


def json_object(path: Path) -> dict[str, Any]:
    """Return the JSON object in the file; empty if the file is missing or malformed.

    Loading the model reports such a file. The parser is the one of transformers, which accepts
    Infinity, so that no config escapes the checks.
    """
    try:
        found = json.loads(read_regular(path, _MAX_BYTES).decode())
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
