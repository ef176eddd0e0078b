"""Compare the base that an adapter was trained on with the base that it will be used with."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from sway_gate.model_files import find, hub, kinds
from sway_gate.model_files.names import is_same_model
from sway_gate.results import Finding
from sway_gate.static.config import AdapterConfig
from sway_gate.static.findings import broken, finding, quote

LOCAL_NOTES = frozenset({"base-other-path", "base-revision"})
"""Ids of the notes that depend on paths and branches of this machine. Cached results omit them."""


class Base(NamedTuple):
    """The model to use: a hub id or path, and its folder if it is on this machine."""

    ref: str
    folder: Path | None


def base_findings(
    folder: Path, config: AdapterConfig, base: Base | None, *, fits: bool = True
) -> Iterator[Finding]:
    """Compare the base that the config names with `base`: its kind, name and revision.

    `fits`: whether the shapes of the tensors fit `base`, as far as they are known.
    """
    if base and base.folder and (kind := kinds.not_a_base(base.folder)):
        yield broken("base-kind", base.folder, f"base model: {kind.message}", kind.remedy)
    path, named = folder / hub.ADAPTER_CONFIG, config.base_model_name_or_path
    if not named:
        message = "base_model_name_or_path is missing: the files do not name the base model"
        yield finding("note", "base-missing", path, message)
        return
    if base is None:
        return
    both = f"the adapter was trained on {quote(named)}, this base is {quote(base.ref)}"
    if not (_names_hub_model(named) and _names_hub_model(base.ref)):
        meant = find.named_folder(named, folder) or named
        if os.path.abspath(meant) != os.path.abspath(base.ref):
            message = f"{both}; cannot verify that they are the same model"
            yield finding("note", "base-other-path", path, message)
    elif named.casefold() == base.ref.casefold():
        yield from _revision(folder, base)
    elif is_same_model(named, base.ref):
        message = f"{both}: by their names the same model, in another format or copy"
        yield finding("note", "base-repackaged", path, message)
    elif base.folder is None or not fits:
        remedy = "use the base model that the adapter was trained on, or another adapter"
        yield broken("base-mismatch", path, both, remedy)
    else:
        remedy = "use the results only if you know that both are the same model"
        yield finding("warning", "base-other-name", path, both, remedy)


def _names_hub_model(name: str) -> bool:
    return hub.is_hub_id(name) and not os.path.isdir(name)


def _revision(folder: Path, base: Base) -> Iterator[Finding]:
    pinned = find.pinned_revision(folder, base.ref)
    used = hub.commit(base.folder) if base.folder else None
    if pinned and base.folder and used and hub.commit_of(base.folder, pinned) != used:
        message = f"the adapter was trained on revision {quote(pinned)} of {quote(base.ref)}"
        path = folder / hub.ADAPTER_CONFIG
        yield finding("note", "base-revision", path, f"{message}, this base is revision {used}")
