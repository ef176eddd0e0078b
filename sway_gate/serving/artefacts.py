"""What is served: a model folder, a GGUF file, or a model on an OpenAI-compatible server."""

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable
from urllib.parse import urldefrag

from sway_gate.errors import UsageError
from sway_gate.files import did_you_mean
from sway_gate.model_files.hub import ADAPTER_CONFIG
from sway_gate.spec.endpoints import wrong_endpoint

if TYPE_CHECKING:
    from sway_gate.backends.plain_model import Precision
    from sway_gate.serving.formats import Format
    from sway_gate.serving.scores import Passage, Scores
    from sway_gate.serving.weights import Rows, Stored

_SERVER = ("http://", "https://")


class Artefact(Protocol):
    """An artefact, by the name that the user gave it."""

    label: str

    @property
    def precision(self) -> "Precision | None":
        """How its weights are stored; None if it does not say."""

    def scores(self, passages: "Sequence[Passage]") -> "list[Scores]":
        """The scores of the passages. Raises CannotDecide."""

    def format(self) -> "Format": ...

    def notes(self, tokenizer: Any, passages: "Sequence[Passage]") -> tuple[str, ...]:
        """Further differences of format that only this kind of artefact shows."""

    def close(self) -> None: ...


@runtime_checkable
class ShowsWeights(Protocol):
    """An artefact whose weights can be compared with the merge's."""

    def stored(self, wanted: "Mapping[str, Rows]") -> "Mapping[str, Stored]":
        """The wanted rows that it has, by the name of the matrix. Raises CannotDecide."""


def open_artefact(name: str, device: str = "auto") -> Artefact:
    """Open the artefact with this path or address. Raises UsageError or CannotDecide."""
    check_name(name)
    if name.startswith(_SERVER):
        from sway_gate.serving.server import Server

        return Server(name)
    path = Path(name)
    if path.suffix == ".gguf":
        from sway_gate.serving.gguf import GgufFile

        return GgufFile(path)
    from sway_gate.serving.folder import ModelFolder

    return ModelFolder(path, device)


def check_name(name: str) -> None:
    """Raise UsageError if `name` is not an artefact."""
    if os.path.isfile(os.path.join(name, ADAPTER_CONFIG)):
        raise UsageError(
            f"--against {name}: is an adapter; give what is served, such as the merged model"
        )
    if name.startswith(_SERVER):
        if wrong := wrong_endpoint(urldefrag(name).url):
            shown = re.sub("//.*@", "//", name).partition("?")[0]  # without a password or a key
            raise UsageError(f"--against {shown}: {wrong}")
        return
    if os.path.isdir(name) or (os.path.exists(name) and name.endswith(".gguf")):
        return
    remedy = (
        "give a folder of a model, a .gguf file, or the address of a server, as "
        "http://localhost:8000/v1#MODEL"
    )
    if os.path.exists(name):
        raise UsageError(f"--against {name}: is a file; {remedy}")
    kind = "file" if name.endswith(".gguf") else "folder"
    raise UsageError(f"--against {name}: no such {kind}; {did_you_mean(name) or remedy}")
