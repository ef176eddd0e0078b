"""Cache of verdicts and readings by content, safe for parallel processes.

Below the cache folder::

    verdicts/<key>                a report
    readings/<context>/<digest>   numbers measured in one context; all files of a folder are one set
    digests/files                 hashes of unchanged files (see `sway_gate.model_files.digest`)
    rates/<key>                   the speed of a processor (see `sway_gate.backends.processor`)
    key                           this machine's key, readable by its owner only

Every entry starts with an HMAC of its name and content: an entry that is damaged, moved or forged
is a miss. The key is SWAY_CACHE_KEY if it is set, otherwise the file `key`. A checkout can contain
both entries and a key, so a cache inside a git work tree is not used. Entries are replaced
atomically, without locks. A cache that is missing, read-only, full or owned by another user is not
an error: loads find nothing, and stores return False.
"""

import functools
import hashlib
import hmac
import os
import re
import stat
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from sway_gate.files import read_regular

if TYPE_CHECKING:
    from sway_gate.measurements import Floats

MAX_BYTES = 512 * 2**20
"""Limit of the whole cache, and so of an entry."""
MAX_FILES = 16
"""Limit of files per context of readings, before they are merged into one."""

MIN_KEY_CHARACTERS = 16
"""Minimum length of SWAY_CACHE_KEY."""

ABANDONED_NS = 3600 * 10**9
"""Age at which a temporary file is one of a killed process: to write it takes seconds."""

_MAGIC = b"sway-gate cache 3\n"
_KEY_BYTES = 32
_HEADER_BYTES = len(_MAGIC) + hashlib.sha256().digest_size
_KINDS = ("verdicts", "readings", "digests", "rates")
_HEX = "[0-9a-f]{64}"
_ENTRY = re.compile(
    rf"(verdicts/{_HEX}|readings/{_HEX}/{_HEX}|digests/files|rates/{_HEX})(\.[0-9a-f]{{16}}\.tmp)?"
)


def verdict_key(parts: Mapping[str, object]) -> str:
    """Key of the verdict that `parts` determine: sha256, hexadecimal, independent of their order.

    Values are JSON values, tuples or msgspec structs; 1 and 1.0 differ.
    """
    return _digest("verdict", parts)


def context_key(parts: Mapping[str, object]) -> str:
    """Key of a context of readings: sha256, hexadecimal, independent of the order of `parts`."""
    return _digest("context", parts)


def load_verdict(key: str) -> bytes | None:
    """The report stored under a `verdict_key`, or None."""
    return load_entry(f"verdicts/{key}")


def store_verdict(key: str, data: bytes) -> bool:
    """Store a report under its `verdict_key`; False if the cache is not available."""
    return store_entry(f"verdicts/{key}", data)


class Readings:
    """Measured numbers of one context, by view and request.

    `meta` states how they were measured (device, determinism, dtype, notes) and is stored with
    them. `put` adds a value in memory. `save` writes the new values as one more file, so that
    processes never wait for each other.
    """

    def __init__(self, context: str | None, meta: dict[str, str], values: dict[str, bytes]) -> None:
        self.meta = meta
        self._context, self._values = context, values
        self._saved_meta, self._new = dict(meta), dict[str, bytes]()

    @classmethod
    def open(cls, context: str) -> "Readings":
        """Everything that is stored for a `context_key`."""
        batch, _ = _merged(context)
        return cls(context, batch.meta, batch.values)

    @classmethod
    def unsaved(cls) -> "Readings":
        """No readings; `save` writes nothing."""
        return cls(None, {}, {})

    def __len__(self) -> int:
        return len(self._values)

    def get(self, view_key: str, request_key: str) -> "Floats | None":
        """The numbers, shape [n]; None if they were never measured."""
        import numpy as np

        raw = self._values.get(_reading_key(view_key, request_key))
        return None if raw is None else np.frombuffer(raw, dtype="<f8").astype(np.float64)

    def put(self, view_key: str, request_key: str, values: "Floats") -> None:
        """Add the numbers, shape [n], in memory."""
        import numpy as np

        key = _reading_key(view_key, request_key)
        self._values[key] = self._new[key] = np.asarray(values, dtype="<f8").tobytes()

    def save(self) -> bool:
        """Write new values; False if the cache is not available."""
        if self._context is None:
            return False
        if not self._new and self.meta == self._saved_meta:
            return True
        if not _store_batch(self._context, _Batch(self.meta, self._new)):
            return False
        self._saved_meta, self._new = dict(self.meta), {}
        if len(_batch_names(self._context)) > MAX_FILES:
            _compact(self._context)
        return True


