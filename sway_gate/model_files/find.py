"""Find the adapter and the base model of a run on this machine, and refuse other files by name."""

import os
from pathlib import Path

from sway_gate.errors import AdapterError, CannotDecide, SwayError, UsageError
from sway_gate.model_files import hub, kinds
from sway_gate.model_files.config import json_object

_MARK_OF_UNSLOTH = "unsloth"
"""Unsloth writes this as the revision of every base, whose repository has no such branch."""


def adapter(ref: str, revision: str | None, *, online: bool) -> Path:
    """Folder of the adapter `ref`: a folder, a file of the adapter, or a hub id.

    Raises like `hub.local`, and AdapterError if it is not a peft adapter.
    """
    path = Path(ref)
    if os.path.isfile(path):
        hub.require_regular_files(path.parent, "adapter")
    else:
        path = hub.local(ref, revision, online=online, what="adapter")
    if kind := kinds.not_an_adapter(path):
        raise AdapterError(f"{path}: {kind.message}; {kind.remedy}")
    return path.parent if path.is_file() else path


def base(
    ref: str, revision: str | None, adapter: Path | None, *, online: bool, for_mlx: bool = False
) -> Path:
    """Folder of the base model `ref`, a folder or a hub id.

    Without `revision`: the revision that the adapter, if there is one, pins, or the default branch
    if only that one is available. for_mlx: mlx-lm will load it. Raises like `hub.local`, and
    UsageError if it is not a model.
    """
    pinned = pinned_revision(adapter, ref) if adapter else None
    folder = _base(ref, revision, pinned, online)
    if kind := kinds.not_a_base(folder, for_mlx=for_mlx):
        raise UsageError(f"base model: {folder}: {kind.message}; {kind.remedy}")
    return folder


def _base(ref: str, revision: str | None, pinned: str | None, online: bool) -> Path:
    what = "base model"
    if revision is None and pinned is not None:
        try:
            return hub.local(ref, pinned, online=online, what=what)
        except CannotDecide:
            if not hub.is_cached(ref):
                raise
    return hub.local(ref, revision, online=online, what=what)


def base_if_local(ref: str, adapter: Path) -> Path | None:
    """Like `base`; None if the model is not on this machine."""
    try:
        return _base(ref, None, pinned_revision(adapter, ref), online=False)
    except SwayError:
        return None


def pinned_revision(adapter: Path, base: str) -> str | None:
    """The revision of the hub model `base` that the adapter's configuration names."""
    config = json_object(adapter / hub.ADAPTER_CONFIG)
    named, revision = config.get("base_model_name_or_path"), config.get("revision")
    if not isinstance(named, str) or named.casefold() != base.casefold() or os.path.isdir(base):
        return None
    if not isinstance(revision, str) or revision == _MARK_OF_UNSLOTH:
        return None
    return revision if hub.is_revision(revision) else None


def named_folder(named: str, adapter: Path) -> Path | None:
    """The folder that the adapter's configuration names as its base; None if there is none.

    A relative path starts in the current folder, in the adapter's folder or next to it.
    """
    if named.startswith(("\\\\", "//")):  # opening a network path sends the user's credentials
        return None
    if os.path.isdir(named):
        return Path(named)
    if hub.is_hub_id(named) or os.path.isabs(named):
        return None
    places = (Path(os.path.normpath(place / named)) for place in (adapter, adapter.parent))
    return next((place for place in places if os.path.isdir(place)), None)
