"""Parquet files as bytes: zstd, and checksums on their pages that are checked whenever a file is read."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.parquet as pq


def encode(rows: pa.Table) -> bytes:
    """The content of a Parquet file."""
    sink = pa.BufferOutputStream()
    pq.write_table(rows, sink, compression="zstd", write_page_checksum=True)
    content: bytes = sink.getvalue().to_pybytes()
    return content


def decode(content: bytes, columns: Sequence[str] | None = None) -> pa.Table:
    """Rows of a Parquet file, all columns or the named ones.

    Raises:
        OSError, pyarrow.ArrowInvalid: the content is damaged.
    """
    file = pq.ParquetFile(pa.BufferReader(content), page_checksum_verification=True)
    return file.read(None if columns is None else list(columns))
