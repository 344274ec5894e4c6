"""CSV and Parquet files of labels: their rows as they stand, and rows written."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from pyarrow import parquet

from batch_fracture.durable import put

if TYPE_CHECKING:
    from training.labels import LabelledImage

SCHEMA = pa.schema(
    [
        ("image_uri", pa.string()),
        ("label", pa.int8()),
        ("group", pa.string()),
        ("split", pa.string()),
        ("region", pa.string()),
        ("boxes", pa.list_(pa.list_(pa.float64()))),
    ]
)
_ALWAYS = ("image_uri", "label", "group")


class NoTableError(Exception):
    """A file that cannot be read as a table; the text says why."""


def read_records(path: Path) -> tuple[list[str], list[tuple[int, Mapping[str, Any]]]]:
    """The columns of a table, and each row's number and values.

    Args:
        path: Parquet when its name ends in .parquet, where the first row is 1; else CSV in UTF-8 with a
            header, where a row has the number of its (last) line.

    Raises:
        NoTableError: it cannot be read.
    """
    if path.suffix == ".parquet":
        try:
            table = parquet.read_table(path)
        except (OSError, pa.ArrowException) as error:
            raise NoTableError(f"cannot be read as Parquet ({_reason(error)})") from error
        return table.column_names, list(enumerate(table.to_pylist(), start=1))
    return read_csv(path)


def read_csv(
    path: Path, columns: Sequence[str] | None = None
) -> tuple[list[str], list[tuple[int, Mapping[str, Any]]]]:
    """As `read_records`, of a CSV file.

    Args:
        path: UTF-8, with or without a byte order mark.
        columns: of a file without a header; None when its first line names them.

    Raises:
        NoTableError: it cannot be read.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, fieldnames=columns, strict=True)
            names = list(reader.fieldnames or ())
            return names, [(reader.line_num, record) for record in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise NoTableError(f"cannot be read ({_reason(error)})") from error


def write_table(path: Path, rows: Iterable[LabelledImage]) -> None:
    """Write rows as CSV or, when the name ends in .parquet, as Parquet; optional columns only when used.

    Raises:
        WriteError: want of space or access; what stood there still stands.
    """
    values = [
        {
            "image_uri": row.name,
            "label": row.label,
            "group": row.group,
            "split": row.split,
            "region": row.region,
            "boxes": [list(box) for box in row.boxes],
        }
        for row in rows
    ]
    columns = [name for name in SCHEMA.names if name in _ALWAYS or any(value[name] for value in values)]
    put(path, _parquet(values, columns) if path.suffix == ".parquet" else _csv(values, columns))


def _parquet(values: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> bytes:
    table = pa.Table.from_pylist(list(values), schema=pa.schema([SCHEMA.field(name) for name in columns]))
    content = io.BytesIO()
    parquet.write_table(table, content)
    return content.getvalue()


def _csv(values: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> bytes:
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    for value in values:
        boxes = json.dumps(value["boxes"]) if value["boxes"] else ""
        writer.writerow({**value, "boxes": boxes})
    return text.getvalue().encode()


def _reason(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or error).partition("\n")[0]
