"""Where checkpoints are kept: a folder of this machine, or a bucket of S3."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pyarrow.fs

from batch_fracture.errors import ConfigError, WorkHeldError, WriteError

SNAPSHOT = "checkpoint_manager_snapshot.json"
"""What Ray Train writes beside the checkpoints of a run: their list, and the metrics of each."""


@dataclass(frozen=True, kw_only=True)
class Folder:
    """A folder of a file system that Ray Train and this process both write to."""

    uri: str
    """As the user knows it."""
    filesystem: pyarrow.fs.FileSystem
    path: str
    """On the file system."""

    @property
    def local(self) -> bool:
        """Whether it is on disk."""
        return isinstance(self.filesystem, pyarrow.fs.LocalFileSystem)

    def child(self, name: str) -> Folder:
        """The folder of that name inside."""
        return Folder(uri=f"{self.uri}/{name}", filesystem=self.filesystem, path=f"{self.path}/{name}")

    def children(self) -> list[str]:
        """Names of the folders inside, sorted."""
        selector = pyarrow.fs.FileSelector(self.path, allow_not_found=True)
        found = self.filesystem.get_file_info(selector)
        return sorted(entry.base_name for entry in found if entry.type == pyarrow.fs.FileType.Directory)

    def holds(self, name: str) -> bool:
        """Whether a file of that name is inside."""
        return bool(self.filesystem.get_file_info(f"{self.path}/{name}").is_file)

    def read(self, name: str) -> str:
        """The text of a file inside; OSError if there is none."""
        with self.filesystem.open_input_stream(f"{self.path}/{name}") as file:
            return str(file.read().decode())

    def write(self, name: str, text: str) -> None:
        """Write a file inside; readers see the old one or the new one whole.

        Raises:
            WriteError: the file system refuses.
        """
        draft = f"{self.path}/.{name}.draft"
        with writing_to(self):
            self.filesystem.create_dir(self.path)
            with self.filesystem.open_output_stream(draft) as file:
                file.write(text.encode())
            self.filesystem.move(draft, f"{self.path}/{name}")

    def remove(self, name: str) -> None:
        """Remove a file or folder inside."""
        path = f"{self.path}/{name}"
        if self.filesystem.get_file_info(path).is_file:
            self.filesystem.delete_file(path)
        else:
            self.filesystem.delete_dir(path)


def open_storage(uri: str) -> Folder:
    """The folder of a path, or of `s3://bucket/prefix`; credentials and endpoint come from the environment.

    Raises:
        ConfigError: neither of them.
    """
    scheme, separator, rest = uri.partition("://")
    if not separator:
        path = Path(uri).expanduser().absolute()
        return Folder(uri=str(path), filesystem=pyarrow.fs.LocalFileSystem(), path=str(path))
    if scheme != "s3" or not rest:
        raise ConfigError(f"--storage {uri}: name a folder, or a place in a bucket as s3://bucket/prefix")
    from batch_fracture.store import FROM_ENVIRONMENT  # noqa: PLC0415 - local runs need no client
    from batch_fracture.store.bucket import s3_client  # noqa: PLC0415 - as above

    place = s3_client(FROM_ENVIRONMENT).meta
    options = {"region": place.region_name}
    if ".amazonaws.com" not in place.endpoint_url:
        endpoint = urlsplit(place.endpoint_url)
        options |= {"endpoint_override": endpoint.netloc, "scheme": endpoint.scheme}
    filesystem = pyarrow.fs.S3FileSystem(**options)
    return Folder(uri=uri.rstrip("/"), filesystem=filesystem, path=rest.rstrip("/"))


@contextlib.contextmanager
def writing_to(folder: Folder) -> Iterator[None]:
    """Say in our own words that a folder takes no more."""
    try:
        yield
    except OSError as error:
        raise WriteError(refusal(folder, error)) from error


def refusal(folder: Folder, error: OSError) -> str:
    """What to do about a folder that takes no more."""
    reason = os.strerror(error.errno) if error.errno else str(error).partition("\n")[0]
    return (
        f"storage {folder.uri} cannot be written ({reason}); make room or name another --storage. What was "
        "written whole stands: the same command goes on from it"
    )


@contextlib.contextmanager
def held(folder: Folder) -> Iterator[None]:
    """Keep other processes of this machine from training into a folder on disk at the same time.

    Raises:
        WorkHeldError: another one does.
        WriteError: the folder cannot be written.
    """
    if not folder.local:
        folder.write(".probe", "")
        yield
        return
    with writing_to(folder):
        Path(folder.path).mkdir(parents=True, exist_ok=True)
        lock = Path(folder.path, ".lock").open("w")  # noqa: SIM115 - closed below
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise WorkHeldError(
                f"storage {folder.uri}: another process trains this recipe; wait for it"
            ) from error
        yield


def checkpoints_in(folder: Folder) -> list[str]:
    """Names of a run's checkpoints, the oldest first: Ray names them by time."""
    return [name for name in folder.children() if name.startswith("checkpoint_")]


def tidy(folder: Folder, state: str) -> str | None:
    """Put a run's folder in order after a kill: drop half checkpoints, and a list of them that was cut off.

    Args:
        folder: of one run; nobody else writes to it.
        state: the file that a checkpoint is worthless without.

    Returns:
        The newest checkpoint's name where Ray's own list is lost, else None.
    """
    names = checkpoints_in(folder)
    listed, newest = _listed(folder), None
    if listed is None:
        # Ray rewrites the list when a checkpoint is whole, and removes older ones after that.
        newest = max((name for name in names if folder.child(name).holds(state)), default=None)
        listed = {newest} if newest else set()
        folder.remove(SNAPSHOT)
    for name in set(names) - listed:
        folder.remove(name)
    return newest


def _listed(folder: Folder) -> set[str] | None:
    """Checkpoints on Ray's list, none before the first is whole; None where the list was cut off."""
    if not folder.holds(SNAPSHOT):
        return set()
    try:
        found = json.loads(folder.read(SNAPSHOT))["checkpoint_results"]
        return {result["checkpoint_dir_name"] for result in found}
    except (ValueError, KeyError, TypeError):
        return None
