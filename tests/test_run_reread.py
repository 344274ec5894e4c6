"""Rereads that were cut off, and tables that are older than the run."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from test_classifier import provenance
from test_run import rows
from test_run_resume import die, unfinished

from batch_fracture.classifier import FractureClassifier
from batch_fracture.endings import Ending
from batch_fracture.pipeline import fetch_and_decode
from batch_fracture.reading import Reading
from batch_fracture.results.records import Outcome
from batch_fracture.results.units import UnitWriter
from batch_fracture.summary import Report

Run = Callable[..., Report]


def test_a_reread_that_was_cut_off_is_not_repeated(
    tmp_path: Path, night: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    night()
    unfinished(night, monkeypatch, reread=True)
    assert (night(reread=True).books.read, night(reread=True).books.read) == (6, 6)
    assert rows(tmp_path, "SELECT count(*) AS n FROM runs") == [{"n": 3}]


def test_a_reread_whose_rest_was_not_reached_does_not_end_the_next_night(
    tmp_path: Path, archive: Path, draw: Any, night: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw(archive, 300, seed=3)

    def stop_after_a_unit(self: Reading) -> Ending:
        for batch in UnitWriter.missing(self._writer).slice(0, 128).to_batches():
            decoded = fetch_and_decode(
                pa.Table.from_batches([batch]), self._job.model.input, self._job.settings
            )
            answered = FractureClassifier(provenance(self._job.model))(decoded)
            self._writer.add(self._watch.take(answered))
        return Ending(outcome=Outcome.DEADLINE, message="stopped")

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Reading, "read", stop_after_a_unit)
        patch.setattr("batch_fracture.settle.write_record", die)
        night(reread=True)
    report = night(reread=True)
    assert (report.outcome, report.books.not_reached, report.books.read) == (Outcome.COMPLETE, 0, 306)


def test_a_table_that_was_put_back_does_not_block_a_run(
    tmp_path: Path, night: Run, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    night()
    unfinished(night, monkeypatch, reread=True)
    shutil.rmtree(tmp_path / "results" / "readings")
    assert night().books.read == 6
    assert "was planned against a newer table than this one: abandoned" in capfd.readouterr().err
