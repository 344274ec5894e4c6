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


def add_rows(home: Home, run_id: str, *rows: dict[str, object]) -> None:
    """Commit rows of these columns, read an hour after the run before."""
    table = ReadingsTable.open_or_create(home)
    read_at = datetime(2026, 11, 20, table.version, tzinfo=UTC)
    given = [{"reading_id": row["image_uri"], "read_at": read_at, "run_id": run_id} | row for row in rows]
    file = put_file(home, run_id, pa.Table.from_pylist(given, schema=schema.UNIT_FILE), "2026-11-20")
    assert table.commit([file], run_id=run_id, read_date="2026-11-20")


def add(home: Home, run_id: str, *rows: tuple[str, str, str]) -> None:
    """Commit rows of (image_uri, model, status), read an hour after the run before."""
    add_rows(
        home, run_id, *({"image_uri": uri, "model": model, "status": status} for uri, model, status in rows)
    )


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


def _image(
    uri: str, study: str | None, probability: float | None = None, **other: object
) -> dict[str, object]:
    row = {"image_uri": uri, "study_instance_uid": study, "model": "m", "status": "read"} | other
    fracture = None if probability is None else probability >= 0.5
    return row | {"probability": probability, "fracture": fracture}


def test_a_study_is_as_suspicious_as_its_worst_image(tmp_path: Path) -> None:
    home = find_home(str(tmp_path), create=True)
    add_rows(
        home,
        "r1",
        _image("a", "1", 0.25),
        _image("b", "1", 0.75),
        _image("c", "1", status="failed"),
        _image("sr", "1", status="skipped"),
        _image("d", "2", 0.25),
        _image("z", "2", 0.25),
        _image("e", "3", status="skipped"),
        _image("photo.png", None, 0.875),
        _image("a", "1", 0.5, model="n"),
    )
    add_rows(home, "r2", _image("c", "1", 0.125))
    first, second = (datetime(2026, 11, 20, hour, tzinfo=UTC) for hour in (0, 1))
    rows = query(str(tmp_path), "SELECT * FROM latest_by_study ORDER BY ALL")
    assert rows.column_names[2:] == (
        ["images", "read", "skipped", "failed", "probability", "fracture", "image_uri", "read_at"]
    )
    assert [tuple(row.values()) for row in rows.to_pylist()] == [
        ("1", "m", 4, 3, 1, 0, 0.75, True, "b", second),
        ("1", "n", 1, 1, 0, 0, 0.5, True, "a", first),
        ("2", "m", 2, 2, 0, 0, 0.25, False, "d", first),
        ("3", "m", 1, 0, 1, 0, None, None, None, first),
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
