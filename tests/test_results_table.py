from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import duckdb
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable

from batch_fracture import schema
from batch_fracture.errors import ResultsError
from batch_fracture.results.table import Home, ReadingsTable, find_home

DAY = "2026-11-23"


def put_rows(home: Home, name: str, count: int) -> Path:
    rows = [
        {
            "reading_id": f"{name}-{n}",
            "status": "read",
            "probability": 0.5,
            "rows": 7,
            "read_at": datetime.now(UTC),
        }
        for n in range(count)
    ]
    path = home.readings / f"read_date={DAY}" / f"{name}.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows, schema=schema.UNIT_FILE), path)
    return path


def test_a_location_is_checked(tmp_path: Path) -> None:
    assert find_home(str(tmp_path / "new"), create=True).path == tmp_path / "new"
    with pytest.raises(ResultsError, match="there are no results yet"):
        find_home(str(tmp_path / "new"))
    (tmp_path / "holiday.jpg").touch()
    with pytest.raises(ResultsError, match="name an empty or a new folder"):
        find_home(str(tmp_path), create=True)
    with pytest.raises(ResultsError, match="not a results folder"):
        find_home(str(tmp_path))
    with pytest.raises(ResultsError, match="only local folders"):
        find_home("s3://bucket/results")


def test_commits_count_up_and_are_remembered(tmp_path: Path) -> None:
    home = find_home(str(tmp_path), create=True)
    for number in (1, 2):
        table = ReadingsTable.open_or_create(home)
        assert not table.holds_run(f"r{number}")
        assert table.commit([put_rows(home, f"r{number}", 5)], run_id=f"r{number}", read_date=DAY)
        table = ReadingsTable.open(home)
        assert table is not None
        assert (table.version, table.holds_run(f"r{number}"), len(table.files())) == (number, True, number)


def test_two_handles_cannot_both_commit(tmp_path: Path) -> None:
    home = find_home(str(tmp_path), create=True)
    one, other = ReadingsTable.open_or_create(home), ReadingsTable.open(home)
    assert other is not None
    assert one.commit([put_rows(home, "r1", 5)], run_id="r1", read_date=DAY)
    assert not other.commit([put_rows(home, "r2", 5)], run_id="r2", read_date=DAY)
    table = ReadingsTable.open(home)
    assert table is not None
    assert (table.version, table.holds_run("r2")) == (1, False)


def test_all_readers_agree_also_after_a_checkpoint(tmp_path: Path) -> None:
    home = find_home(str(tmp_path), create=True)
    for name, count in (("r1", 5), ("r2", 7)):
        table = ReadingsTable.open_or_create(home)
        assert table.commit([put_rows(home, name, count)], run_id=name, read_date=DAY)
    DeltaTable(home.readings).create_checkpoint()
    glob = f"{home.readings}/read_date=*/*.parquet"
    expected = sorted([f"r1-{n}" for n in range(5)] + [f"r2-{n}" for n in range(7)])
    files = sorted(home.readings.glob("read_date=*/*.parquet"))
    for ids in (
        pd.read_parquet(files)["reading_id"].tolist(),
        pd.read_parquet(home.readings)["reading_id"].tolist(),
        pl.scan_delta(str(home.readings)).collect()["reading_id"].to_list(),
        pl.read_parquet(glob, hive_partitioning=True)["reading_id"].to_list(),
        [row[0] for row in duckdb.sql(f"SELECT reading_id FROM read_parquet('{glob}')").fetchall()],
        DeltaTable(home.readings).to_pandas()["reading_id"].tolist(),
    ):
        assert sorted(ids) == expected
    assert DeltaTable(home.readings).to_pyarrow_dataset().schema.names == schema.READINGS.names


@pytest.mark.parametrize("name", ["per%41cent", "back\\slash", "new\nline", "read_date=2020-01-01/r"])
def test_a_path_that_readers_would_take_for_another_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ResultsError, match="name a plainer path"):
        find_home(str(tmp_path / name), create=True)


@pytest.mark.parametrize("name", ["two words", "50%", "it's [1]* #?", "käse"])
def test_other_odd_paths_work(tmp_path: Path, name: str) -> None:
    home = find_home(str(tmp_path / name), create=True)
    assert ReadingsTable.open_or_create(home).commit([put_rows(home, "r1", 2)], run_id="r1", read_date=DAY)
    table = ReadingsTable.open(home)
    assert table is not None
    assert table.version_of("r1") == 1
    assert table.rows().to_table()["reading_id"].to_pylist() == ["r1-0", "r1-1"]
