"""Rows of Parquet, Arrow and Feather files, with pyarrow (extra `[data]`).

A dictionary page can repeat a long text in every row. Columns with a large one are read as
dictionaries, so that a small file does not fill the memory.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, BinaryIO, Final

from sway_gate.training_data.compression import pyarrow
from sway_gate.training_data.files import MAX_FILE_BYTES, MAX_LINE_BYTES, TOO_LONG, Mistake
from sway_gate.training_data.rows import Row, Wanted

PARQUET: Final = b"PAR1"
FEATHER: Final = b"ARROW1"
_BATCH: Final = 256
_MAX_DICTIONARY_BYTES: Final = 2 * 2**20
"""Twice what writers make by default. A batch repeats at most this much in each row."""
_MAX_BATCH_BYTES: Final = 64 * 2**20
_BUFFER_BYTES: Final = 2**20
_MAX_METADATA_BYTES: Final = 16 * 2**20

Select = Callable[[Sequence[str]], list[str]]
"""Chooses the columns that are read: others, such as images, stay on disk. Raises Mistake."""


class Arrow:
    """The rows of a Parquet file, an Arrow stream or an Arrow file (Feather)."""

    def __init__(self, file: BinaryIO, label: str, select: Select) -> None:
        self._file, self._arrow, self._select = file, pyarrow(label), select

    def count(self) -> int:
        with self._faults():
            if self._magic() == PARQUET:
                return int(self._parquet().metadata.num_rows)
            return sum(batch.num_rows for batch in self._ipc())

    def rows(self, wanted: Wanted) -> Iterator[Row | Mistake]:
        first = start = 0
        with self._faults():
            for batch in self._parquet_batches() if self._magic() == PARQUET else self._ipc():
                end = bisect_left(wanted, first + batch.num_rows, start)
                if end > start:
                    batch.validate(full=True)
                    yield from self._taken(batch, [i - first for i in wanted[start:end]], first)
                first, start = first + batch.num_rows, end

    def _taken(self, batch: Any, indices: list[int], first: int) -> Iterator[Row | Mistake]:
        columns = batch.select(self._select(batch.schema.names))
        is_large = self._size(columns) > _MAX_BATCH_BYTES
        for index in indices:
            number, row = first + index + 1, columns.slice(index, 1)
            if is_large and self._size(row) > MAX_LINE_BYTES:
                yield Mistake(number, TOO_LONG)
            else:
                yield Row(number, _without_nulls(row.to_pylist()[0]))

    def _magic(self) -> bytes:
        self._file.seek(0)
        start = self._file.read(len(FEATHER))
        self._file.seek(0)
        return PARQUET if start.startswith(PARQUET) else start

    def _ipc(self) -> Iterator[Any]:
        if self._magic() == FEATHER:
            reader = self._arrow.ipc.open_file(self._file)
            return (reader.get_batch(i) for i in range(reader.num_record_batches))
        return iter(self._arrow.ipc.open_stream(self._file))

    def _parquet(self, texts: Sequence[str] = ()) -> Any:
        return self._arrow.parquet.ParquetFile(
            self._file,
            read_dictionary=texts,
            buffer_size=_BUFFER_BYTES,
            thrift_string_size_limit=_MAX_METADATA_BYTES,
            thrift_container_size_limit=_MAX_METADATA_BYTES,
        )

    def _parquet_batches(self) -> Iterator[Any]:
        """Batches of the chosen columns. Raises Mistake if a row group does not fit into memory."""
        file = self._parquet()
        groups = [file.metadata.row_group(i) for i in range(file.num_row_groups)]
        if any(group.total_byte_size > MAX_FILE_BYTES for group in groups):
            limit = f"{MAX_FILE_BYTES // 2**20:,} MiB"
            raise Mistake(0, f"has a row group larger than {limit}; write smaller row groups")
        columns = self._select(file.schema_arrow.names)
        texts = _texts(file.schema, file.metadata.num_columns, columns)
        for path in texts:
            self._read_first_rows(path, len(groups))
        large = [
            path
            for path, i in texts.items()
            if any(
                self._first_page_bytes(group.column(i)) > _MAX_DICTIONARY_BYTES for group in groups
            )
        ]
        batches: Iterator[Any] = self._parquet(large).iter_batches(_BATCH, columns=columns)
        return batches

    def _read_first_rows(self, text: str, groups: int) -> None:
        """Read a row of a text column in each row group. Raises OSError if it is damaged.

        Damaged metadata of a column ends the process when `RowGroupMetaData.column` reads it, but
        is an error when a row is read. Read as a dictionary, a row that repeats a long text needs
        little memory; delta encodings cannot be read so.
        """
        for as_dictionary in ([text], []):
            reader = self._parquet(as_dictionary)
            try:
                for i in range(groups):
                    next(reader.iter_batches(1, row_groups=[i], columns=[text]), None)
                return
            except OSError:
                if not as_dictionary:
                    raise

    def _first_page_bytes(self, chunk: Any) -> int:
        """Size after unpacking of the chunk's first page, which is its dictionary if it has one.

        A page begins with its type and this size, each as a mark and a zigzag varint.
        """
        self._file.seek(chunk.dictionary_page_offset or chunk.data_page_offset)
        header = self._file.read(16)
        end = 2 + next((i for i, byte in enumerate(header[1:]) if byte < 128), 0)
        size = shift = 0
        for byte in header[end + 1 :]:
            size |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                break
        return size >> 1

    def _size(self, data: Any) -> int:
        """Bytes of the values when each is written in full."""
        arrow, kind = self._arrow, getattr(data, "type", None)
        if kind is None:
            return sum(map(self._size, data.columns))
        if arrow.types.is_dictionary(kind):
            counts = data.indices.value_counts()
            texts = data.dictionary.take(counts.field("values"))
            lengths = arrow.compute.binary_length(texts)
            repeated = arrow.compute.multiply(lengths, counts.field("counts"))
            return arrow.compute.sum(repeated).as_py() or 0
        if arrow.types.is_string_view(kind):
            start, end = data.offset, data.offset + len(data)
            lengths = memoryview(data.buffers()[1]).cast("i")[4 * start : 4 * end : 4]
            return sum(max(0, length) for length in lengths)  # of null it is not defined
        if arrow.types.is_struct(kind):
            return sum(map(self._size, data.flatten()))
        is_list = arrow.types.is_list(kind) or arrow.types.is_large_list(kind)
        return self._size(data.flatten()) if is_list else int(data.nbytes)

    @contextmanager
    def _faults(self) -> Iterator[None]:
        try:
            yield
        except (MemoryError, OverflowError):  # ArrowMemoryError is an ArrowException, too
            hint = "write smaller row groups or record batches"
            raise Mistake(0, f"needs more memory than is free; {hint}") from None
        except (self._arrow.ArrowException, UnicodeDecodeError) as error:
            message = f"not a readable Parquet or Arrow file ({type(error).__name__})"
            raise Mistake(0, f"{message}; write it again") from None


def _texts(schema: Any, count: int, columns: Sequence[str]) -> dict[str, int]:
    """Paths of the text columns that are parts of the chosen ones, with their indices."""
    return {
        leaf.path: i
        for i, leaf in enumerate(map(schema.column, range(count)))
        if leaf.physical_type == "BYTE_ARRAY" and _is_part(leaf.path, columns)
    }


def _is_part(path: str, columns: Sequence[str]) -> bool:
    return any(path == name or path.startswith(f"{name}.") for name in columns)


def _without_nulls(value: Any) -> Any:
    """The value without the fields that Arrow adds as null because other rows have them."""
    if isinstance(value, dict):
        return {key: _without_nulls(one) for key, one in value.items() if one is not None}
    if isinstance(value, list):
        return [_without_nulls(one) for one in value]
    return value