def size() -> tuple[int, int]:
    """Number of entries, and their size in bytes."""
    entries = _all_entries()
    return len(entries), sum(entry.size_bytes for entry in entries)


def clear() -> tuple[int, int]:
    """Remove every entry, and no other file. Return the number of entries and bytes removed."""
    removed = [entry for entry in _all_entries() if _remove(entry.path)]
    folders = {entry.path.parent for entry in removed}
    for folder in sorted(
        folders | {folder.parent for folder in folders if folder.name not in _KINDS}, reverse=True
    ):
        with suppress(OSError):  # it contains other files and stays
            folder.rmdir()
    return len(removed), sum(entry.size_bytes for entry in removed)


def refusal() -> str:
    """The reason why the cache is not used, although its folder is available; "" if it is used."""
    folder = cache_dir()
    if tree := work_tree(folder):
        return (
            f"the cache {folder} is not used: a checkout can write into the git work tree {tree}; "
            "set SWAY_CACHE_DIR to a folder outside of it"
        )
    if 0 < len(os.environ.get("SWAY_CACHE_KEY", "")) < MIN_KEY_CHARACTERS:
        return (
            "the cache is not used: SWAY_CACHE_KEY has fewer than "
            f"{MIN_KEY_CHARACTERS} characters; set a longer secret"
        )
    key = folder / "key"
    if not os.environ.get("SWAY_CACHE_KEY") and os.path.lexists(key) and _read_key(key) is None:
        return (
            f"the cache is not used: {key} must be a file of {_KEY_BYTES} bytes "
            "that only this user can read (mode 600); delete it"
        )
    return ""


def load_entry(name: str) -> bytes | None:
    """Content of an entry; None if it is missing. An entry that is not authentic is removed."""
    path, key = _path(name), _key_of_entries()
    if path is None or key is None:
        return None
    try:
        frame = read_regular(path, MAX_BYTES + _HEADER_BYTES)
    except OSError:
        return None
    data = frame[_HEADER_BYTES:]
    if not hmac.compare_digest(frame[:_HEADER_BYTES], _header(key, name, data)):
        _remove(path)
        return None
    return data


def store_entry(name: str, data: bytes) -> bool:
    """Write an entry atomically; False if the cache is not available."""
    key = _key_of_entries(create=True)
    path = _path(name, create=True) if key else None
    if path is None or key is None or len(data) > MAX_BYTES:
        return False
    if not _write(path, _header(key, name, data) + data, os.replace):
        return False
    _prune_once()
    return True


class _Batch(msgspec.Struct, frozen=True):
    """Content of one file of readings: little-endian float64 by `_reading_key`."""

    meta: dict[str, str]
    values: dict[str, bytes]


class _Entry(NamedTuple):
    mtime_ns: int
    size_bytes: int
    path: Path


def _digest(kind: str, parts: Mapping[str, object]) -> str:
    return hashlib.sha256(msgspec.msgpack.encode([kind, dict(parts)], order="sorted")).hexdigest()


def _reading_key(view_key: str, request_key: str) -> str:
    # The length separates the two. Prompts can contain lone surrogates.
    text = f"{len(view_key)}:{view_key}{request_key}"
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def _batch_names(context: str) -> list[str]:
    """Names of a context's files, oldest first."""
    paths = [entry.path for entry in _entries("readings", context)]
    return [f"readings/{context}/{path.name}" for path in paths if path.suffix != ".tmp"]


