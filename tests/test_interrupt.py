from __future__ import annotations

import os
import signal
from collections.abc import Iterator

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
