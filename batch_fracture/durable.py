"""Local files that survive a power cut: written beside their place, fsynced, linked in once."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable
from pathlib import Path

from batch_fracture.errors import WriteError


def put_once(path: Path, content: bytes) -> bool:
    """Put a file in place if nothing stands there yet; afterwards it and its name are on disk.

    Args:
        path: where it goes; missing parents are made.
        content: the whole of it.

    Returns:
        True when this call put it, False when something stood there already.

    Raises:
        WriteError: want of space or access; nothing is left in its place.
    """
    return _place(path, content, lambda partial: _link(partial, path))


def put(path: Path, content: bytes) -> None:
    """Put a file in place, in one step, instead of whatever stands there.

    Raises:
        WriteError: want of space or access; what stood there still stands.
    """

    def replace(partial: Path) -> bool:
        partial.replace(path)
        return True

    _place(path, content, replace)


def is_partial(path: Path) -> bool:
    """Whether a file is one that is being written, or was when its writer died."""
    return path.name.startswith(".") and path.suffix == ".partial"


def make_folder(path: Path) -> None:
    """Make a folder and its missing parents; afterwards their names are on disk."""
    if path.is_dir():
        return
    make_folder(path.parent)
    path.mkdir(exist_ok=True)
    sync_folder(path.parent)


def sync_folder(path: Path) -> None:
    """Fsync a directory, so that the names in it are on disk."""
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sync_file(path: Path) -> None:
    """Fsync a file's content."""
    with path.open("rb") as file:
        os.fsync(file.fileno())


def _place(path: Path, content: bytes, into: Callable[[Path], bool]) -> bool:
    partial = path.parent / f".{path.name}.{uuid.uuid4().hex}.partial"
    try:
        make_folder(path.parent)
        try:
            partial.write_bytes(content)
            sync_file(partial)
            placed = into(partial)
        finally:
            partial.unlink(missing_ok=True)
        sync_folder(path.parent)
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
        raise WriteError(
            f"cannot write {path}: {reason}; mend that, then run the same command again"
        ) from error
    return placed


def _link(partial: Path, path: Path) -> bool:
    try:
        path.hardlink_to(partial)
    except FileExistsError:
        return False
    return True