def _load_batch(name: str) -> _Batch | None:
    try:
        batch = msgspec.msgpack.decode(load_entry(name) or b"", type=_Batch)
    except (ValueError, RecursionError):
        return None
    return batch if all(len(raw) % 8 == 0 for raw in batch.values.values()) else None


def _store_batch(context: str, batch: _Batch) -> str | None:
    """Name of the file that contains `batch`; None if it could not be written.

    The name is a hash of the content: if another process removes this file, it has merged it.
    """
    data = msgspec.msgpack.encode(batch, order="deterministic")
    name = f"readings/{context}/{hashlib.sha256(data).hexdigest()}"
    return name if store_entry(name, data) else None


def _merged(context: str) -> tuple[_Batch, set[str]]:
    """A context's files merged, newer over older, and their names."""
    merged, names, seen = _Batch({}, {}), set[str](), set[str]()
    # Repeat until there is no new file: another process may have merged files meanwhile.
    while fresh := [name for name in _batch_names(context) if name not in seen]:
        seen.update(fresh)
        for name in fresh:
            if batch := _load_batch(name):
                merged.meta.update(batch.meta)
                merged.values.update(batch.values)
                names.add(name)
    return merged, names


def _compact(context: str) -> None:
    batch, names = _merged(context)
    if kept := _store_batch(context, batch):
        for name in names - {kept}:
            if path := _path(name):
                _remove(path)


def _header(key: bytes, name: str, data: bytes) -> bytes:
    # The name is part of it: a report that is valid for one adapter must not serve another one.
    code = hmac.new(key, f"{name}\0".encode(), "sha256")
    code.update(data)
    return _MAGIC + code.digest()


def _key_of_entries(*, create: bool = False) -> bytes | None:
    """The key of the entries' HMACs; None if the cache is not available or not trusted."""
    folder = None if refusal() else _folder(create=create)
    if folder is None:
        return None
    if chosen := os.environ.get("SWAY_CACHE_KEY"):
        return chosen.encode("utf-8", "surrogateescape")
    path = folder / "key"
    if create and not os.path.lexists(path):
        _write(path, os.urandom(_KEY_BYTES), os.link)  # never replaces another process's key
    return _read_key(path)


def _read_key(path: Path) -> bytes | None:
    """The key; None if the file is missing, or if others can have read or written it."""
    try:
        with open(path, "rb", opener=_open_no_link) as file:
            found = os.fstat(file.fileno())
            key = file.read(_KEY_BYTES + 1)
    except OSError:
        return None
    is_private = not hasattr(os, "geteuid") or not found.st_mode & 0o077
    return key if is_private and _is_trusted(found) and len(key) == _KEY_BYTES else None


def work_tree(folder: Path) -> Path | None:
    """The git work tree that contains `folder`, into which a checkout can write."""
    real = Path(os.path.realpath(folder))
    return next((path for path in (real, *real.parents) if os.path.lexists(path / ".git")), None)


def _write(path: Path, data: bytes, place: Callable[[Path, Path], None]) -> bool:
    """Write a temporary file and `place` it at `path`; False if that is not possible."""
    temporary = path.with_name(f"{path.name}.{os.urandom(8).hex()}.tmp")
    try:
        # Neither exclusive creation nor replacement follows a link of that name.
        with open(temporary, "xb", opener=_open_private) as file:
            file.write(data)
        place(temporary, path)
    except OSError:
        return False
    finally:
        _remove(temporary)
    return True


def _open_private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _open_no_link(path: str, flags: int) -> int:
    # Without O_NONBLOCK, a pipe of that name would block.
    return os.open(path, flags | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))


def _path(name: str, *, create: bool = False) -> Path | None:
    """Path of an entry; None if its folder is not available."""
    if not _ENTRY.fullmatch(name):
        raise ValueError(f"not the name of a cache entry: {name!r}")
    *folders, file = name.split("/")
    folder = _folder(*folders, create=create)
    return folder and folder / file


