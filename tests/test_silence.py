from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from batch_fracture.decode.silence import silenced

FILES = Path("/proc/self/fd")


def _say(words: bytes) -> None:
    os.write(2, words)


def test_nothing_is_heard_within_and_all_is_before_and_after(capfd: pytest.CaptureFixture[str]) -> None:
    files = len(list(FILES.iterdir()))
    _say(b"before ")
    with silenced():
        _say(b"within ")
        with silenced():
            _say(b"deep within ")
        _say(b"still within ")
    _say(b"after")
    assert capfd.readouterr().err == "before after"
    assert len(list(FILES.iterdir())) == files


def test_an_error_ends_the_silence(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ValueError, match="passed on"), silenced():
        raise ValueError("passed on")
    _say(b"after")
    assert capfd.readouterr().err == "after"


def test_threads_that_overlap_leave_stderr_as_it_was(capfd: pytest.CaptureFixture[str]) -> None:
    inside, leave = threading.Event(), threading.Event()

    def first() -> None:
        with silenced():
            inside.set()
            leave.wait(30)

    thread = threading.Thread(target=first)
    thread.start()
    assert inside.wait(30)
    with silenced():
        leave.set()
        thread.join()
        _say(b"the second still wants silence")
    _say(b"after")
    assert capfd.readouterr().err == "after"
