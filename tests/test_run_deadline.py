"""Nights that end at their deadline."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from test_run import rows

from batch_fracture import run as run_module
from batch_fracture.interrupt import Interrupt
from batch_fracture.results.records import Outcome
from batch_fracture.results.units import UnitWriter
from batch_fracture.summary import Report, as_text

Run = Callable[..., Report]


def test_units_that_were_begun_are_finished_and_the_next_night_goes_on(
    tmp_path: Path, archive: Path, draw: Any, night: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw(archive, 1992, seed=4)
    close, watches = UnitWriter._close, []

    class Watch(Interrupt):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments)
            watches.append(self)

    def close_then_be_late(self: UnitWriter, unit: int) -> None:
        close(self, unit)
        watches[-1]._late_from = 0.0

    with monkeypatch.context() as patch:
        patch.setattr(run_module, "Interrupt", Watch)
        patch.setattr(UnitWriter, "_close", close_then_be_late)
        report = night(deadline="06:00")
    assert (report.outcome, report.exit_code(1.0)) == (Outcome.DEADLINE, 4)
    assert report.message == "stopped by the deadline; the same command goes on"
    done = report.books.read + report.books.skipped + report.books.failed
    assert 0 < done < 2000
    assert done % 100 == 0  # whole units
    assert (report.books.not_reached, report.books.listed) == (2000 - done, 2000)
    again = night(max_runtime="1h")
    assert (again.outcome, again.books.unchanged) == (Outcome.COMPLETE, done)
    assert rows(tmp_path, "SELECT count(*) AS n, count(DISTINCT image_uri) AS d FROM readings") == [
        {"n": 2000, "d": 2000}
    ]
    assert [row["outcome"] for row in rows(tmp_path, "SELECT outcome FROM runs ORDER BY ended_at")] == [
        "deadline",
        "complete",
    ]


def test_a_deadline_that_comes_before_the_reading(
    tmp_path: Path, night: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_module, "stop_at", lambda *_: datetime.now(UTC) - timedelta(seconds=1))
    report = night(deadline="06:00")
    assert (report.outcome, report.exit_code(1.0), report.books.not_reached) == (Outcome.DEADLINE, 4, 8)
    assert "stopped by the deadline; nothing was begun" in as_text(report)
    assert "run None" not in as_text(report)
    assert not (tmp_path / "results" / "_work").exists()
