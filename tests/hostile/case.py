"""One hostile input: its files, the command that reads them, and the required answer."""

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load, save

from sway_gate import demo

DEMO = Path(demo.HEALTHY).parent
SECRET = "s3cret-canary"
"""Stands in a file in the folder of each case, and must never be printed or written."""

Content = str | bytes | Callable[[Path], None]
"""The text or bytes of a file, or a function that creates something else at its path."""
Files = Mapping[str, Content]


@dataclass(frozen=True)
class Case:
    """A row of a table. In texts and commands, {demo} is the folder of the demo's models."""

    name: str
    command: str
    code: int
    words: str
    """One line of the output contains them."""
    files: Files = field(default_factory=dict)
    env: Mapping[str, str] = field(default_factory=dict)
    stdin: bytes = b""
    writes: tuple[str, ...] = ()
    """The files that the command may create or change."""
    heavy: bool = False
    """Whether it loads torch."""

    def build(self, folder: Path) -> None:
        for name, content in self.files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if callable(content):
                content(path)
            else:
                path.write_bytes(filled(content).encode() if isinstance(content, str) else content)


def filled(text: str) -> str:
    return text.replace("{demo}", str(DEMO))


# --- files


def to(target: str) -> Callable[[Path], None]:
    """A symbolic link."""
    return lambda path: path.symlink_to(target)


def pipe(path: Path) -> None:
    os.mkfifo(path)


def folder(path: Path) -> None:
    path.mkdir()


def sparse(size: int, start: bytes = b"") -> Callable[[Path], None]:
    """A file of `size` bytes that takes no space on the disk, with `start` at its start."""

    def create(path: Path) -> None:
        path.write_bytes(start)
        os.truncate(path, size)

    return create


# --- specs

SOUND = "{name: moved, kind: delta_kl, prompts: [The island]}"


def spec(
    *suite: str,
    base: str = "{base: '{demo}/model', device: cpu}",
    ft: str = "{base: '{demo}/model', adapter: '{demo}/healthy'}",
    more: str = "",
) -> dict[str, Content]:
    """A spec with one entry per line."""
    entries = "".join(f"  - {entry}\n" for entry in suite or (SOUND,))
    text = f"version: 1\nmodels:\n  base: {base}\n  ft: {ft}\nsuite:\n{entries}{more}"
    return {"sway.yaml": text}


def own_spec(base: str = "base", adapter: str = "adapter", **more: str) -> dict[str, Content]:
    """A spec of the models in the case's folder."""
    return spec(base=f"{{base: ./{base}}}", ft=f"{{base: ./{base}, adapter: ./{adapter}}}", **more)


# --- models

CONFIG: dict[str, Any] = json.loads((DEMO / "healthy/adapter_config.json").read_text())
WEIGHTS = (DEMO / "healthy/adapter_model.safetensors").read_bytes()


def adapter(weights: bytes = WEIGHTS, raw: Content = "", **changed: Any) -> dict[str, Content]:
    """The demo's adapter with other weights, another config (`raw`), or other fields of it."""
    return {
        "adapter/adapter_config.json": raw or json.dumps(CONFIG | changed),
        "adapter/adapter_model.safetensors": weights,
    }


def base(raw: Content = "", **changed: Any) -> dict[str, Content]:
    """The demo's base with another config (`raw`), or other fields of it."""
    files: dict[str, Content] = {
        f"base/{path.name}": path.read_bytes() for path in (DEMO / "model").iterdir()
    }
    config = json.loads((DEMO / "model/config.json").read_text()) | changed
    return files | {"base/config.json": raw or json.dumps(config)}


def safetensors(header: Any, data: bytes = b"") -> bytes:
    """A safetensors file with this header."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data


def tensors(change: Callable[[str, np.ndarray], np.ndarray]) -> bytes:
    """The demo's weights, each tensor changed."""
    changed = {key: change(key, value) for key, value in load(WEIGHTS).items()}
    return save({key: np.ascontiguousarray(value) for key, value in changed.items()})
