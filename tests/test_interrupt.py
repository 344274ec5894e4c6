from __future__ import annotations

import os
import signal

import pytest

from batch_fracture.interrupt import SIGNALS, Interrupt


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
