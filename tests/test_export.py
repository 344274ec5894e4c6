from __future__ import annotations

import json
import stat
from collections.abc import Iterable
from datetime import UTC, date, datetime
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest
from deltalake import DeltaTable
from test_results_table import opened, put_file

from batch_fracture import schema
from batch_fracture.errors import ConfigError, ResultsError, WriteError
from batch_fracture.export import export
from batch_fracture.results import parquet
from batch_fracture.results.history import versions
from batch_fracture.results.home import Home, find_home
from batch_fracture.results.table import ReadingsTable
from batch_fracture.sealed import check

NEW = ("pseudonym_key_id", "settings_digest")


def night(
    home: Home, run_id: str, day: str, statuses: Iterable[str], *, without: tuple[str, ...] = ()
) -> None:
    """Commit a run of one file and put its record, as a run does; `without` columns of a newer program."""
    read_at = datetime.fromisoformat(f"{day}T02:00:00+00:00")
    rows = [
        {
            "reading_id": f"{run_id}-{number}",
            "image_uri": f"/archive/{number}.dcm",
            "status": status,
            "error_code": None if status == "read" else "CORRUPT" if status == "failed" else "NOT_AN_IMAGE",
            "probability": 0.9 - number / 10 if status == "read" else None,
            "fracture": number == 0 if status == "read" else None,
            "model": "m",
            "read_at": read_at,
            "run_id": run_id,
            "unit": 0,
        }
        for number, status in enumerate(statuses)
    ]
    counts = {
        status: sum(row["status"] == status for row in rows) for status in ("read", "skipped", "failed")
    }
    table = ReadingsTable.open_or_create(home)
    unit = pa.Table.from_pylist(rows, schema=schema.UNIT_FILE).drop_columns(list(without))
    file = put_file(home, f"{run_id}-000000-0", unit, day)
    assert table.commit([file], run_id=run_id, read_date=day)
    record = {
        "run_id": run_id,
        "outcome": "complete",
        "sources": ["/archive"],
        "read_date": date.fromisoformat(day),
        "ended_at": datetime.now(UTC),
        "listed": len(rows),
        **counts,
        "table_version": table.version + 1,
    }
    put_record(home, record)


def put_record(home: Home, record: dict[str, object]) -> None:
    rows = pa.Table.from_pylist([record], schema=schema.RUNS)
    home.folder.put_once(f"runs/{record['run_id']}.parquet", parquet.encode(rows))


def content(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }


@pytest.fixture
def three_nights(home: Home) -> Home:
    night(home, "r1", "2026-11-20", ["read", "read", "failed"])
    night(home, "r2", "2026-11-21", ["read", "skipped"])
    put_record(home, {"run_id": "r3", "read": 0, "skipped": 0, "failed": 0, "table_version": 2})
    night(home, "r4", "2026-11-22", ["failed"])
    return home


EXPECTED: dict[int, tuple[list[str], dict[str, int]]] = {
    0: ([], {}),
    1: (["r1"], {"failed": 1, "read": 2}),
    2: (["r1", "r2", "r3"], {"failed": 1, "read": 3, "skipped": 1}),
    3: (["r1", "r2", "r3", "r4"], {"failed": 2, "read": 3, "skipped": 1}),
}
"""Runs and statuses by version."""


def test_any_version_is_copied_byte_for_byte(three_nights: Home, tmp_path: Path) -> None:
    three_nights.folder.put_once("links/read_date=2026-11-20/r1.parquet", b"real names")
    for version, (runs, statuses) in EXPECTED.items():
        out = tmp_path / "new" / f"v{version}"
        done = export(three_nights, str(out), as_of=str(version))
        names = {*opened(three_nights, version).files(), *(f"runs/{run_id}.parquet" for run_id in runs)}
        found = content(out)
        assert found.keys() == names | {"export.json", "README.txt", "SHA256SUMS"}
        assert all(found[name] == three_nights.folder.get(name) for name in names)
        assert done.about == (about := json.loads(found["export.json"]))
        assert about["committed_at"] == f"{versions(opened(three_nights))[version]:%FT%T.%f}"[:-3] + "Z"
        assert (about["results"], about["table_version"]) == (three_nights.uri, version)
        assert (about["rows"], about["statuses"], about["runs"]) == (
            sum(statuses.values()),
            statuses,
            len(runs),
        )
        assert (done.doubtful_runs, check(out).seal) == ((), done.seal)
        assert f"table version {version} of" in found["README.txt"].decode().replace("\n", " ")
        for path in out.rglob("*"):
            assert path.is_dir() or stat.S_IMODE(path.stat().st_mode) == 0o444
    assert export(three_nights, str(tmp_path / "newest")).about["table_version"] == 3
    assert len(list((tmp_path / "new").iterdir())) == len(EXPECTED)