def _folder(*parts: str, create: bool = False) -> Path | None:
    """A folder of the cache; None if it is missing, a link, or controlled by another user."""
    try:
        folder = cache_dir()
        if create:
            folder.mkdir(0o700, parents=True, exist_ok=True)
        # Users can link their own cache folder; a link in a shared folder can be another user's.
        if not (_is_trusted(folder.lstat()) and _is_trusted(folder.stat())):
            return None
        for part in parts:
            folder = folder / part
            if create:
                folder.mkdir(0o700, exist_ok=True)
            found = folder.lstat()
            if not (stat.S_ISDIR(found.st_mode) and _is_trusted(found)):
                return None
    except OSError:
        return None
    return folder


def _is_trusted(found: os.stat_result) -> bool:
    """Whether this user or root owns it. True on platforms without such owners."""
    return not hasattr(os, "geteuid") or found.st_uid in (0, os.geteuid())


def _all_entries() -> list[_Entry]:
    return [entry for kind in _KINDS for entry in _entries(kind)]


def _entries(kind: str, *parts: str) -> list[_Entry]:
    """Entries below one of the cache's folders, oldest first; other files are left out."""
    top = _folder(kind, *parts)
    if top is None:
        return []
    root = top.parents[len(parts)]
    entries = []
    for path in (Path(folder, file) for folder, _, files in os.walk(top) for file in files):
        if _ENTRY.fullmatch(path.relative_to(root).as_posix()):
            with suppress(OSError):  # another process removed it
                found = path.lstat()
                entries.append(_Entry(found.st_mtime_ns, found.st_size, path))
    return sorted(entries)


def _remove(path: Path) -> bool:
    try:
        path.unlink()
    except OSError:
        return False
    return True


@functools.cache
def _prune_once() -> None:
    """Remove abandoned temporary files, then the oldest entries beyond the limit of the cache.

    Once per process.
    """
    latest_ns, entries = time.time_ns() - ABANDONED_NS, []
    for entry in sorted(_all_entries()):
        if entry.path.suffix == ".tmp" and entry.mtime_ns < latest_ns:
            _remove(entry.path)
        else:
            entries.append(entry)
    excess = sum(entry.size_bytes for entry in entries) - MAX_BYTES
    for entry in entries:
        if excess <= 0:
            return
        if _remove(entry.path):
            excess -= entry.size_bytes


def cache_dir() -> Path:
    """The cache's folder, which need not exist.

    SWAY_CACHE_DIR if it is set; otherwise a folder in XDG_CACHE_HOME, LOCALAPPDATA (Windows) or
    ~/.cache if that is writable; otherwise this user's folder in the temporary folder. Another user
    may have created the last one, so its owner is checked when it is used.
    """
    if chosen := os.environ.get("SWAY_CACHE_DIR"):
        return Path(chosen).expanduser().absolute()
    usual = next((root for root in _usual_roots() if root.is_absolute()), None)
    temporary = _temporary()
    if usual is not None and (temporary is None or _can_write(usual)):
        return usual / "sway-gate"
    user = os.getuid() if sys.platform != "win32" else os.environ.get("USERNAME", "user")
    return (temporary or Path(os.sep)) / f"sway-gate-{user}"


def _temporary() -> Path | None:
    """The temporary folder; None if there is none.

    tempfile falls back to the current folder. That is the work tree, and nothing is written there.
    """
    try:
        folder = Path(tempfile.gettempdir())
    except FileNotFoundError:
        return None
    return None if folder == Path.cwd() else folder


def _usual_roots() -> list[Path]:
    roots = [
        os.environ.get("XDG_CACHE_HOME"),
        os.environ.get("LOCALAPPDATA") if sys.platform == "win32" else None,
    ]
    return [Path(root) for root in [*roots, os.path.expanduser("~/.cache")] if root]


def _can_write(folder: Path) -> bool:
    """Whether `folder`, or its nearest existing parent, is a writable folder."""
    nearest = next((path for path in (folder, *folder.parents) if path.exists()), folder)
    return nearest.is_dir() and os.access(nearest, os.W_OK | os.X_OK)
