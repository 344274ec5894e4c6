from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from deltalake import DeltaTable, TableFeatures
from test_results_table import DAY, opened, put_rows

from batch_fracture.errors import ConfigError, ResultsError
from batch_fracture.results.history import contents, table_as_of, versions
from batch_fracture.results.home import Home, find_home
from batch_fracture.results.table import ReadingsTable


def commit(home: Home, *run_ids: str) -> None:
    for number, run_id in enumerate(run_ids, start=3):
        table = ReadingsTable.open_or_create(home)
        assert table.commit([put_rows(home, run_id, number)], run_id=run_id, read_date=DAY)
        time.sleep(0.01)


def test_versions_files_and_counts_are_those_of_the_log(home: Home) -> None:
    commit(home, "r1", "r2")
    known = versions(opened(home))
    assert list(known) == [0, 1, 2]
    for version, expected in ((0, {}), (1, {"r1": 3}), (2, {"r1": 3, "r2": 4})):
        files = contents(opened(home, version))
        assert {file.name: file.num_rows for file in files} == {
            f"readings/read_date={DAY}/{name}.parquet": count for name, count in expected.items()
        }
        assert all(file.size_bytes == len(home.folder.get(file.name) or b"") for file in files)


def test_a_moment_sees_what_was_committed_by_then(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    commit(home, "r1", "r2")
    known = versions(opened(home))
    for version, committed in known.items():
        for text in (str(version), committed.isoformat(), committed.replace(tzinfo=None).isoformat()):
            table, at = table_as_of(home, text)
            assert (table.version, at) == (version, committed)
    east = known[1].astimezone(UTC) + timedelta(hours=2)
    assert table_as_of(home, f"{east:%Y-%m-%dT%H:%M:%S.%f}+02:00")[0].version == 1
    just_before = (known[2] - timedelta(milliseconds=1)).isoformat()
    assert table_as_of(home, just_before)[0].version == 1
    assert table_as_of(home, None)[0].version == 2
    today = f"{known[2]:%Y-%m-%d}"
    assert table_as_of(home, today)[0].version == 2
    monkeypatch.setattr("batch_fracture.results.history.versions", lambda _table: _one_a_day())
    for day, version in (("2026-01-01", 0), ("2026-01-02", 1), ("2026-01-03", 2), ("2026-02-01", 2)):
        assert table_as_of(home, day)[0].version == version


def _one_a_day() -> dict[int, datetime]:
    """Version 1 is of the last millisecond of its day, version 2 of the first of the next."""
    first = datetime(2026, 1, 1, 12, tzinfo=UTC)
    return {
        0: first,
        1: datetime(2026, 1, 2, 23, 59, 59, 999_000, UTC),
        2: datetime(2026, 1, 3, tzinfo=UTC),
    }


@pytest.mark.parametrize(
    ("as_of", "said"),
    [
        ("3", "--as-of 3: there are versions 0 to 2, of 2"),
        ("1999-12-31", "is before the first version; there are versions 0 to 2"),
        ("2999-12-31", "is yet to come; there are versions 0 to 2"),
        ("yesterday", "give a version such as 12, a date such as"),
        ("2026-02-30", "give a version"),
        ("-1", "give a version"),
        ("", "give a version"),
    ],
)
def test_what_was_never_there(tmp_path: Path, as_of: str, said: str) -> None:
    home = find_home(str(tmp_path / "results"), create=True)
    commit(home, "r1", "r2")
    with pytest.raises(ConfigError, match=said):
        table_as_of(home, as_of)


def test_a_table_whose_files_do_not_tell_its_rows_is_refused(tmp_path: Path) -> None:
    home = find_home(str(tmp_path / "results"), create=True)
    commit(home, "r1")
    delta = DeltaTable(home.table_uri)
    delta.alter.add_feature(TableFeatures.DeletionVectors, allow_protocol_versions_increase=True)
    with pytest.raises(ResultsError, match=r"deletionVectors.*name a version before that"):
        contents(opened(home))
    assert [file.num_rows for file in contents(opened(home, 1))] == [3]
