from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from datetime import datetime, timedelta

import pytest

from batch_fracture.interrupt import SIGNALS, Interrupt


@pytest.fixture(autouse=True)
def heard() -> Iterator[None]:
    """Whoever runs the tests may ignore some of the signals, as nohup does."""
    before = {number: signal.signal(number, signal.SIG_DFL) for number in SIGNALS}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def test_a_signal_is_recorded_in_graceful_work_and_a_second_ctrl_c_ends_at_once() -> None:
    said: list[str] = []
    with Interrupt(said.append) as stop, stop.graceful():
        assert not stop.requested
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGHUP)
        assert stop.requested
        assert said == ["SIGTERM received: finishing up, committing what is complete"]
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)


@pytest.mark.parametrize("number", SIGNALS)
def test_outside_graceful_work_any_signal_ends_at_once(number: signal.Signals) -> None:
    before = [signal.getsignal(one) for one in SIGNALS]
    with Interrupt(print) as stop:
        with stop.graceful():
            pass
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), number)
    assert [signal.getsignal(one) for one in SIGNALS] == before


def test_what_nohup_ignores_stays_ignored() -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with Interrupt(print) as stop, stop.graceful():
        os.kill(os.getpid(), signal.SIGHUP)
        assert not stop.requested


def test_the_deadline_is_announced_once_and_interrupts_nothing() -> None:
    said: list[str] = []
    soon = datetime.now().astimezone() + timedelta(seconds=0.1)
    with Interrupt(said.append, soon) as stop, stop.graceful():
        assert not stop.requested
        time.sleep(0.15)
        assert (stop.requested, stop.late, stop.signalled) == (True, True, False)
        assert stop.requested
    assert said == [f"the deadline {soon:%H:%M} has come: finishing up, committing what is complete"]
