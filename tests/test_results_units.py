from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pytest
from test_plan import PURPOSE, TODAY, listing

from batch_fracture import schema
from batch_fracture.codes import Code, Status
from batch_fracture.errors import BooksError
from batch_fracture.plan import plan_run
from batch_fracture.privacy import LINKS, PseudonymKey, pseudonymise
from batch_fracture.results import parquet
from batch_fracture.results.home import Home
from batch_fracture.results.manifest import Manifest
from batch_fracture.results.units import Tally, UnitWriter, check_unit, tally, unit_name
from batch_fracture.results.work import WorkFolder


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


@pytest.fixture
def work(home: Home) -> WorkFolder:
    return WorkFolder(home=home, run_id="r1")


def names(work: WorkFolder) -> list[str]:
    return [file.name for file in work.home.folder.files("")]


def test_a_unit_is_written_when_its_last_row_comes(work: WorkFolder) -> None:
    planned = manifest(250)
    writer = UnitWriter(work, planned)
    writer.add(finished(planned, range(50, 150)))
    assert (writer.finished, writer.begun, names(work)) == ({}, {0, 1}, [])
    assert len(writer.missing()) == 150
    writer.add(finished(planned, range(50)))
    assert (writer.finished, writer.begun) == ({0: Tally(read=100, positive=100)}, {1})
    assert names(work) == ["_work/r1/units/000000.parquet"]
    content = work.home.folder.get(unit_name(work.path, 0)) or b""
    rows = check_unit(content, 0, set(planned.images["reading_id"][:100].to_pylist()))
    assert rows.schema.equals(schema.UNIT_FILE)
    assert rows["image_uri"].to_pylist() == sorted(planned.images["image_uri"][:100].to_pylist())


def test_doubled_rows_are_dropped_and_foreign_ones_refused(work: WorkFolder) -> None:
    planned = manifest(120)
    writer = UnitWriter(work, planned)
    for _ in range(3):
        writer.add(finished(planned, range(100, 110)))
    assert len(writer.missing()) == 110
    writer.add(finished(planned, range(110, 120)))
    writer.add(finished(planned, range(110, 120)))
    assert writer.tally == Tally(read=20)
    foreign = finished(planned, range(5)).set_column(0, "reading_id", pa.array(["x"] * 5))
    with pytest.raises(BooksError, match="1 rows that are not in the manifest"):
        writer.add(foreign)
    at = foreign.schema.get_field_index("unit")
    with pytest.raises(BooksError, match="unit 7 was given"):
        writer.add(foreign.set_column(at, "unit", pa.array([7] * 5, pa.int32())))


def test_whole_units_are_taken_over_and_others_read_again(work: WorkFolder) -> None:
    planned, folder = manifest(400), work.home.folder
    UnitWriter(work, planned).add(finished(planned, range(400)))
    first, second, third, fourth = (unit_name(work.path, unit) for unit in range(4))
    damaged = bytearray(folder.get(second) or b"")
    damaged[200] ^= 0xFF
    folder.put(second, bytes(damaged))
    folder.put(third, (folder.get(third) or b"")[:-100])
    folder.put(fourth, parquet.encode(finished(planned, range(300, 399))))
    folder.put(unit_name(work.path, 9), b"of no unit")
    folder.put(f"{work.path}/units/000001.txt", b"no unit")
    again = UnitWriter(work, planned)
    assert again.finished == {0: Tally(read=100, positive=100)}
    assert names(work) == [first]
    assert len(again.missing()) == 300


def test_discarded_units_are_missing_again(work: WorkFolder) -> None:
    planned = manifest(220)
    writer = UnitWriter(work, planned)
    writer.add(finished(planned, range(210)))
    writer.discard({0, 2})
    assert sorted(writer.finished) == [1]
    assert len(writer.missing()) == 120
    writer.add(finished(planned, range(100)))
    assert sorted(writer.finished) == [0, 1]


def test_real_names_go_to_the_links_and_pseudonyms_to_the_unit(work: WorkFolder) -> None:
    planned, key = manifest(120), PseudonymKey(secret=b"0123456789abcdef0123456789abcdef")
    rows = finished(planned, range(120))
    UnitWriter(work, planned, key).add(rows)
    assert names(work) == [
        f"{folder}/units/{unit:06d}.parquet" for folder in ("_work/r1", "links/_work/r1") for unit in (0, 1)
    ]
    written = parquet.decode(work.home.folder.get(unit_name(work.path, 0)) or b"")
    links = parquet.decode(work.home.folder.get(unit_name(work.restricted, 0)) or b"")
    assert set(written["image_uri"].to_pylist()) == set(
        pseudonymise(rows, key)["image_uri"][:100].to_pylist()
    )
    assert set(written["pseudonym_key_id"].to_pylist()) == {key.key_id}
    assert links.schema.equals(LINKS)
    assert set(links["image_uri"].to_pylist()) == set(planned.images["image_uri"][:100].to_pylist())
    assert set(links["reading_id"].to_pylist()) == set(written["reading_id"].to_pylist())


def test_tally_counts_codes() -> None:
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


def test_a_unit_without_whole_links_is_read_again(work: WorkFolder) -> None:
    key = PseudonymKey(secret=b"0123456789abcdef0123456789abcdef")
    planned = manifest(250)
    planned = replace(planned, purpose=replace(planned.purpose, pseudonym_key_id=key.key_id))
    UnitWriter(work, planned, key).add(finished(planned, range(250)))
    work.home.folder.delete(unit_name(work.restricted, 0))
    work.home.folder.put(unit_name(work.restricted, 1), b"half a fi")
    assert sorted(UnitWriter(work, planned, key).finished) == [2]
