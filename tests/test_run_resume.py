"""A run that was cut off, and the one after it."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from test_classifier import provenance
from test_run import rows

from batch_fracture.classifier import FractureClassifier
from batch_fracture.endings import Ending
from batch_fracture.errors import WorkHeldError
from batch_fracture.lease import Lease
from batch_fracture.pipeline import fetch_and_decode
from batch_fracture.reading import Reading
from batch_fracture.results.home import find_home
from batch_fracture.results.records import Outcome, write_record
from batch_fracture.results.units import UnitWriter, unit_name
from batch_fracture.results.work import WorkFolder
from batch_fracture.results.work import unfinished as find_unfinished
from batch_fracture.summary import Report

Run = Callable[..., Report]


def die(*_args: object, **_names: object) -> None:
    raise KeyboardInterrupt


def unfinished(
    night: Run, monkeypatch: pytest.MonkeyPatch, *, at: str = "settle.prove", **flags: Any
) -> None:
    """A run that dies at a step after its units are done."""
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(f"batch_fracture.{at}", die)
        night(**flags)


def the_work(tmp_path: Path) -> WorkFolder:
    """The work folder of the one unfinished run."""
    (work,) = find_unfinished(find_home(str(tmp_path / "results")))
    return work


def test_an_unfinished_run_is_finished_from_its_manifest_then_news_are_read(
    tmp_path: Path, archive: Path, draw: Any, night: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    unfinished(night, monkeypatch)
    draw(archive, 2, seed=1)
    report = night()
    assert (report.books.listed, report.books.unchanged, report.books.read) == (10, 8, 2)
    runs = rows(tmp_path, "SELECT listed, read, outcome FROM runs ORDER BY ended_at")
    assert runs == [
        {"listed": 8, "read": 6, "outcome": "complete"},
        {"listed": 10, "read": 2, "outcome": "complete"},
    ]
    assert rows(tmp_path, "SELECT count(*) AS n, count(DISTINCT image_uri) AS d FROM readings") == [
        {"n": 10, "d": 10}
    ]


def test_an_unfinished_run_with_other_settings_is_abandoned(
    tmp_path: Path, night: Run, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    unfinished(night, monkeypatch, operating_point="0.3")
    report = night()
    assert "other settings: abandoned" in capfd.readouterr().err
    assert report.books.read == 6
    assert {row["threshold"] for row in rows(tmp_path, "SELECT threshold FROM readings")} == {0.5}
    assert list((tmp_path / "results" / "_work").iterdir()) == []


def test_runs_of_other_sources_are_left_alone(
    tmp_path: Path, draw: Any, night: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    unfinished(night, monkeypatch)
    draw(tmp_path / "other", 2)
    assert night(source=(str(tmp_path / "other"),)).books.read == 2
    assert len(list((tmp_path / "results" / "_work").iterdir())) == 1
    assert night().books.unchanged == 8


def test_a_live_run_of_the_same_sources_holds_the_work(
    tmp_path: Path, night: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    unfinished(night, monkeypatch)
    work = the_work(tmp_path)
    with Lease(work), pytest.raises(WorkHeldError, match=f"process {os.getpid()} on"):
        night()
    assert night().books.unchanged == 8


def test_a_damaged_unit_is_never_committed(
    tmp_path: Path, night: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    unfinished(night, monkeypatch)
    unit = tmp_path / "results" / unit_name(the_work(tmp_path).path, 0)
    rows_before = pq.read_table(unit)
    pq.write_table(rows_before.slice(1), unit)
    report = night()
    assert report.books.unchanged == 8
    assert rows(tmp_path, "SELECT count(*) AS n, count(DISTINCT image_uri) AS d FROM readings") == [
        {"n": 8, "d": 8}
    ]


def test_a_run_that_died_before_its_record_gets_it_and_no_row_twice(
    tmp_path: Path, night: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    unfinished(night, monkeypatch, at="settle.write_record")
    assert rows(tmp_path, "SELECT count(*) AS n FROM runs") == [{"n": 0}]
    report = night()
    assert (report.outcome, report.books.unchanged) == (None, 8)
    assert rows(tmp_path, "SELECT outcome, read, table_version FROM runs") == [
        {"outcome": "complete", "read": 6, "table_version": 1}
    ]
    assert rows(tmp_path, "SELECT count(*) AS n FROM readings") == [{"n": 8}]


def test_a_run_stopped_early_that_died_before_its_record_does_not_stop_the_next(
    tmp_path: Path, archive: Path, draw: Any, night: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw(archive, 300, seed=3)

    def stop_after_a_unit(self: Reading) -> Ending:
        for batch in UnitWriter.missing(self._writer).slice(0, 128).to_batches():
            table = pa.Table.from_batches([batch])
            decoded = fetch_and_decode(table, self._job.model.input, self._job.settings)
            answered = FractureClassifier(provenance(self._job.model))(decoded)
            self._writer.add(self._watch.take(answered))
        return Ending(outcome=Outcome.INTERRUPTED, message="stopped")

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Reading, "read", stop_after_a_unit)
        patch.setattr("batch_fracture.settle.write_record", die)
        night()
    assert rows(tmp_path, "SELECT count(*) AS n FROM readings") == [{"n": 100}]
    report = night()
    assert (report.outcome, report.books.unchanged) == (Outcome.COMPLETE, 100)
    outcomes = rows(tmp_path, "SELECT outcome FROM runs ORDER BY ended_at")
    assert [row["outcome"] for row in outcomes] == ["interrupted", "complete"]
    found = rows(tmp_path, "SELECT count(*) AS n, count(DISTINCT image_uri) AS d FROM readings")
    assert found == [{"n": 308, "d": 308}]


def test_committed_rows_are_never_abandoned(
    tmp_path: Path, night: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    unfinished(night, monkeypatch, at="settle.write_record")
    assert night(operating_point="0.3").books.unchanged == 8
    assert rows(tmp_path, "SELECT count(*) AS n FROM readings") == [{"n": 8}]
    assert rows(tmp_path, "SELECT outcome, read FROM runs") == [{"outcome": "complete", "read": 6}]


def test_a_run_that_died_in_its_clean_up_blocks_nothing(
    tmp_path: Path, night: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    unfinished(night, monkeypatch, at="run.WorkFolder.remove")
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("shutil.rmtree", die)
        night()
    assert len(list((tmp_path / "results" / "_work").iterdir())) == 1
    assert night().books.unchanged == 8
    assert rows(tmp_path, "SELECT outcome, read FROM runs") == [{"outcome": "complete", "read": 6}]


def test_a_run_stopped_before_its_first_unit_can_be_resumed(
    tmp_path: Path, night: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(Reading, "read", lambda self: Ending(outcome=Outcome.INTERRUPTED, message="stopped"))
        stopped = night()
    assert (stopped.exit_code(1), stopped.books.not_reached, stopped.table_version) == (4, 8, None)
    assert rows(tmp_path, "SELECT count(*) AS n FROM runs") == [{"n": 0}]
    report = night()
    assert [one.books.read for one in report.earlier] == [6]
    assert (report.exit_code(0.0), report.exit_code(0.5)) == (3, 0)
    assert rows(tmp_path, "SELECT outcome, read FROM runs") == [{"outcome": "complete", "read": 6}]


def test_a_run_of_another_version_is_left_alone_with_a_word(
    tmp_path: Path, night: Run, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    unfinished(night, monkeypatch)
    work = next((tmp_path / "results" / "_work").iterdir())
    table = pq.read_table(work / "manifest.parquet")
    pq.write_table(table.replace_schema_metadata({b"batch_fracture": b"{}"}), work / "manifest.parquet")
    assert night().books.read == 6
    assert f"runs --results {tmp_path}/results abandon {work.name}" in capfd.readouterr().err


def test_books_of_a_run_that_died_before_its_record_come_from_the_table(
    tmp_path: Path, night: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    unfinished(night, monkeypatch, at="settle.write_record")
    work = next((tmp_path / "results" / "_work").iterdir())
    hidden = work.rename(tmp_path / "hidden")
    night(reread=True)
    hidden.rename(work)
    night()
    found = rows(tmp_path, "SELECT read, taken_by_other_runs, table_version FROM runs ORDER BY table_version")
    assert [tuple(row.values()) for row in found] == [(6, 0, 1), (6, 0, 2)]


def test_an_earlier_limit_does_not_end_this_night(night: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    unfinished(night, monkeypatch, at="settle.write_record", limit=3)
    report = night()
    assert (report.outcome, report.books.unchanged, report.exit_code(1)) == (Outcome.COMPLETE, 3, 0)


def test_a_signal_while_an_earlier_run_is_finished_ends_the_night(
    tmp_path: Path, archive: Path, draw: Any, night: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    unfinished(night, monkeypatch)
    draw(archive, 2, seed=1)

    def record_and_signal(*arguments: Any) -> None:
        write_record(*arguments)
        os.kill(os.getpid(), signal.SIGTERM)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("batch_fracture.settle.write_record", record_and_signal)
        night()
    assert rows(tmp_path, "SELECT outcome FROM runs") == [{"outcome": "complete"}]
    assert night().books.read == 2
