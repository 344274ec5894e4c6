from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import duckdb
import pytest
from test_plan import PURPOSE, TODAY, listing
from test_results_units import finished

from batch_fracture.errors import BooksError
from batch_fracture.plan import plan_run
from batch_fracture.results import commit as module
from batch_fracture.results.commit import commit_units, prove
from batch_fracture.results.table import Home, ReadingsTable, find_home
from batch_fracture.results.units import UnitWriter, unit_path
from batch_fracture.results.work import Manifest, WorkFolder, abandon, write_manifest

Ready = tuple[WorkFolder, Manifest]


@pytest.fixture
def home(tmp_path: Path) -> Home:
    made = find_home(str(tmp_path / "results"), create=True)
    ReadingsTable.open_or_create(made)
    return made


def ready(home: Home, count: int, *, model_digest: str = "d1", threshold: float = 0.5) -> Ready:
    """A run whose units are all finished."""
    purpose = replace(PURPOSE, model_digest=model_digest, threshold=threshold)
    manifest = plan_run(listing(count), ReadingsTable.open(home), purpose, read_date=TODAY).manifest
    folder = write_manifest(home, manifest)
    UnitWriter(folder, manifest).add(finished(manifest, range(count)))
    return folder, manifest


def units_of(folder: WorkFolder, manifest: Manifest) -> dict[int, object]:
    return prove(folder, manifest, sorted(manifest.unit_sizes))


def rows_in(home: Home) -> tuple[int, int]:
    """(rows, distinct reading ids) of the table as Delta says."""
    table = ReadingsTable.open(home)
    assert table is not None
    sql = "SELECT count(*), count(DISTINCT reading_id) FROM read_parquet($files)"
    return duckdb.execute(sql, {"files": table.files()}).fetchall()[0]


def globbed(home: Home) -> int:
    return duckdb.execute(
        f"SELECT count(*) FROM read_parquet('{home.readings}/read_date=*/*.parquet')"
    ).fetchall()[0][0]


def test_one_commit_brings_all_rows_and_readers_that_glob_agree(home: Home) -> None:
    folder, manifest = ready(home, 250)
    done = commit_units(home, folder, manifest, units_of(folder, manifest))
    assert (done.version, done.tally.read, done.taken_by_other_runs) == (1, 250, 0)
    assert rows_in(home) == (250, 250)
    assert globbed(home) == 250


def test_committing_again_changes_nothing(home: Home) -> None:
    folder, manifest = ready(home, 120)
    for _ in range(3):
        done = commit_units(home, folder, manifest, units_of(folder, manifest))
        assert (done.version, done.tally.rows) == (1, 120)
    assert rows_in(home) == (120, 120)


def test_a_run_that_loses_the_race_drops_what_the_other_brought(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, theirs = ready(home, 250), ready(home, 130, threshold=0.4)
    reopen = module._reopen
    raced = []

    def reopen_then_lose(home: Home) -> ReadingsTable:
        table = reopen(home)
        if not raced:
            raced.append(True)
            commit_units(home, *theirs, units_of(*theirs))
        return table

    monkeypatch.setattr(module, "_reopen", reopen_then_lose)
    done = commit_units(home, *ours, units_of(*ours))
    assert (done.version, done.tally.rows, done.taken_by_other_runs) == (2, 120, 130)
    assert rows_in(home) == (250, 250)
    assert globbed(home) == 250


def test_a_run_whose_rows_are_all_taken_commits_nothing(home: Home) -> None:
    ours, theirs = ready(home, 110), ready(home, 110, threshold=0.4)
    commit_units(home, *theirs, units_of(*theirs))
    done = commit_units(home, *ours, units_of(*ours))
    assert (done.version, done.tally.rows, done.taken_by_other_runs) == (1, 0, 110)
    assert rows_in(home) == (110, 110)


def test_different_models_both_commit(home: Home) -> None:
    for digest in ("d1", "d2"):
        folder, manifest = ready(home, 110, model_digest=digest)
        commit_units(home, folder, manifest, units_of(folder, manifest))
    assert rows_in(home) == (220, 220)


def test_books_that_do_not_balance_are_refused(home: Home) -> None:
    folder, manifest = ready(home, 250)
    with pytest.raises(BooksError, match=r"000002\.parquet"):
        prove(folder, manifest, [0, 1])
    with pytest.raises(BooksError, match="holds 100 rows, 0 of its 50"):
        unit_path(folder, 2).write_bytes(unit_path(folder, 1).read_bytes())
        prove(folder, manifest, [0, 1, 2])


def test_abandoning_removes_copies_that_were_never_committed(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, manifest = ready(home, 110)
    committed: Callable[..., bool] = ReadingsTable.commit
    monkeypatch.setattr(
        ReadingsTable, "commit", lambda *_args, **_names: (_ for _ in ()).throw(KeyboardInterrupt)
    )
    with pytest.raises(KeyboardInterrupt):
        commit_units(home, folder, manifest, units_of(folder, manifest))
    assert globbed(home) == 110
    abandon(home, folder, ReadingsTable.open(home))
    assert list(home.readings.glob("read_date=*/*")) == []
    assert list(home.work.iterdir()) == []
    monkeypatch.setattr(ReadingsTable, "commit", committed)
    folder, manifest = ready(home, 110)
    commit_units(home, folder, manifest, units_of(folder, manifest))
    abandon(home, folder, ReadingsTable.open(home))
    assert rows_in(home) == (110, 110)


def test_the_partition_is_the_manifests_day(home: Home) -> None:
    folder, manifest = ready(home, 10)
    manifest = replace(manifest, read_date=TODAY - timedelta(days=1))
    commit_units(home, folder, manifest, units_of(folder, manifest))
    assert [path.name for path in home.readings.glob("read_date=*")] == ["read_date=2026-11-22"]
