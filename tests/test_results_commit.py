from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pyarrow.parquet as pq
import pytest
from test_plan import PURPOSE, TODAY, listing
from test_results_units import finished

from batch_fracture.errors import BooksError, CommitError
from batch_fracture.plan import plan_run
from batch_fracture.privacy import PseudonymKey
from batch_fracture.results import commit as module
from batch_fracture.results import copies, parquet
from batch_fracture.results.commit import commit_units
from batch_fracture.results.home import Home
from batch_fracture.results.manifest import Manifest
from batch_fracture.results.proof import ProvenUnit, prove
from batch_fracture.results.table import ReadingsTable
from batch_fracture.results.units import UnitWriter, unit_name
from batch_fracture.results.work import WorkFolder, write_manifest

Ready = tuple[WorkFolder, Manifest]
KEY = PseudonymKey(secret=b"0123456789abcdef0123456789abcdef")


@pytest.fixture(autouse=True)
def table(home: Home) -> None:
    ReadingsTable.open_or_create(home)


def ready(
    home: Home,
    count: int,
    *,
    model_digest: str = "d1",
    threshold: float = 0.5,
    key: PseudonymKey | None = None,
) -> Ready:
    """A run whose units are all finished."""
    purpose = replace(
        PURPOSE, model_digest=model_digest, threshold=threshold, pseudonym_key_id=key.key_id if key else None
    )
    manifest = plan_run(listing(count), ReadingsTable.open(home), purpose, read_date=TODAY, key=key).manifest
    work = write_manifest(home, manifest)
    UnitWriter(work, manifest, key).add(finished(manifest, range(count)))
    return work, manifest


def units_of(work: WorkFolder, manifest: Manifest) -> list[ProvenUnit]:
    return prove(work, manifest, list(range(manifest.num_units)))


def opened(home: Home) -> ReadingsTable:
    table = ReadingsTable.open(home)
    assert table is not None
    return table


def rows_in(home: Home) -> tuple[int, int]:
    """(rows, distinct reading ids) of the table as Delta says."""
    ids = opened(home).rows().to_table(columns=["reading_id"])["reading_id"].to_pylist()
    return len(ids), len(set(ids))


def globbed(home: Home, table: str = "readings") -> int:
    """Rows of all files in the partitions, committed or not."""
    paths, system = home.folder.dataset_files(
        [file.name for file in home.folder.files(table) if "/read_date=" in file.name]
    )
    return sum(pq.read_metadata(path, filesystem=system).num_rows for path in paths)


def no_commit(*_args: object, **_names: object) -> bool:
    raise KeyboardInterrupt


def test_one_commit_brings_all_rows_and_readers_that_glob_agree(home: Home) -> None:
    work, manifest = ready(home, 250)
    done = commit_units(work, manifest, units_of(work, manifest))
    assert (done.version, done.tally.read, done.taken_by_other_runs) == (1, 250, 0)
    assert rows_in(home) == (250, 250)
    assert globbed(home) == 250


def test_committing_again_changes_nothing(home: Home) -> None:
    work, manifest = ready(home, 120)
    for _ in range(3):
        done = commit_units(work, manifest, units_of(work, manifest))
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
            commit_units(*theirs, units_of(*theirs))
        return table

    monkeypatch.setattr(module, "_reopen", reopen_then_lose)
    done = commit_units(*ours, units_of(*ours))
    assert (done.version, done.tally.rows, done.taken_by_other_runs) == (2, 120, 130)
    assert rows_in(home) == (250, 250)
    assert globbed(home) == 250


def test_a_run_whose_rows_are_all_taken_commits_nothing(home: Home) -> None:
    ours, theirs = ready(home, 110), ready(home, 110, threshold=0.4)
    commit_units(*theirs, units_of(*theirs))
    done = commit_units(*ours, units_of(*ours))
    assert (done.version, done.tally.rows, done.taken_by_other_runs) == (1, 0, 110)
    assert rows_in(home) == (110, 110)


