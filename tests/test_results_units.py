from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from test_plan import PURPOSE, TODAY, listing

from batch_fracture import schema
from batch_fracture.codes import Code, Status
from batch_fracture.errors import BooksError
from batch_fracture.plan import plan_run
from batch_fracture.results.units import Tally, UnitWriter, check_unit, tally, unit_path
from batch_fracture.results.work import Manifest, WorkFolder


def manifest(count: int) -> Manifest:
    return plan_run(listing(count), None, PURPOSE, read_date=TODAY).manifest


def finished(planned: Manifest, positions: range, code: Code | None = None) -> pa.Table:
    """Rows as the pipeline gives them, for manifest entries at these positions."""
    rows: list[dict[str, Any]] = [
        {
            **{name: entry[name] for name in ("reading_id", "image_uri", "image_version", "unit")},
            "status": code.status if code else Status.READ,
            "error_code": code,
            "fracture": None if code else entry["unit"] == 0,
            "engine": "openvino-fp32",
            "read_at": datetime.now(UTC),
        }
        for entry in planned.images.take(list(positions)).to_pylist()
    ]
    return pa.Table.from_pylist(rows, schema=schema.UNIT_FILE)


def test_a_unit_is_written_when_its_last_row_comes(tmp_path: Path) -> None:
    folder, planned = WorkFolder(path=tmp_path), manifest(250)
    writer = UnitWriter(folder, planned)
    writer.add(finished(planned, range(50, 150)))
    assert (writer.finished, list(tmp_path.glob("units/*"))) == ({}, [])
    assert len(writer.missing()) == 150
    writer.add(finished(planned, range(50)))
    assert writer.finished == {0: Tally(read=100, positive=100)}
    assert [path.name for path in tmp_path.glob("units/*")] == ["000000.parquet"]
    rows = check_unit(unit_path(folder, 0), set(planned.images["reading_id"][:100].to_pylist()))
    assert rows.schema.equals(schema.UNIT_FILE)
    assert rows["image_uri"].to_pylist() == sorted(planned.images["image_uri"][:100].to_pylist())


def test_doubled_rows_are_dropped_and_foreign_ones_refused(tmp_path: Path) -> None:
    planned = manifest(120)
    writer = UnitWriter(WorkFolder(path=tmp_path), planned)
    for _ in range(3):
        writer.add(finished(planned, range(100, 110)))
    assert len(writer.missing()) == 110
    writer.add(finished(planned, range(110, 120)))
    writer.add(finished(planned, range(110, 120)))
    assert writer.tally == Tally(read=20)
    foreign = finished(planned, range(5)).set_column(0, "reading_id", pa.array(["x"] * 5))
    with pytest.raises(BooksError, match="1 rows that are not in the manifest"):
        writer.add(foreign)


def test_whole_units_are_taken_over_and_others_read_again(tmp_path: Path) -> None:
    folder, planned = WorkFolder(path=tmp_path), manifest(400)
    writer = UnitWriter(folder, planned)
    writer.add(finished(planned, range(400)))
    assert writer.tally == Tally(read=400, positive=100)
    damaged = unit_path(folder, 1)
    content = bytearray(damaged.read_bytes())
    content[200] ^= 0xFF
    damaged.write_bytes(content)
    unit_path(folder, 2).write_bytes(unit_path(folder, 2).read_bytes()[:-100])
    pq.write_table(finished(planned, range(300, 399)), unit_path(folder, 3))
    (folder.units / ".000009.parquet.partial").write_bytes(b"half")
    again = UnitWriter(folder, planned)
    assert sorted(again.finished) == [0]
    assert sorted(path.name for path in folder.units.iterdir()) == ["000000.parquet"]
    assert len(again.missing()) == 300


def test_discarded_units_are_missing_again(tmp_path: Path) -> None:
    folder, planned = WorkFolder(path=tmp_path), manifest(220)
    writer = UnitWriter(folder, planned)
    writer.add(finished(planned, range(210)))
    writer.discard({0, 2})
    assert sorted(writer.finished) == [1]
    assert len(writer.missing()) == 120


def test_tally_counts_codes(tmp_path: Path) -> None:
    planned = manifest(6)
    rows = pa.concat_tables(
        [
            finished(planned, range(2)),
            finished(planned, range(2, 5), Code.TRUNCATED),
            finished(planned, range(5, 6), Code.ANIMATED),
        ]
    )
    counted = tally(rows)
    assert (counted.read, counted.failed, counted.skipped, counted.positive, counted.rows) == (2, 3, 1, 2, 6)
    assert counted.codes == {"TRUNCATED": 3, "ANIMATED": 1}
    with pytest.raises(BooksError, match="lost"):
        tally(rows.set_column(rows.schema.get_field_index("status"), "status", pa.array(["lost"] * 6)))
