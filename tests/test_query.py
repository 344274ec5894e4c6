from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pytest
from test_results_table import put_file

from batch_fracture import schema
from batch_fracture.errors import ConfigError, ResultsError
from batch_fracture.query import plain_rows, query
from batch_fracture.results.home import Home, find_home
from batch_fracture.results.table import ReadingsTable


def add(home: Home, run_id: str, *rows: tuple[str, str, str]) -> None:
    """Commit rows of (image_uri, model, status), read an hour after the run before."""
    table = ReadingsTable.open_or_create(home)
    read_at = datetime(2026, 11, 20, table.version, tzinfo=UTC)
    columns = [
        {
            "reading_id": uri,
            "image_uri": uri,
            "model": model,
            "status": status,
            "read_at": read_at,
            "run_id": run_id,
        }
        for uri, model, status in rows
    ]
    rows_of_run = pa.Table.from_pylist(columns, schema=schema.UNIT_FILE)
    file = put_file(home, run_id, rows_of_run, "2026-11-20")
    assert table.commit([file], run_id=run_id, read_date="2026-11-20")


@pytest.fixture
def results(tmp_path: Path) -> str:
    home = find_home(str(tmp_path / "with 'quote' [1]*"), create=True)
    add(home, "r1", ("a", "m", "read"), ("b", "m", "failed"), ("c", "m", "failed"))
    add(home, "r2", ("a", "m", "failed"), ("b", "m", "read"), ("c", "m", "failed"), ("a", "n", "read"))
    return home.uri


def test_latest_is_the_newest_read_row_else_the_newest(results: str) -> None:
    rows = query(results, "SELECT image_uri, model, status, run_id FROM latest ORDER BY ALL").to_pylist()
    assert [tuple(row.values()) for row in rows] == [
        ("a", "m", "read", "r1"),
        ("a", "n", "read", "r2"),
        ("b", "m", "read", "r2"),
        ("c", "m", "failed", "r2"),
    ]


def test_the_views_have_the_contracts_columns(results: str) -> None:
    assert query(results, "SELECT * FROM readings").column_names == schema.READINGS.names
    assert query(results, "SELECT count(*) AS n FROM readings").to_pylist() == [{"n": 7}]
    runs = query(results, "SELECT * FROM runs")
    assert (runs.column_names, len(runs)) == (schema.RUNS.names, 0)
    dates = query(results, "SELECT DISTINCT read_date FROM readings").to_pylist()
    assert str(dates[0]["read_date"]) == "2026-11-20"


def test_an_empty_table_can_be_asked(tmp_path: Path) -> None:
    ReadingsTable.open_or_create(find_home(str(tmp_path), create=True))
    assert query(str(tmp_path), "SELECT * FROM latest").num_rows == 0


def test_what_cannot_be_answered_is_one_clear_error(results: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match='"nope" not found'):
        query(results, "SELECT nope FROM readings")
    with pytest.raises(ResultsError, match="there are no results yet"):
        query(str(tmp_path / "none"), "SELECT 1")


def test_columns_of_one_name_stay_apart(results: str) -> None:
    rows = query(
        results,
        "SELECT a.image_uri, b.model, a.status, b.status FROM latest a JOIN latest b USING (reading_id)",
    )
    assert rows.column_names == ["image_uri", "model", "status", "status"]
    with pytest.raises(ConfigError, match="two columns are named 'status'"):
        plain_rows(rows)


def test_rows_for_json_hold_nothing_that_json_cannot(results: str) -> None:
    rows = query(results, "SELECT 'nan'::DOUBLE AS a, 'inf'::FLOAT AS b, 1.5 AS c, NULL AS d")
    assert plain_rows(rows) == [{"a": None, "b": None, "c": rows["c"][0].as_py(), "d": None}]


@pytest.mark.parametrize("sql", ["", "  "])
def test_a_statement_without_rows(results: str, sql: str) -> None:
    with pytest.raises(ConfigError, match="gives no rows"):
        query(results, sql)
