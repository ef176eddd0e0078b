"""Sentence embeddings on the CPU, from a sentence-transformers folder or the Hugging Face cache.

The folder is untrusted: no pickle and no code from it is loaded, only the modules listed here, and
nothing is downloaded while loading.
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

from sway_gate.errors import SwayError, is_out_of_memory
from sway_gate.files import read_regular
from sway_gate.measurements import Floats
from sway_gate.model_files import hub
from sway_gate.model_files.shapes import oversized
from sway_gate.probes.base import CannotRun
from sway_gate.spec.probes import PINNED
from sway_gate.text import cut, named, one_line

_BATCH: Final = 32
_MAX_JSON: Final = 2**20
_MODULES: Final = re.compile(
    r"sentence_transformers\.(?:\w+\.)*(Transformer|Pooling|Normalize|Dense)"
)
_WITH_WEIGHTS: Final = ("Transformer", "Dense")
# sentence-transformers calls the function that a Dense layer's config states.
_ACTIVATION: Final = re.compile(r"torch\.nn\.modules\.(?:activation\.\w+|linear\.Identity)")
_REMEDY: Final = "or set embedding_model to a folder"


class SentenceEmbedder:
    """Implements `probes.Embedder`. Models are loaded when first used; texts are embedded once."""

    def __init__(self, online: bool = False) -> None:
        self._online = online
        self._folders: dict[str, Path] = {}
        self._models: dict[str, Callable[[list[str]], Any]] = {}
        self._vectors: dict[str, dict[str, Floats]] = {}

    def require(self, model: str) -> None:
        """Raise CannotRun if `model` (a hub id or a folder) or the extra is missing or refused."""
        self._folder(model)

    def embed(self, model: str, texts: Sequence[str]) -> Floats:
        """Unit vectors [texts, dimensions].

        Raises CannotRun if the model cannot be loaded or returns NaN, Inf or 0.
        """
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
        except Exception as error:  # the library raises arbitrary exceptions
            raise _cannot(self._folder(model), f"fails on a text: {_text(error)}") from None
        if not (np.isfinite(norms).all() and norms.all()):
            raise _cannot(
                self._folder(model),
                "returns vectors without a direction (NaN, Inf or 0): it is damaged",
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
    """Raise CannotRun unless the folder is a model of safetensors files and known modules."""
    modules = _json(folder, "modules.json")
    if not isinstance(modules, list) or not modules:
        raise _cannot(folder, "modules.json lists no modules")
    for module in modules:
        fields = module if isinstance(module, dict) else {}
        kind, path = fields.get("type"), fields.get("path")
        known = _MODULES.fullmatch(kind) if isinstance(kind, str) else None
        if known is None:
            named = f"modules.json lists {str(kind)[:80]!r}"
            raise _cannot(
                folder, f"{named}; only Transformer, Pooling, Normalize and Dense are loaded"
            )
        if not isinstance(path, str) or not re.fullmatch(r"[\w-]*", path):
            raise _cannot(folder, f"modules.json refers to {str(path)[:80]!r}, outside the folder")
        _check_module(folder / path, known[1])


def _check_module(folder: Path, kind: str) -> None:
    if kind in _WITH_WEIGHTS:
        config = _json(folder, "config.json")
        if not any(folder.glob("*.safetensors")):
            raise _cannot(
                folder,
                "has no .safetensors file; pickled weights are refused because they can run code",
            )
        if wrong := oversized(folder):
            raise _cannot(folder, wrong)
        activation = config.get("activation_function") if isinstance(config, dict) else None
        if kind == "Dense" and not (
            isinstance(activation, str) and _ACTIVATION.fullmatch(activation)
        ):
            raise _cannot(
                folder,
                f"config.json has the activation {str(activation)[:80]!r}, "
                "which is not one of torch's",
            )
        if (folder / "adapter_config.json").exists():
            raise _cannot(folder, "is an adapter without its base; merge it first")


def _json(folder: Path, name: str) -> Any:
    try:
        data = read_regular(folder / name, _MAX_JSON + 1)
        if len(data) > _MAX_JSON:
            raise ValueError("larger than 1 MiB")
        return json.loads(data)
    except OSError:
        raise _cannot(
            folder, f"has no readable {name}: it is not a sentence-transformers model"
        ) from None
    except (ValueError, RecursionError) as error:
        raise _cannot(folder, f"{name} is invalid: {_text(error)}") from None


def _load(folder: Path) -> Callable[[list[str]], Any]:
    """A function that embeds texts on one thread.

    Its results do not depend on the number of cores, and on a busy machine it is several times
    faster than two threads.
    """
    try:
        with _quiet(), _absent_weights() as absent:
            from sentence_transformers import SentenceTransformer
            from threadpoolctl import threadpool_limits

            model = SentenceTransformer(
                str(folder),
                device="cpu",
                local_files_only=True,
                trust_remote_code=False,
                model_kwargs={"use_safetensors": True},
            )
    except Exception as error:  # the libraries raise arbitrary exceptions on invalid files
        raise _cannot(folder, f"cannot be loaded: {_text(error)}") from None
    if absent:
        raise _cannot(folder, f"lacks weights: {named(sorted(absent))}")

    def encode(texts: list[str]) -> Any:
        with threadpool_limits(1):
            return model.encode(texts, batch_size=_BATCH, show_progress_bar=False)

    return encode


@contextmanager
def _absent_weights() -> Iterator[set[str]]:
    """Collect the weights that the files of loaded models lack.

    transformers fills them with random numbers, and sentence-transformers does not pass them on.
    """
    from transformers import PreTrainedModel

    absent = set[str]()
    patched: Any = PreTrainedModel
    load = patched.__dict__["from_pretrained"]

    def load_and_check(cls: Any, *args: Any, **options: Any) -> Any:
        model, found = load.__get__(None, cls)(*args, output_loading_info=True, **options)
        # Sentence embeddings are computed without the pooler, which many models do not save.
        absent.update(key for key in found["missing_keys"] if not key.startswith("pooler."))
        return model

    patched.from_pretrained = classmethod(load_and_check)
    try:
        yield absent
    finally:
        patched.from_pretrained = load


@contextmanager
def _quiet() -> Iterator[None]:
    """Suppress the libraries' progress bars, log lines and warnings.

    Also stop garbage collection, which takes a quarter of the import.
    """
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
    return CannotRun(
        f"embedding model {folder}: {wrong}; download it again with hf download, {_REMEDY}"
    )


def _text(error: Exception) -> str:
    if is_out_of_memory(error):
        raise MemoryError from None
    return cut(one_line(f"{type(error).__name__}: {error}"), 300)
