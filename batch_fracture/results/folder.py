"""Where results live: a folder on disk or below a prefix of a bucket. Files are whole, and put once."""

from __future__ import annotations

import contextlib
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import pyarrow.fs as pafs

from batch_fracture import durable
from batch_fracture.errors import WriteError
from batch_fracture.store.failures import results_error


@dataclass(frozen=True, kw_only=True)
class Stored:
    """A file of the results."""

    name: str
    """Below the results location, with slashes."""
    size_bytes: int
    modified_at: float
    """Seconds since 1970."""


class Folder(Protocol):
    """Named files below one location."""

    uri: str

    def put_once(self, name: str, content: bytes) -> bool:
        """Put a file if nothing stands there; True when this very content stands there afterwards for us.

        Raises:
            WriteError: it cannot be written; nothing is left in its place.
        """
        ...

    def put(self, name: str, content: bytes) -> None:
        """Put a file in one step instead of whatever stands there.

        Raises:
            WriteError: it cannot be written; what stood there still stands.
        """
        ...

    def get(self, name: str) -> bytes | None:
        """The whole content; None when nothing stands there.

        Raises:
            ResultsError: it may not be read.
            StoreError: the store is not reached, or failed.
        """
        ...

    def files(self, below: str) -> list[Stored]:
        """All files below a folder, sorted by name; none when it is not there.

        Raises:
            ResultsError: it may not be listed.
            StoreError: the store is not reached, or failed.
        """
        ...

    def changed_at(self, below: str) -> float:
        """When a folder or a file in it was last changed, in seconds since 1970; 0 when it is not there.

        Raises:
            ResultsError: it may not be listed.
            StoreError: the store is not reached, or failed.
        """
        ...

    def children(self, below: str = "") -> set[str]:
        """Names of the files and folders directly in a folder; none when it is not there.

        Raises:
            ResultsError: it may not be listed.
            StoreError: the store is not reached, or failed.
        """
        ...

    def delete(self, name: str) -> None:
        """Remove a file, if it is there.

        Raises:
            WriteError: it cannot be removed.
        """
        ...

    def clear(self, below: str) -> None:
        """Remove a folder and all that is in it.

        Raises:
            WriteError: something cannot be removed.
        """
        ...

    def dataset_files(self, names: list[str]) -> tuple[list[str], pafs.FileSystem | None]:
        """Paths and file system under which `pyarrow.dataset` finds the files."""
        ...


class DiskFolder:
    """On a disk: every file and its name survive a power cut (see `durable`)."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.uri = str(path)

    def put_once(self, name: str, content: bytes) -> bool:
        """See `Folder`."""
        return durable.put_once(self.path / name, content) or self.get(name) == content

    def put(self, name: str, content: bytes) -> None:
        """See `Folder`."""
        durable.put(self.path / name, content)

    def get(self, name: str) -> bytes | None:
        """See `Folder`."""
        try:
            return (self.path / name).read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise results_error(str(self.path / name), error) from error

    def files(self, below: str) -> list[Stored]:
        """See `Folder`; a file that is being written (`durable`) does not count."""
        found = []
        for folder, _, names in os.walk(self.path / below, onerror=self._cannot_list):
            for path in (Path(folder, name) for name in names):
                if durable.is_partial(path):
                    continue
                with contextlib.suppress(FileNotFoundError):  # removed between the listing and this look
                    status, name = path.stat(), path.relative_to(self.path).as_posix()
                    found.append(Stored(name=name, size_bytes=status.st_size, modified_at=status.st_mtime))
        return sorted(found, key=lambda file: file.name)

    def _cannot_list(self, error: OSError) -> None:
        """What is not there, or was removed on the way, is empty."""
        if not isinstance(error, FileNotFoundError):
            raise results_error(str(error.filename), error) from error

    def changed_at(self, below: str) -> float:
        """See `Folder`."""
        folder = self.path / below
        made = folder.stat().st_mtime if folder.is_dir() else 0.0
        return max([made, *(file.modified_at for file in self.files(below))])

    def children(self, below: str = "") -> set[str]:
        """See `Folder`."""
        try:
            return {child.name for child in (self.path / below).iterdir()}
        except FileNotFoundError:
            return set()
        except OSError as error:
            raise results_error(str(self.path / below), error) from error

    def delete(self, name: str) -> None:
        """See `Folder`."""
        try:
            (self.path / name).unlink(missing_ok=True)
        except OSError as error:
            raise WriteError(f"cannot remove {self.path / name}: {error.strerror}") from error

    def clear(self, below: str) -> None:
        """See `Folder`."""
        shutil.rmtree(self.path / below, ignore_errors=True)
        if (self.path / below).exists():
            raise WriteError(f"cannot remove {self.path / below}; remove it by hand")

    def dataset_files(self, names: list[str]) -> tuple[list[str], pafs.FileSystem | None]:
        """See `Folder`."""
        return [str(self.path / name) for name in names], None
