"""Unpack gzip and zstd while a file is read; nothing is unpacked ahead of the reader."""

import gzip
import io
import os
from typing import Any, BinaryIO, Final

from sway_gate.errors import CannotDecide

_GZIP: Final = b"\x1f\x8b"
_ZSTD: Final = b"(\xb5/\xfd"
SUFFIXES: Final = (".gz", ".zst", ".zstd")


def bare(name: str) -> str:
    """The name without the suffix of a compression."""
    stem, suffix = os.path.splitext(name)
    return stem if suffix.lower() in SUFFIXES else name


def unpacked(file: BinaryIO, label: str) -> BinaryIO:
    """The content of `file`, which begins at its start, unpacked if it is compressed.

    label: name of the file for messages. Raises CannotDecide if a library is not installed.
    """
    start = file.read(4)
    file.seek(0)
    if start.startswith(_GZIP):
        return io.BufferedReader(gzip.GzipFile(fileobj=file))
    if start.startswith(_ZSTD):
        return io.BufferedReader(_Zstd(file.name, pyarrow(label)))
    return file


def pyarrow(label: str) -> Any:
    """The module `pyarrow`. Raises CannotDecide if it is not installed."""
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        hint = "install the extra: pip install 'sway-gate[data]'"
        raise CannotDecide(f"{label}: to read Parquet, Arrow and zstd files, {hint}") from None
    return pyarrow


class _Zstd(io.RawIOBase):
    """pyarrow's stream, which can be read again from its start."""

    def __init__(self, path: str, arrow: Any) -> None:
        self._path, self._arrow = path, arrow
        self.seek(0)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        if offset or whence != io.SEEK_SET:
            raise io.UnsupportedOperation("only the start can be sought")
        source = self._arrow.OSFile(self._path)
        self._stream = self._arrow.CompressedInputStream(source, "zstd")
        return 0

    def readinto(self, buffer: Any) -> int:
        return int(self._stream.readinto(buffer))
