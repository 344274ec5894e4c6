from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from deltalake import DeltaTable

from batch_fracture import schema
from batch_fracture.errors import ResultsError
from batch_fracture.results import parquet
from batch_fracture.results.home import Home, find_home
from batch_fracture.results.table import KEPT_FOR, NewFile, ReadingsTable

DAY = "2026-11-23"


def put_file(home: Home, name: str, rows: pa.Table, day: str = DAY) -> NewFile:
    """Put a file where a commit may take it up."""
    path, content = f"readings/read_date={day}/{name}.parquet", parquet.encode(rows)
    home.folder.put_once(path, content)
    return NewFile(name=path, size_bytes=len(content), num_rows=len(rows))


def put_rows(home: Home, name: str, count: int, *, without: tuple[str, ...] = ()) -> NewFile:
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
    return put_file(
        home, name, pa.Table.from_pylist(rows, schema=schema.UNIT_FILE).drop_columns(list(without))
    )


def opened(home: Home, version: int | None = None) -> ReadingsTable:
    table = ReadingsTable.open(home, version=version)
    assert table is not None
    return table


def ids(table: ReadingsTable) -> list[str]:
    return sorted(table.rows().to_table(columns=["reading_id"])["reading_id"].to_pylist())


def test_commits_count_up_and_are_remembered(home: Home) -> None:
    for number in (1, 2):
        table = ReadingsTable.open_or_create(home)
        assert not table.holds_run(f"r{number}")
        assert table.commit([put_rows(home, f"r{number}", 5)], run_id=f"r{number}", read_date=DAY)
        table = opened(home)
        assert (table.version, table.holds_run(f"r{number}"), len(table.files())) == (number, True, number)
    assert opened(home).version_of("r1") == 1
    assert opened(home, 1).version == 1
    with pytest.raises(ResultsError, match="version"):
        opened(home, 9)


def test_two_handles_cannot_both_commit(home: Home) -> None:
    one, other = ReadingsTable.open_or_create(home), opened(home)
    assert one.commit([put_rows(home, "r1", 5)], run_id="r1", read_date=DAY)
    assert not other.commit([put_rows(home, "r2", 5)], run_id="r2", read_date=DAY)
    assert (opened(home).version, opened(home).holds_run("r2")) == (1, False)


def test_a_table_of_an_older_program_is_widened_and_read(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    new = ("pseudonym_key_id", "settings_digest")
    with monkeypatch.context() as patch:
        older = [field for field in schema.READINGS if field.name not in new]
        patch.setattr(schema, "READINGS", pa.schema(older))
        table = ReadingsTable.open_or_create(home)
        assert table.commit([put_rows(home, "r1", 5, without=new)], run_id="r1", read_date=DAY)
    table = ReadingsTable.open_or_create(home)
    assert table.commit([put_rows(home, "r2", 7)], run_id="r2", read_date=DAY)
    table = opened(home)
    assert table.rows().to_table().schema.names == schema.READINGS.names
    assert len(ids(table)) == 12
    assert len(ids(opened(home, 1))) == 5
    delta = DeltaTable(home.table_uri, storage_options=home.delta_options())
    assert delta.to_pandas()[list(new)].isna().all().all()
    assert len(pl.scan_delta(home.table_uri, storage_options=home.delta_options()).collect()) == 12
    assert delta.metadata().configuration["delta.deletedFileRetentionDuration"] == KEPT_FOR
    with monkeypatch.context() as patch:
        patch.setattr(schema, "READINGS", pa.schema(older))
        with pytest.raises(ResultsError, match="a newer batch-fracture wrote them"):
            ReadingsTable.open(home)


def test_all_readers_agree_also_after_a_checkpoint(tmp_path: Path) -> None:
    home = find_home(str(tmp_path), create=True)
    for name, count in (("r1", 5), ("r2", 7)):
        table = ReadingsTable.open_or_create(home)
        assert table.commit([put_rows(home, name, count)], run_id=name, read_date=DAY)
    DeltaTable(home.table_uri).create_checkpoint()
    glob = f"{home.table_uri}/read_date=*/*.parquet"
    expected = sorted([f"r1-{n}" for n in range(5)] + [f"r2-{n}" for n in range(7)])
    files = sorted(Path(home.table_uri).glob("read_date=*/*.parquet"))
    for ids in (
        pd.read_parquet(files)["reading_id"].tolist(),
        pd.read_parquet(home.table_uri)["reading_id"].tolist(),
        pl.scan_delta(home.table_uri).collect()["reading_id"].to_list(),
        pl.read_parquet(glob, hive_partitioning=True)["reading_id"].to_list(),
        [row[0] for row in duckdb.sql(f"SELECT reading_id FROM read_parquet('{glob}')").fetchall()],
        DeltaTable(home.table_uri).to_pandas()["reading_id"].tolist(),
    ):
        assert sorted(ids) == expected
    assert DeltaTable(home.table_uri).to_pyarrow_dataset().schema.names == schema.READINGS.names


@pytest.mark.parametrize("name", ["two words", "50%", "it's [1]* #?", "käse"])
def test_other_odd_paths_work(tmp_path: Path, name: str) -> None:
    home = find_home(str(tmp_path / name), create=True)
    assert ReadingsTable.open_or_create(home).commit([put_rows(home, "r1", 2)], run_id="r1", read_date=DAY)
    table = ReadingsTable.open(home)
    assert table is not None
    assert table.version_of("r1") == 1
    assert table.rows().to_table()["reading_id"].to_pylist() == ["r1-0", "r1-1"]


def test_many_first_runs_make_one_table(home: Home) -> None:
    with ThreadPoolExecutor(4) as pool:
        tables = list(pool.map(lambda _: ReadingsTable.open_or_create(home), range(4)))
    assert [table.version for table in tables] == [0] * 4


def test_the_newest_file_tells_the_key(home: Home) -> None:
    table = ReadingsTable.open_or_create(home)
    assert table.newest_key_id() is None
    for number, key_id in enumerate((None, "k1")):
        rows = pa.Table.from_pylist(
            [{"reading_id": "x", "pseudonym_key_id": key_id}], schema=schema.UNIT_FILE
        )
        file = put_file(home, f"r{number}", rows)
        assert opened(home).commit([file], run_id=f"r{number}", read_date=DAY)
        assert opened(home).newest_key_id() == key_id
