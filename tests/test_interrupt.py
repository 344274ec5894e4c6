from __future__ import annotations

import os
import signal

import pytest

from batch_fracture.interrupt import Interrupt


def test_the_first_signal_is_recorded_and_a_second_ctrl_c_ends_at_once() -> None:
    said: list[str] = []
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    with Interrupt(said.append) as stop:
        assert not stop.requested
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.requested
        assert said == ["SIGTERM received: finishing up, committing what is complete"]
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before
