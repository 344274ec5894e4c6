from __future__ import annotations

import subprocess
import sys

import pytest

from batch_fracture.failpoints import VARIABLE, failpoint


def test_points_pass_unless_they_and_their_subject_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    failpoint("decode", "x")
    monkeypatch.setenv(VARIABLE, "other=memory,decode=memory@bad")
    failpoint("decode", "good.png")
    with pytest.raises(MemoryError):
        failpoint("decode", "bad.png")
    monkeypatch.setenv(VARIABLE, "decode=explode")
    with pytest.raises(ValueError, match="explode"):
        failpoint("decode", "x")


@pytest.mark.parametrize(("action", "number"), [("segv", 11), ("kill", 9)])
def test_a_point_kills(action: str, number: int) -> None:
    code = "from batch_fracture.failpoints import failpoint; failpoint('decode', 'x')"
    done = subprocess.run([sys.executable, "-c", code], env={VARIABLE: f"decode={action}"}, check=False)
    assert done.returncode == -number
