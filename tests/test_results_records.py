from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
import pytest
from test_results_units import manifest

from batch_fracture import schema
from batch_fracture.errors import BooksError
from batch_fracture.results.records import Books, Outcome, RunRecord, write_record
from batch_fracture.results.table import find_home


def test_books_must_balance() -> None:
    Books(
        listed=21, unchanged=1, read=2, skipped=3, failed=4, taken_by_other_runs=5, not_reached=6, positive=2
    ).check()
    with pytest.raises(BooksError, match="10 listed, 9 accounted for"):
        Books(listed=10, read=9).check()


def test_a_record_is_put_once(tmp_path: Path) -> None:
    home, planned = find_home(str(tmp_path), create=True), manifest(3)
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
    rows = pq.read_table(home.runs)
    assert rows.schema.equals(schema.RUNS)
    record = rows.to_pylist()[0]
    assert (len(rows), record["read"], record["outcome"], record["sources"]) == (
        1,
        3,
        "complete",
        ["/archive"],
    )
    assert record["started_at"] <= record["ended_at"]
