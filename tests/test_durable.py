from __future__ import annotations

import errno
from pathlib import Path

import pytest

from batch_fracture import durable
from batch_fracture.errors import WriteError


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_put_once_puts_once(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "x"
    assert durable.put_once(path, b"one")
    assert not durable.put_once(path, b"two")
    assert path.read_text() == "one"
    assert names(path.parent) == ["x"]


def test_put_replaces(tmp_path: Path) -> None:
    path = tmp_path / "x"
    for text in ("one", "two"):
        durable.put(path, text.encode())
        assert path.read_text() == text
    assert names(tmp_path) == ["x"]


def test_a_write_that_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(path: Path) -> None:
        assert durable.is_partial(path)
        raise OSError(errno.ENOSPC, "disk full")

    monkeypatch.setattr(durable, "sync_file", fail)
    with pytest.raises(WriteError, match=r"cannot write .*/x: No space left on device"):
        durable.put_once(tmp_path / "x", b"half")
    assert names(tmp_path) == []
