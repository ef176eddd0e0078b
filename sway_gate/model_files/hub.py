"""Find a model's files on this machine: a folder, or a snapshot in the local Hugging Face cache.

The cache (``models--org--name/refs/REVISION`` names a commit, ``snapshots/COMMIT`` contains its
files) is read directly: huggingface_hub takes a second to import and is needed only for downloads.
"""

import json
import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from sway_gate.errors import CannotDecide, UsageError
from sway_gate.files import did_you_mean, irregular_in, read_regular

ADAPTER_CONFIG: Final = "adapter_config.json"
ADAPTER_WEIGHTS: Final = "adapter_model.safetensors"
MLX_WEIGHTS: Final = "adapters.safetensors"
ADAPTER_FILES: Final = (ADAPTER_CONFIG, ADAPTER_WEIGHTS, MLX_WEIGHTS)

_PART: Final = r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,94}[A-Za-z0-9_])?"
_HUB_ID: Final = re.compile(rf"(?:{_PART}/)?{_PART}")
_ADDRESS: Final = re.compile(rf"(?:https?://(?:www\.)?huggingface\.co|hf:/)/({_PART}/{_PART})")
_REVISION: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_./+-]{0,254}")
_COMMIT: Final = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")
_CONFIGS: Final = ("config.json", ADAPTER_CONFIG)
_WEIGHTS: Final = (".safetensors", ".bin")
_WHOLE: Final = "model.safetensors"
_INDEX: Final = "model.safetensors.index.json"
_MAX_INDEX_BYTES: Final = 64 * 2**20
_OR_ONLINE: Final = ", or pass --online"
DOWNLOADED: Final = ("*.json", "*.jinja", "*.safetensors", "*.txt", "*.model", "*.tiktoken")
"""Patterns of files to download: no pickles (.bin, .pt) and no code (.py)."""


def is_hub_id(ref: str) -> bool:
    """Whether `ref` has the form of a hub id: `name` or `org/name`."""
    if "--" in ref or ".." in ref or ref.endswith(".git"):
        return False
    return _HUB_ID.fullmatch(ref) is not None


def is_revision(revision: str) -> bool:
    """Whether `revision` can name a branch, a tag or a commit, and stays inside the cache."""
    leads_out = any(part.strip(".") == "" for part in revision.split("/"))
    return _REVISION.fullmatch(revision) is not None and not leads_out


def cache_folder(env: Mapping[str, str] = os.environ) -> Path:
    """Folder of the hub cache, from the same variables as in huggingface_hub, in the same order."""
    home = env.get("XDG_CACHE_HOME") or "~/.cache"
    hf_home = env.get("HF_HOME") or os.path.join(home, "huggingface")
    folder = (
        env.get("HF_HUB_CACHE") or env.get("HUGGINGFACE_HUB_CACHE") or os.path.join(hf_home, "hub")
    )
    return Path(os.path.expandvars(os.path.expanduser(folder)))


def folders() -> tuple[Path, Path]:
    """Folders with snapshots: the hub cache, then the installation (the image has MiniLM)."""
    return cache_folder(), Path(sys.prefix) / "share" / "sway-gate" / "hub"


def local(ref: str, revision: str | None, *, online: bool, what: str) -> Path:
    """Folder with the files of `ref`, a local folder or a hub id.

    `what` names it in messages ("base model"). With `online`, a snapshot that is incomplete in the
    local cache is downloaded. Raises UsageError if `ref` is neither a readable folder nor a hub id,
    if the revision is invalid or if a library could open a pipe or a device in the folder, and
    CannotDecide if the files are not available.
    """
    folder = _local(ref, revision, online, what)
    require_regular_files(folder, what)
    return folder


def require_regular_files(folder: Path, what: str) -> None:
    """Raise UsageError if the folder contains a pipe, a device or a socket."""
    if found := irregular_in(folder):
        raise UsageError(f"{what}: {found} is not a regular file; put a copy of the file there")


def _local(ref: str, revision: str | None, online: bool, what: str) -> Path:
    for folder in (ref, os.path.dirname(ref)):
        if os.path.isdir(folder) and not os.access(folder, os.X_OK):
            raise UsageError(f"{what}: {folder}: Permission denied; make it readable")
    if os.path.isdir(ref):
        return Path(ref)
    require_no_address(ref)
    if os.path.exists(ref):
        raise UsageError(f"{what}: {ref} is a file; give the folder that contains a saved model")
    if not is_hub_id(ref):
        raise UsageError(f"{what}: {ref!r} is neither a folder{_near(ref)} nor a hub id (org/name)")
    if revision is not None and not is_revision(revision):
        raise UsageError(
            f"{what}: {revision!r} is not a valid revision of {ref}; give a branch, tag or commit"
        )
    if found := _cached(ref, revision):
        return found
    if online:
        return _download(ref, revision, what)
    if is_missing_folder(ref):
        remedy = did_you_mean(ref, folder=True) or "give a folder, or the hub id of a cached model"
        raise UsageError(f"{what}: {ref}: no such folder; {remedy}")
    option = f" --revision {revision}" if revision else ""
    raise CannotDecide(
        f"{what}: {ref}{f' at {revision}' if revision else ''} is neither a folder{_near(ref)} nor "
        f"complete in the Hugging Face cache ({cache_folder()}); "
        f"run `hf download {ref}{option}`{_OR_ONLINE}"
    )


