"""CSV and Parquet files that name images: their rows in batches, whatever their columns are called."""

from __future__ import annotations

import contextlib
import gzip
import tempfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NoReturn

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv, parquet

from batch_fracture.errors import SourceError
from batch_fracture.schema import TIMESTAMP
from batch_fracture.store import bucket
from batch_fracture.store.bucket import Access
from batch_fracture.store.columns import BATCH_ROWS
from batch_fracture.store.failures import source_error

MAX_COLUMNS = 500
"""Of a CSV file; each is read as text, or `007` would become 7."""
_CSV_BLOCK_BYTES = 2**20


class Rows:
    """A batch of a list.

    Args:
        source: the list, for messages.
        first: number of the batch's first row; 1 is the first below a header.
        columns: by their names in lower case, without `_` and spaces.
    """

    def __init__(self, source: str, first: int, columns: Mapping[str, pa.Array]) -> None:
        self.source, self.first, self._columns = source, first, columns

    def column(self, kind: pa.DataType, *names: str) -> pa.Array | None:
        """The first column that has one of these names, as `kind`; empty text is null. None: there is none.

        Raises:
            SourceError: a value cannot be converted; its row is named.
        """
        found = next((name for name in names if name in self._columns), None)
        if found is None:
            return None
        values = self._columns[found]
        try:
            return _converted(values, kind)
        except pa.ArrowInvalid:
            for at in range(len(values)):
                try:
                    _converted(values.slice(at, 1), kind)
                except pa.ArrowInvalid:
                    self.refuse(f"the {found} is not one ({kind})", at)
            raise

    def refuse(self, why: str, at: int | None = None) -> NoReturn:
        """Say what is wrong with the list or, with a position in this batch, with one row of it.

        Raises:
            SourceError: always.
        """
        row = "" if at is None else f", row {self.first + at:,}"
        raise SourceError(f"list {self.source!r}{row}: {why}")


@contextlib.contextmanager
def at_hand(location: str, access: Access) -> Iterator[Path]:
    """A file as it lies on disk, or a temporary copy of an object.

    Raises:
        SourceError: it cannot be read.
    """
    if not bucket.is_bucket(location):
        yield Path(location)
        return
    import obstore  # noqa: PLC0415 - only buckets need it
    from obstore.exceptions import BaseError  # noqa: PLC0415 - likewise

    scheme, name, key = bucket.split(location)
    with tempfile.NamedTemporaryFile(prefix="batch-fracture-") as copy:
        try:
            for chunk in obstore.get(bucket.open_bucket(scheme, name, access), key).stream():
                copy.write(chunk)
        except (BaseError, OSError, ValueError) as error:
            raise source_error(location, error) from error
        copy.flush()
        yield Path(copy.name)


def read_rows(path: Path, source: str, *, name: str, columns: Sequence[str] | None = None) -> Iterator[Rows]:
    """The rows of a list.

    Args:
        path: the file.
        source: what the user calls it, for messages.
        name: its name; ends in `.csv`, `.csv.gz` or `.parquet`.
        columns: of a CSV file without a header; None when its first row names them.

    Raises:
        SourceError: it cannot be read, or is not what its name says.
    """
    kind = "Parquet" if name.endswith(".parquet") else "CSV"
    remedy = "; is it whole? save it as UTF-8" if kind == "CSV" else ""
    batches = _parquet_batches(path) if kind == "Parquet" else _csv_batches(path, name, columns)
    first = 1
    try:
        for batch in batches:
            yield Rows(source, first, dict(zip(map(_plain, batch.schema.names), batch.columns, strict=True)))
            first += len(batch)
    except (OSError, EOFError, zlib.error, pa.ArrowException) as error:
        if getattr(error, "errno", None):
            raise source_error(source, error) from error
        raise SourceError(f"list {source!r}: it cannot be read as {kind}{remedy}") from error


def _parquet_batches(path: Path) -> Iterator[pa.RecordBatch]:
    with parquet.ParquetFile(path) as file:
        yield from file.iter_batches(batch_size=BATCH_ROWS)


def _csv_batches(path: Path, name: str, columns: Sequence[str] | None) -> Iterator[pa.RecordBatch]:
    texts = csv.ConvertOptions(column_types={f"f{number}": pa.string() for number in range(MAX_COLUMNS)})
    read = csv.ReadOptions(autogenerate_column_names=True, block_size=_CSV_BLOCK_BYTES)
    parse = csv.ParseOptions(newlines_in_values=True)
    stream = _csv_stream(path, is_gzip=name.endswith(".gz"))
    if stream is None:
        return
    with stream:
        for batch in csv.open_csv(stream, read_options=read, parse_options=parse, convert_options=texts):
            if columns is None:
                columns = [str(column[0]).removeprefix("\ufeff") for column in batch.columns]
                batch = batch.slice(1)  # noqa: PLW2901 - the header is no row
            width = batch.num_columns
            names = [*columns, *(f"unnamed {at}" for at in range(len(columns), width))][:width]
            yield pa.RecordBatch.from_arrays(batch.columns, names)


def _csv_stream(path: Path, *, is_gzip: bool) -> pa.NativeFile | None:
    """The text of a CSV file; None when it is empty.

    Never a Python object, nor bytes: Arrow's threads may still hold it when the process ends, and abort it.
    """
    with gzip.open(path) if is_gzip else path.open("rb") as file:
        start = file.read(_CSV_BLOCK_BYTES)
        is_whole = len(start) < _CSV_BLOCK_BYTES
    if is_whole:  # with a newline at its end: Arrow's reader refuses a single line without
        owned = pa.BufferOutputStream()
        owned.write(start if start.endswith(b"\n") else start + b"\n")
        return pa.BufferReader(owned.getvalue()) if start else None
    return pa.input_stream(path, compression="gzip" if is_gzip else None)


def _plain(name: str) -> str:
    return name.strip().lower().replace("_", "").replace(" ", "")


def _converted(values: pa.Array, kind: pa.DataType) -> pa.Array:
    if not (pa.types.is_integer(values.type) or pa.types.is_timestamp(values.type)):
        values = values.cast(pa.string())
        values = pc.if_else(pc.equal(values, ""), pa.scalar(None, pa.string()), values)
        if pa.types.is_timestamp(kind):  # a time without its zone is UTC
            zoned = pc.match_substring_regex(values, r"(Z|[+-]\d{2}(:?\d{2})?)$")
            values = pc.if_else(zoned, values, pc.binary_join_element_wise(values, "Z", ""))
    if pa.types.is_timestamp(values.type):
        return values.cast(TIMESTAMP, safe=False) if pa.types.is_timestamp(kind) else values.cast(kind)
    return values.cast(kind)
