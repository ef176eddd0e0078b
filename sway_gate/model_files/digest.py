"""Identity of an adapter or a base model: one sha256 of the files in its folder.

The hash of each file is cached by inode, size and times: unchanged files are not read again.
"""

import hashlib
import os
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec

from sway_gate import cache
from sway_gate.errors import CannotDecide
from sway_gate.files import open_regular
from sway_gate.model_files.config import chat_template
from sway_gate.model_files.hub import ADAPTER_FILES
from sway_gate.model_files.shapes import layout_fault

MODEL_FILES = (
    "config.json",
    "generation_config.json",
    "*.safetensors",
    "*.safetensors.index.json",
    "tokenizer*.json",
    "vocab.*",
    "merges.txt",
    "*.model",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.*",
    "additional_chat_templates/*",
    "*.py",
)
ADAPTER_TOKENIZER = ("tokenizer.json", "tokenizer_config.json")
"""The files of an adapter's own tokenizer, of which the added tokens are used."""
EMBEDDER_FILES = (*MODEL_FILES, "*.json", "*/config.json", "*/*.safetensors")
"""Pooling and dense layers of sentence-transformers have their own folders."""

_LARGE_BYTES = 2**26
_MEMO = "digests/files"
_MEMO_ENTRIES = 4096
_SETTLED_NS = 2_000_000_000
"""Resolution of times on FAT, the coarsest: a younger file can change without a new time."""


