from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pyarrow as pa
import pytest
from test_endings import rows

from batch_fracture import reading
from batch_fracture.endings import INTERRUPTED, LATE
from batch_fracture.explain import Watch
from batch_fracture.interrupt import Interrupt
from batch_fracture.reading import Reading


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
        assert len(list(reading._batches_while(lambda: not stop.requested, StalledDataset()))) == 1
        assert stop.requested


def test_what_breaks_the_chain_is_raised_here() -> None:
    batches = reading._batches_while(lambda: True, FailingDataset())
    assert len(next(batches)) == 1
    with pytest.raises(ZeroDivisionError):
        next(batches)


def a_reading(begun: set[int], stop: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Reading:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    job = SimpleNamespace(manifest=SimpleNamespace(run_id="r1"))
    return Reading(job, SimpleNamespace(begun=begun), None, stop, Watch())  # type: ignore[arg-type]


def test_units_that_were_begun_are_finished_within_the_grace(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, stop = {1, 2}, SimpleNamespace(requested=False, signalled=True)
    reader = a_reading(begun, stop, tmp_path, monkeypatch)
    assert (reader._goes_on(), reader._stopped()) == (True, None)
    stop.requested = True
    assert reader._goes_on()
    begun.remove(1)
    begun.add(3)  # begun after the stop: nobody waits for it
    assert reader._goes_on()
    begun.remove(2)
    assert not reader._goes_on()
    assert reader._stopped() is INTERRUPTED
    stop.signalled = False
    assert reader._stopped() is LATE


def test_the_grace_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "GRACE_S", 0.05)
    reader = a_reading({1}, SimpleNamespace(requested=True), tmp_path, monkeypatch)
    assert reader._goes_on()
    time.sleep(0.06)
    assert not reader._goes_on()
