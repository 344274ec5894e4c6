from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest

from batch_fracture import reading, schema
from batch_fracture.interrupt import Interrupt
from batch_fracture.reading import OutageGuard
from batch_fracture.results.records import Outcome


def rows(*fates: tuple[str | None, str | None, int]) -> pa.Table:
    return pa.Table.from_pylist(
        [{"error_stage": stage, "error_code": code, "unit": unit} for stage, code, unit in fates],
        schema=schema.UNIT_FILE,
    )


def test_only_an_unbroken_streak_of_one_cause_is_an_outage(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "OUTAGE_ROWS", 3)
    gone, denied, read = ("fetch", "GONE", 0), ("fetch", "ACCESS_DENIED", 0), (None, None, 0)
    final, listed = ("decode", "TRUNCATED", 0), ("list", "GONE", 0)
    for harmless in ([gone, gone, read, gone, gone], [gone, denied] * 5, [final] * 9, [listed] * 9):
        assert not OutageGuard().see(rows(*harmless))
    assert OutageGuard().see(rows(read, gone, gone, gone))


def test_a_streak_runs_over_blocks_and_remembers_its_units(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "OUTAGE_ROWS", 3)
    guard = OutageGuard()
    assert not guard.see(rows(("fetch", "GONE", 1), (None, None, 2), ("fetch", "STORE_ERROR", 3)))
    assert guard.see(rows(("fetch", "STORE_ERROR", 4), ("fetch", "STORE_ERROR", 4)))
    assert guard.units == {3, 4}
    assert guard.ending().outcome is Outcome.STORE_OUTAGE
    assert "3 fetches in a row ended with STORE_ERROR" in str(guard.ending().message)


def test_ray_logs_go_below_the_state_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert reading.log_file("r1") == tmp_path / "batch-fracture" / "r1.log"


class StalledDataset:
    """A chain that gives one batch, then none for as long as anybody waits."""

    def iter_batches(self, **_options: object) -> Iterator[pa.Table]:
        yield rows((None, None, 0))
        threading.Event().wait(30)


class FailingDataset:
    """A chain that breaks."""

    def iter_batches(self, **_options: object) -> Iterator[pa.Table]:
        yield rows((None, None, 0))
        raise ZeroDivisionError


def test_a_signal_is_heard_while_no_batch_comes() -> None:
    with Interrupt(lambda text: None) as stop, stop.graceful():
        threading.Timer(0.5, os.kill, [os.getpid(), signal.SIGTERM]).start()
        assert len(list(reading._until_stopped(StalledDataset(), stop))) == 1
        assert stop.requested


def test_what_breaks_the_chain_is_raised_here() -> None:
    with Interrupt(lambda text: None) as stop:
        batches = reading._until_stopped(FailingDataset(), stop)
        assert len(next(batches)) == 1
        with pytest.raises(ZeroDivisionError):
            next(batches)