def file_sha256(path: Path) -> str:
    """Hexadecimal sha256 of a file's content."""
    with open_regular(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


State = dict[str, str | None]
"""A key per file that changes when the file is written or replaced; None if it is too young."""


def tree(folder: Path, *, patterns: Sequence[str]) -> str:
    """Hexadecimal sha256 of the names and contents of the files in `folder` that match `patterns`.

    Equal to ``sha256sum -z FILE... | sha256sum`` in `folder` with sorted names. Links are followed.
    Raises `CannotDecide` if no file matches or one cannot be read.
    """
    try:
        files = _files(folder, patterns)
        names = sorted(files)
        hashes = _hashes([files[name] for name in names])
    except OSError as error:
        raise CannotDecide(
            f"{error.filename or folder}: cannot be read ({error.strerror}); make it readable"
        ) from error
    if not names:
        raise CannotDecide(
            f"{folder}: contains none of {', '.join(patterns)}; "
            "give a folder that contains a saved model"
        )
    lines = (os.fsencode(f"{digest}  {name}\0") for name, digest in zip(names, hashes, strict=True))
    return hashlib.sha256(b"".join(lines)).hexdigest()


def adapter_digest(folder: Path) -> str:
    """`tree` of an adapter's configuration and weights, and of its tokenizer and chat template if
    it has them.

    Other files do not count.
    """
    return tree(folder, patterns=_adapter_patterns(folder))


def tokenizer_digest(folder: Path) -> str:
    """`tree` of an adapter's tokenizer and chat template; "" if it has neither."""
    patterns = _tokenizer_files(folder)
    return tree(folder, patterns=patterns) if patterns else ""


def model_digest(folder: Path) -> str:
    """`tree` of a model's configuration, weights, tokenizer and code."""
    return tree(folder, patterns=MODEL_FILES)


def embedder_digest(folder: Path) -> str:
    """`tree` of a sentence-transformers model, with the folders of its layers."""
    return tree(folder, patterns=EMBEDDER_FILES)


def model_files(folder: Path) -> list[str]:
    """The paths of the files of a model or an adapter that can be read."""
    files = _files(folder, (*ADAPTER_FILES, *MODEL_FILES, "modules.json", "*/config.json"))
    return [str(path) for path in files.values()]


def adapter_state(folder: Path) -> State:
    """The state of the files that `adapter_digest` reads."""
    return _state(folder, _adapter_patterns(folder))


def model_state(folder: Path) -> State:
    """The state of the files that `model_digest` reads."""
    return _state(folder, MODEL_FILES)


def embedder_state(folder: Path) -> State:
    """The state of the files that `embedder_digest` reads."""
    return _state(folder, EMBEDDER_FILES)


def is_changed(before: State, now: State) -> bool:
    """Whether a file was added, removed or written to; files that were too young are ignored."""
    return before.keys() != now.keys() or any(
        key and now[name] != key for name, key in before.items()
    )


def _adapter_patterns(folder: Path) -> tuple[str, ...]:
    return (*ADAPTER_FILES, *_tokenizer_files(folder))


def _tokenizer_files(folder: Path) -> tuple[str, ...]:
    """The files of an adapter that determine how texts become tokens."""
    template = chat_template(folder)
    own = [name for name in ADAPTER_TOKENIZER if (folder / name).is_file()]
    return (*own, *([template.file] if template else []))


def _files(folder: Path, patterns: Sequence[str]) -> dict[str, Path]:
    """The files in `folder` that match, by name."""
    found = (path for pattern in patterns for path in folder.glob(pattern))
    return {path.relative_to(folder).as_posix(): path for path in found if path.is_file()}


def _state(folder: Path, patterns: Sequence[str]) -> State:
    try:
        return {name: _memo_key(path) for name, path in _files(folder, patterns).items()}
    except OSError:  # a file was removed meanwhile
        return {}


def _hashes(files: Sequence[Path]) -> list[str]:
    """sha256 of each file; files with a cached hash are not read."""
    memo = _load_memo()
    keys = {file: _memo_key(file) for file in files}
    hashes = {file: memo[key] for file, key in keys.items() if key in memo}
    unknown = [file for file in files if file not in hashes]
    for file in unknown:
        _refuse_wrong_size(file)
    new = {}
    for file, digest in zip(unknown, _read_all(unknown), strict=True):
        hashes[file] = digest
        key = keys[file]
        # If the key changed, the file was written to while it was read.
        if key and key == _memo_key(file):
            new[key] = digest
    if new:
        _store_memo(new)
    return [hashes[file] for file in files]


def _refuse_wrong_size(file: Path) -> None:
    """Raise CannotDecide if the header of a large file contradicts its size.

    Such a file can be sparse, with terabytes that take hours to read.
    """
    is_large = file.suffix == ".safetensors" and file.stat().st_size > _LARGE_BYTES
    if is_large and (fault := layout_fault(file)):
        raise CannotDecide(f"{file}: {fault}; download or copy the file again")


def _read_all(files: Sequence[Path]) -> list[str]:
    if len(files) < 2:
        return [file_sha256(file) for file in files]
    from concurrent.futures import ThreadPoolExecutor

    # Hashing releases the interpreter lock.
    with ThreadPoolExecutor(min(len(files), os.cpu_count() or 1)) as pool:
        return list(pool.map(file_sha256, files))


def _memo_key(file: Path) -> str | None:
    """A key that changes with the file's content; None if no key is reliable.

    It includes the change time: unpacking or copying can keep the size and the modification time,
    and reuse the inode.
    """
    found = file.stat()
    youngest_ns = max(found.st_mtime_ns, found.st_ctime_ns)
    if not found.st_ino or time.time_ns() - youngest_ns < _SETTLED_NS:
        return None
    return f"{found.st_dev}:{found.st_ino}:{found.st_size}:{found.st_mtime_ns}:{found.st_ctime_ns}"


def _load_memo() -> dict[str, str]:
    try:
        return msgspec.msgpack.decode(cache.load_entry(_MEMO) or b"", type=dict[str, str])
    except (ValueError, RecursionError):
        return {}


def _store_memo(new: dict[str, str]) -> None:
    kept = list({**_load_memo(), **new}.items())[-_MEMO_ENTRIES:]
    cache.store_entry(_MEMO, msgspec.msgpack.encode(dict(kept)))
