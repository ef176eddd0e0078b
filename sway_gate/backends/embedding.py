"""Sentence embeddings on the CPU, from a sentence-transformers folder or the local Hugging Face cache.

The folder is hostile input: no pickles, no code of its own, only the modules named here, nothing from the network.
"""

import gc
import io
import json
import logging
import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stderr
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import numpy as np

from sway_gate.errors import SwayError
from sway_gate.measurements import Floats
from sway_gate.model_files import hub
from sway_gate.probes.base import CannotRun
from sway_gate.spec.probes import MINILM
from sway_gate.text import cut, one_line

PINNED: Final = {MINILM: "c9745ed1d9f207416be6d2e6f8de32d1f16199bf"}
"""The revision of the default model; another hub id is read at its main branch."""
_BATCH: Final = 32
_MAX_JSON: Final = 2**20
_MODULES: Final = re.compile(
    r"sentence_transformers\.(?:\w+\.)*(Transformer|Pooling|Normalize|Dense)"
)
_WITH_WEIGHTS: Final = ("Transformer", "Dense")
# sentence-transformers calls whatever a Dense layer's config names.
_ACTIVATION: Final = re.compile(r"torch\.nn\.modules\.(?:activation\.\w+|linear\.Identity)")
_REMEDY: Final = "or name a folder in embedding_model"


class SentenceEmbedder:
    """Implements `probes.Embedder`. A model is loaded when the first text is embedded, a text is embedded once."""

    def __init__(self, online: bool = False) -> None:
        self._online = online
        self._folders: dict[str, Path] = {}
        self._models: dict[str, Callable[[list[str]], Any]] = {}
        self._vectors: dict[str, dict[str, Floats]] = {}

    def require(self, model: str) -> None:
        """Raises CannotRun where `model` (a hub id or a folder) or the extra is not to be had, or is refused."""
        self._folder(model)

    def embed(self, model: str, texts: Sequence[str]) -> Floats:
        """Unit vectors [texts, dimensions]. Raises CannotRun where the model cannot be loaded or gives no numbers."""
        known = self._vectors.setdefault(model, {})
        if new := [text for text in dict.fromkeys(texts) if text not in known]:
            known.update(zip(new, self._encoded(model, new), strict=True))
        return np.stack([known[text] for text in texts]) if texts else np.empty((0, 0))

    def _encoded(self, model: str, texts: list[str]) -> Floats:
        if model not in self._models:
            self._models[model] = _load(self._folder(model))
        try:
            with _quiet():
                vectors = self._models[model](texts)
            vectors = np.asarray(vectors, dtype=np.float64)
            norms = np.linalg.norm(vectors, axis=1, keepdims=True)
        except Exception as error:  # whatever the library raises, the probe cannot run
            raise _cannot(self._folder(model), f"fails on a text: {_text(error)}") from None
        if not (np.isfinite(norms).all() and norms.all()):
            raise _cannot(
                self._folder(model),
                "gives vectors without a direction (NaN, Inf or 0): it is damaged",
            )
        unit: Floats = vectors / norms
        return unit

    def _folder(self, model: str) -> Path:
        if model not in self._folders:
            if find_spec("sentence_transformers") is None:
                raise CannotRun(
                    "sentence embeddings need an extra: pip install 'sway-gate[semsim]'"
                )
            try:
                folder = hub.local(
                    model, PINNED.get(model), online=self._online, what="embedding model"
                )
            except SwayError as error:
                raise CannotRun(f"{error}, {_REMEDY}") from None
            check(folder)
            self._folders[model] = folder
        return self._folders[model]


def check(folder: Path) -> None:
    """Raises CannotRun for a folder that is no sentence-transformers model of safetensors and known modules."""
    modules = _json(folder, "modules.json")
    if not isinstance(modules, list) or not modules:
        raise _cannot(folder, "modules.json lists no modules")
    for module in modules:
        kind, path = (
            (module.get("type"), module.get("path")) if isinstance(module, dict) else (None, None)
        )
        known = _MODULES.fullmatch(kind) if isinstance(kind, str) else None
        if known is None:
            named = f"modules.json names {str(kind)[:80]!r}"
            raise _cannot(
                folder, f"{named}; only Transformer, Pooling, Normalize and Dense are loaded"
            )
        if not isinstance(path, str) or not re.fullmatch(r"[\w-]*", path):
            raise _cannot(folder, f"modules.json leads to {str(path)[:80]!r}, outside the folder")
        _check_module(folder / path, known[1])


def _check_module(folder: Path, kind: str) -> None:
    if kind in _WITH_WEIGHTS:
        config = _json(folder, "config.json")
        if not any(folder.glob("*.safetensors")):
            raise _cannot(
                folder,
                "holds no .safetensors; pickled weights can run code when they are loaded: refused",
            )
        activation = config.get("activation_function") if isinstance(config, dict) else None
        if kind == "Dense" and not (
            isinstance(activation, str) and _ACTIVATION.fullmatch(activation)
        ):
            raise _cannot(
                folder,
                f"config.json names the activation {str(activation)[:80]!r}, none of torch's own",
            )
        if (folder / "adapter_config.json").exists():
            raise _cannot(folder, "holds an adapter, whose base lies elsewhere; merge it first")


def _json(folder: Path, name: str) -> Any:
    try:
        with open(folder / name, "rb") as file:
            data = file.read(_MAX_JSON + 1)
        if len(data) > _MAX_JSON:
            raise ValueError("larger than 1 MiB")
        return json.loads(data)
    except OSError:
        raise _cannot(folder, f"has no readable {name}: no sentence-transformers model") from None
    except (ValueError, RecursionError) as error:
        raise _cannot(folder, f"{name} is broken: {_text(error)}") from None


def _load(folder: Path) -> Callable[[list[str]], Any]:
    """What embeds texts, on one thread: the same bits on every machine's number of cores, and several times faster
    than two threads of which one has to wait for its core."""
    try:
        with _quiet():
            from sentence_transformers import SentenceTransformer
            from threadpoolctl import threadpool_limits

            model = SentenceTransformer(
                str(folder),
                device="cpu",
                local_files_only=True,
                trust_remote_code=False,
                model_kwargs={"use_safetensors": True},
            )
    except Exception as error:  # the libraries raise whatever the files provoke
        raise _cannot(folder, f"cannot be loaded: {_text(error)}") from None

    def encode(texts: list[str]) -> Any:
        with threadpool_limits(1):
            return model.encode(texts, batch_size=_BATCH, show_progress_bar=False)

    return encode


@contextmanager
def _quiet() -> Iterator[None]:
    """No progress bars, log lines or warnings of the libraries; and no search for garbage, which takes a quarter of
    the import."""
    collecting, silenced = gc.isenabled(), logging.root.manager.disable
    gc.disable()
    logging.disable(logging.CRITICAL)
    try:
        with redirect_stderr(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(silenced)
        if collecting:
            gc.enable()


def _cannot(folder: Path, wrong: str) -> CannotRun:
    return CannotRun(f"embedding model {folder}: {wrong}; get it anew with hf download, {_REMEDY}")


def _text(error: Exception) -> str:
    return cut(one_line(f"{type(error).__name__}: {error}"), 300)
