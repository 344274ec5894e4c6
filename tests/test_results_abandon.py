"""Runs that are given up: nobody can bring in what was removed, and nobody takes them for done."""

from __future__ import annotations

import pytest
from test_results_commit import globbed, no_commit, opened, ready, rows_in, units_of

from batch_fracture.errors import CommitError
from batch_fracture.results.commit import abandon, commit_units
from batch_fracture.results.home import Home
from batch_fracture.results.table import ReadingsTable
from batch_fracture.results.work import WorkFolder
from batch_fracture.runs import clean


@pytest.fixture(autouse=True)
def table(home: Home) -> None:
    ReadingsTable.open_or_create(home)


def copied(home: Home, monkeypatch: pytest.MonkeyPatch) -> WorkFolder:
    """A run that died between its copies and its commit."""
    work, manifest = ready(home, 110)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(ReadingsTable, "commit", no_commit)
        commit_units(work, manifest, units_of(work, manifest))
    return work


def test_abandoning_removes_copies_that_were_never_committed(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = copied(home, monkeypatch)
    assert globbed(home) == 110
    assert not abandon(work)
    assert [f.name for f in home.folder.files("") if "_delta_log" not in f.name] == []
    assert not abandon(work)
    assert opened(home).version == 1  # the door was closed once
    work, manifest = ready(home, 110)
    commit_units(work, manifest, units_of(work, manifest))
    assert abandon(work)
    assert rows_in(home) == (110, 110)


def test_who_was_given_up_while_asleep_cannot_commit_what_was_removed(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    work, manifest = ready(home, 110)
    proven, commit = units_of(work, manifest), ReadingsTable.commit

    def sleep_while_abandoned(table: ReadingsTable, files: list[object], **names: str) -> bool:
        monkeypatch.setattr(ReadingsTable, "commit", commit)
        abandon(work)
        return commit(table, files, **names)  # type: ignore[arg-type]

    monkeypatch.setattr(ReadingsTable, "commit", sleep_while_abandoned)
    with pytest.raises(CommitError, match="was given up meanwhile"):
        commit_units(work, manifest, proven)
    assert rows_in(home) == (0, 0)
    clean(home)
    assert globbed(home) == 0


def test_an_abandoned_run_is_never_taken_for_a_committed_one(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = copied(home, monkeypatch)
    give_up = ReadingsTable.give_up

    def lose_the_answer(table: ReadingsTable, run_id: str, **names: str) -> bool:
        give_up(table, run_id, **names)
        return False

    monkeypatch.setattr(ReadingsTable, "give_up", lose_the_answer)
    assert not abandon(work)
    table = opened(home)
    assert (table.holds_run(work.run_id), table.gave_up(work.run_id)) == (False, True)
    assert globbed(home) == 0