def test_different_models_both_commit(home: Home) -> None:
    for digest in ("d1", "d2"):
        work, manifest = ready(home, 110, model_digest=digest)
        commit_units(work, manifest, units_of(work, manifest))
    assert rows_in(home) == (220, 220)


def test_books_that_do_not_balance_are_refused(home: Home) -> None:
    work, manifest = ready(home, 250)
    with pytest.raises(BooksError, match=r"000002\.parquet"):
        prove(work, manifest, [0, 1])
    other = home.folder.get(unit_name(work.path, 1)) or b""
    home.folder.put(unit_name(work.path, 2), other)
    with pytest.raises(BooksError, match="holds 100 rows, 0 of its 50"):
        prove(work, manifest, [0, 1, 2])
    home.folder.put(unit_name(work.path, 2), other[:-9])
    with pytest.raises(BooksError, match="unit 2 cannot be read back"):
        prove(work, manifest, [0, 1, 2])


def test_a_unit_that_changes_after_its_proof_is_not_committed(home: Home) -> None:
    work, manifest = ready(home, 150)
    proven = units_of(work, manifest)
    home.folder.put(unit_name(work.path, 1), home.folder.get(unit_name(work.path, 0)) or b"")
    with pytest.raises(BooksError, match="unit 1 changed after it was proven"):
        commit_units(work, manifest, proven)
    assert rows_in(home) == (0, 0)


def test_a_commit_whose_outcome_is_unknown_is_looked_up(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    work, manifest = ready(home, 110)
    commit: Callable[..., bool] = ReadingsTable.commit

    def commit_and_lose_the_answer(*args: object, **names: object) -> bool:
        commit(*args, **names)
        raise CommitError("connection reset")

    monkeypatch.setattr(ReadingsTable, "commit", commit_and_lose_the_answer)
    done = commit_units(work, manifest, units_of(work, manifest))
    assert (done.version, done.tally.rows, rows_in(home)) == (1, 110, (110, 110))

    def fail(*_args: object, **_names: object) -> bool:
        raise CommitError("no space")

    monkeypatch.setattr(ReadingsTable, "commit", fail)
    work, manifest = ready(home, 150, model_digest="d2")
    with pytest.raises(CommitError, match="no space"):
        commit_units(work, manifest, units_of(work, manifest))


def test_small_units_share_a_file_and_large_ones_do_not(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    work, manifest = ready(home, 250)
    commit_units(work, manifest, units_of(work, manifest))
    assert len(opened(home).files()) == 1
    monkeypatch.setattr(copies, "FILE_ROWS", 200)
    work, manifest = ready(home, 450, model_digest="d2")
    commit_units(work, manifest, units_of(work, manifest))
    counts = sorted(len(parquet.decode(home.folder.get(name) or b"")) for name in opened(home).files())
    assert counts == [50, 200, 200, 250]
    assert rows_in(home) == (700, 700)


def test_links_that_vanish_after_the_proof_stop_the_commit(home: Home) -> None:
    work, manifest = ready(home, 150, key=KEY)
    proven = units_of(work, manifest)
    home.folder.delete(unit_name(work.restricted, 0))
    with pytest.raises(BooksError, match="unit 0 changed after it was proven"):
        commit_units(work, manifest, proven)
    assert rows_in(home) == (0, 0)
    assert globbed(home, "links") == 0


def test_rows_that_pseudonyms_name_have_their_links(home: Home) -> None:
    ours, theirs = ready(home, 250, key=KEY), ready(home, 130, threshold=0.4, key=KEY)
    for work, manifest in (theirs, ours):
        commit_units(work, manifest, units_of(work, manifest))
    assert rows_in(home) == (250, 250)
    assert globbed(home, "links") == 250
    files = Counter(f.name.rpartition("/")[2] for f in home.folder.files("") if "/read_date=" in f.name)
    assert set(files.values()) == {2}


def test_the_partition_is_the_manifests_day(home: Home) -> None:
    work, manifest = ready(home, 10)
    manifest = replace(manifest, read_date=TODAY - timedelta(days=1))
    commit_units(work, manifest, units_of(work, manifest))
    assert home.folder.children("readings") == {"_delta_log", "read_date=2026-11-22"}
