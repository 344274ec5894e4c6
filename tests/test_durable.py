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
    assert durable.put_once(path, lambda to: to.write_text("one"))
    assert not durable.put_once(path, lambda to: to.write_text("two"))
    assert path.read_text() == "one"
    assert names(path.parent) == ["x"]


def test_put_replaces(tmp_path: Path) -> None:
    path = tmp_path / "x"
    for text in ("one", "two"):
        durable.put(path, lambda to, text=text: to.write_text(text))
        assert path.read_text() == text
    assert names(tmp_path) == ["x"]


def test_a_write_that_fails_leaves_nothing(tmp_path: Path) -> None:
    def write(to: Path) -> None:
        to.write_text("half")
        raise OSError(errno.ENOSPC, "disk full")

    with pytest.raises(WriteError, match=r"cannot write .*/x: No space left on device"):
        durable.put_once(tmp_path / "x", write)
    assert names(tmp_path) == []
