from __future__ import annotations

import pyarrow as pa
import pytest
from test_results_units import manifest

from batch_fracture import schema
from batch_fracture.errors import BooksError, ResultsError
from batch_fracture.results import parquet
from batch_fracture.results.home import Home
from batch_fracture.results.records import Books, Outcome, RunRecord, read_records, write_record


def test_books_must_balance() -> None:
    Books(
        listed=21, unchanged=1, read=2, skipped=3, failed=4, taken_by_other_runs=5, not_reached=6, positive=2
    ).check()
    with pytest.raises(BooksError, match="10 listed, 9 accounted for"):
        Books(listed=10, read=9).check()


def test_a_record_is_put_once(home: Home) -> None:
    planned = manifest(3)
    for read in (3, 2):
        books = Books(listed=3, read=read, not_reached=3 - read)
        write_record(
            home,
            RunRecord(
                manifest=planned,
                outcome=Outcome.COMPLETE,
                books=books,
                engine="openvino-fp32",
                table_version=1,
            ),
        )
    rows = read_records(home)
    assert rows.schema.equals(schema.RUNS)
    record = rows.to_pylist()[0]
    assert (len(rows), record["read"], record["outcome"], record["sources"]) == (
        1,
        3,
        "complete",
        ["/archive"],
    )
    assert record["started_at"] <= record["ended_at"]


def test_records_of_an_older_program_have_nulls_and_damaged_ones_are_named(home: Home) -> None:
    assert read_records(home).schema.equals(schema.RUNS)
    home.folder.put("runs/old.parquet", parquet.encode(pa.table({"run_id": ["old"], "read": [3]})))
    rows = read_records(home)
    assert rows.schema.equals(schema.RUNS)
    assert rows.select(["run_id", "read", "listed"]).to_pylist() == [
        {"run_id": "old", "read": 3, "listed": None}
    ]
    home.folder.put("runs/bad.parquet", b"half a fi")
    with pytest.raises(ResultsError, match=r"runs/bad\.parquet is damaged"):
        read_records(home)