def require_no_address(ref: str) -> None:
    """Raise UsageError if `ref` is the address of a model on the hub, instead of its id."""
    if found := _ADDRESS.match(ref):
        raise UsageError(f"{ref} is an address; give the hub id: {found[1]}")


def is_missing_folder(ref: str) -> bool:
    """Whether `ref`, as org/name, is a path: only its last folder is missing."""
    parent, is_free = os.path.dirname(ref), not os.path.exists(ref)
    return bool(parent) and is_free and os.path.isdir(parent) and not is_cached(ref)


def without_online(message: str) -> str:
    """A message of `local`, for a command that cannot download."""
    return message.replace(_OR_ONLINE, "")


def _near(ref: str) -> str:
    near = did_you_mean(ref, folder=True)
    return f" ({near})" if near else ""


def weight_files(folder: Path) -> list[Path]:
    """The safetensors files of a model: the one file, or the shards that its index names.

    The shards may be missing. [] if there are no such files.
    """
    whole = folder / _WHOLE
    if whole.is_file():
        return [whole]
    names = _shards(folder, {_INDEX}) if (folder / _INDEX).is_file() else set()
    return [folder / name for name in sorted(filter(_is_plain_name, names))]


def _is_plain_name(name: object) -> bool:
    """Whether `name` names a file in a folder, and not one elsewhere."""
    return isinstance(name, str) and Path(name).name == name and "\\" not in name


def commit(path: str | os.PathLike[str]) -> str | None:
    """Commit of the snapshot that contains `path`; None outside `folders`.

    It is a name: only a digest of the files identifies their content.
    """
    caches = {os.path.realpath(folder) for folder in folders()}
    place = Path(os.path.abspath(path))
    for snapshot in (place, *place.parents):
        repo = snapshot.parent.parent
        is_snapshot = snapshot.parent.name == "snapshots" and repo.name.startswith("models--")
        if is_snapshot and os.path.realpath(repo.parent) in caches:
            return snapshot.name if _COMMIT.fullmatch(snapshot.name) else None
    return None


def commit_of(folder: Path, revision: str) -> str | None:
    """Commit that `revision` names in the cache that contains the snapshot `folder`."""
    if _COMMIT.fullmatch(revision):
        return revision
    return _branch_commit(Path(os.path.abspath(folder)).parents[1] / "refs" / revision)


def is_cached(ref: str) -> bool:
    """Whether the default branch of `ref` is complete in the local cache."""
    return _cached(ref, None) is not None


def _cached(ref: str, revision: str | None) -> Path | None:
    for folder in folders():
        found = _snapshot(folder / f"models--{ref.replace('/', '--')}", revision)
        if found:
            return found
    return None


def _snapshot(repo: Path, revision: str | None) -> Path | None:
    revision = revision or "main"
    name = revision if _COMMIT.fullmatch(revision) else _branch_commit(repo / "refs" / revision)
    snapshot = repo / "snapshots" / name if name else None
    return snapshot if snapshot and _is_complete(snapshot) else None


def _branch_commit(path: Path) -> str | None:
    try:
        name = read_regular(path, 65).decode("ascii").strip()
    except (OSError, ValueError):
        return None
    return name if _COMMIT.fullmatch(name) else None


def _is_complete(snapshot: Path) -> bool:
    """Whether the snapshot has a config and all weights; a broken link counts as missing."""
    try:
        names = {name for name in os.listdir(snapshot) if (snapshot / name).exists()}
    except OSError:
        return False
    weights = {name for name in names if name.endswith(_WEIGHTS)}
    return not names.isdisjoint(_CONFIGS) and bool(weights) and _shards(snapshot, names) <= names


def _shards(snapshot: Path, names: set[str]) -> set[str]:
    """Names of the weight files in the index; empty if it is missing or malformed."""
    if _INDEX not in names:
        return set()
    try:
        index = json.loads(read_regular(snapshot / _INDEX, _MAX_INDEX_BYTES))
        return set(index["weight_map"].values())
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return set()


def _download(ref: str, revision: str | None, what: str) -> Path:
    try:
        from huggingface_hub import snapshot_download
    except ImportError:
        raise CannotDecide(
            f"{what}: to download {ref}, install the extra: pip install 'sway-gate[hf]'"
        ) from None
    patterns = list(DOWNLOADED)
    try:
        found = snapshot_download(
            ref, revision=revision, cache_dir=cache_folder(), allow_patterns=patterns
        )
    # Any fault of the network, the hub or the disk means: could not decide.
    except Exception as error:
        message = " ".join(str(error).split())[:300]
        raise CannotDecide(
            f"{what}: {ref} could not be downloaded: {type(error).__name__}: {message}"
        ) from None
    if not _is_complete(Path(found)):
        raise CannotDecide(
            f"{what}: {ref} has no config.json or adapter_config.json with safetensors weights"
        )
    return Path(found)