def test_a_table_of_an_older_program_is_exported_as_it_is(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(schema, "READINGS", pa.schema([f for f in schema.READINGS if f.name not in NEW]))
        night(home, "r1", "2026-11-20", ["read", "failed"], without=NEW)
    older = export(home, str(tmp_path / "older"))
    assert list(older.about["columns"]) == [name for name in schema.READINGS.names if name not in NEW]
    night(home, "r2", "2026-11-21", ["read"])
    newer = export(home, str(tmp_path / "newer"))
    assert list(newer.about["columns"]) == [
        *(n for n in schema.READINGS.names if n not in NEW),
        *reversed(NEW),
    ]
    assert (older.about["rows"], newer.about["rows"]) == (2, 3)
    assert check(tmp_path / "older").about == older.about
    before = content(tmp_path / "older" / "readings")
    assert before.items() <= content(tmp_path / "newer" / "readings").items()
    glob = f"{tmp_path}/newer/readings/read_date=*/*.parquet"
    sql = f"SELECT run_id, settings_digest FROM read_parquet('{glob}', union_by_name = true) ORDER BY ALL"
    assert duckdb.sql(sql).fetchall() == [("r1", None), ("r1", None), ("r2", None)]


def test_a_compacted_table_and_the_version_before(tmp_path: Path) -> None:
    home = find_home(str(tmp_path / "results"), create=True)
    for number in (1, 2):
        night(home, f"r{number}", "2026-11-20", ["read", "failed"])
    DeltaTable(home.table_uri).optimize.compact()
    compacted, before = (export(home, str(tmp_path / f"v{at}"), as_of=at) for at in ("3", "2"))
    assert [len(copy.about["files"]) for copy in (compacted, before)] == [1, 2]
    for copy in (compacted, before):
        assert (copy.about["statuses"], copy.doubtful_runs) == ({"failed": 2, "read": 2}, ())


def test_records_that_do_not_agree_with_the_rows_are_named(tmp_path: Path) -> None:
    home = find_home(str(tmp_path / "results"), create=True)
    night(home, "r1", "2026-11-20", ["read"])
    night(home, "r2", "2026-11-20", ["read", "read"])
    home.folder.delete("runs/r1.parquet")
    put_record(home, {"run_id": "r3", "read": 5, "skipped": 0, "failed": 0, "table_version": 2})
    assert export(home, str(tmp_path / "copy")).doubtful_runs == ("r1", "r3")


def test_what_the_log_has_must_be_there(three_nights: Home, tmp_path: Path) -> None:
    name = "readings/read_date=2026-11-20/r1-000000-0.parquet"
    rows = parquet.decode(three_nights.folder.get(name) or b"")
    three_nights.folder.put(name, parquet.encode(rows.slice(1)))
    with pytest.raises(ResultsError, match=r"r1-000000-0.parquet: holds 2 rows, the log had 3"):
        export(three_nights, str(tmp_path / "copy"))
    three_nights.folder.put(name, b"damaged")
    with pytest.raises(ResultsError, match=r"r1-000000-0.parquet is damaged"):
        export(three_nights, str(tmp_path / "copy"))
    three_nights.folder.delete(name)
    with pytest.raises(ResultsError, match=r"r1-000000-0.parquet is gone"):
        export(three_nights, str(tmp_path / "copy"))
    three_nights.folder.put("runs/r1.parquet", b"damaged")
    with pytest.raises(ResultsError, match=r"run record .*r1.parquet is damaged"):
        export(three_nights, str(tmp_path / "copy"), as_of="0")
    assert not [path for path in tmp_path.iterdir() if "copy" in path.name]


def test_the_copy_needs_a_place_of_its_own(tmp_path: Path) -> None:
    home = find_home(str(tmp_path / "results"), create=True)
    night(home, "r1", "2026-11-20", ["read"])
    (tmp_path / "file").touch()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "holiday.jpg").touch()
    (tmp_path / "link").symlink_to(tmp_path / "results")
    for out, said in {
        "file": "something stands there",
        "full": "something stands there",
        "results/copy": "lies inside the results",
        "link/copy": "lies inside the results",
    }.items():
        with pytest.raises(ConfigError, match=said):
            export(home, str(tmp_path / out))
    with pytest.raises(ConfigError, match="written to a disk"):
        export(home, "s3://bucket/copy")
    with pytest.raises(WriteError, match="cannot write /proc/copy"):
        export(home, "/proc/copy")
    (tmp_path / "empty").mkdir()
    (tmp_path / "to-empty").symlink_to(tmp_path / "empty")
    assert export(home, str(tmp_path / "to-empty")).folder == tmp_path / "empty"
    assert check(tmp_path / "empty").about["rows"] == 1
