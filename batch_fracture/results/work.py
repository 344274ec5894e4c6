"""The folder of a run in progress, and its manifest there."""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass
from datetime import date
from typing import Any

import pyarrow as pa

from batch_fracture.errors import ResultsError
from batch_fracture.failpoints import step
from batch_fracture.results import parquet
from batch_fracture.results.folder import Stored
from batch_fracture.results.home import Home
from batch_fracture.results.manifest import Manifest, Purpose
from batch_fracture.store.failures import is_denied

_KEY = b"batch_fracture"
FORMAT = 2
REMOVED_AFTER_S = 3600.0


@dataclass(frozen=True, kw_only=True)
class WorkFolder:
    """`_work/RUN_ID`: removed once its run has been committed and recorded.

    What names images lies in `links/_work/RUN_ID` instead when the run writes pseudonyms.
    """

    home: Home
    run_id: str

    @property
    def path(self) -> str:
        """Name of the folder below the results."""
        return f"{Home.WORK}/{self.run_id}"

    @property
    def read_date(self) -> str:
        """The run's day, YYYY-MM-DD, which its name begins with."""
        return f"{self.run_id[:4]}-{self.run_id[4:6]}-{self.run_id[6:8]}"

    @property
    def restricted(self) -> str:
        """Name of the folder below `links/`."""
        return f"{Home.LINKS}/{Home.WORK}/{self.run_id}"

    def manifest_content(self) -> bytes | None:
        """The manifest's file, wherever it lies; None when there is none."""
        content = self.home.folder.get(f"{self.path}/{_MANIFEST}")
        if content is None and _MANIFEST in (_seen(self.home, self.restricted) or ()):
            content = self.home.folder.get(f"{self.restricted}/{_MANIFEST}")
        return content

    @property
    def has_manifest(self) -> bool:
        """Whether this is a run in progress, as far as this user may see: `links/` may be closed."""
        seen = _seen(self.home, self.restricted)
        return seen is None or _MANIFEST in seen or _MANIFEST in self.home.folder.children(self.path)

    def remove(self) -> None:
        """Remove the folder, its manifest first: one with a manifest has all that its run has finished."""
        with step("clean-up", self.run_id):
            for name in (self.path, self.restricted):
                self.home.folder.delete(f"{name}/{_MANIFEST}")
            for name in (self.path, self.restricted):
                self.home.folder.clear(f"{name}/")

    def copies(self) -> list[Stored]:
        """Files that stand in the table's and the links' folders under the run's name."""
        folders = (partition(name, self.read_date) for name in (Home.READINGS, Home.LINKS))
        files = [file for folder in folders for file in self.home.folder.files(f"{folder}/")]
        return [file for file in files if file.name.rpartition("/")[2].startswith(f"{self.run_id}-")]


def partition(table: str, read_date: str) -> str:
    """Folder of a day's files."""
    return f"{table}/read_date={read_date}"


_MANIFEST = "manifest.parquet"


def write_manifest(home: Home, manifest: Manifest) -> WorkFolder:
    """Put the manifest, once, into the run's work folder.

    Raises:
        WriteError: it cannot be written.
    """
    work = WorkFolder(home=home, run_id=manifest.run_id)
    header = {
        "format": FORMAT,
        "run_id": manifest.run_id,
        "purpose": asdict(manifest.purpose),
        "read_date": manifest.read_date.isoformat(),
        "base_version": manifest.base_version,
        "listed": manifest.listed,
        "unchanged": manifest.unchanged,
        "not_planned": manifest.not_planned,
        "started_at": manifest.started_at,
    }
    images = manifest.images.replace_schema_metadata({_KEY: json.dumps(header).encode()})
    folder = work.path
    if manifest.purpose.pseudonym_key_id:
        folder = work.restricted
        home.restrict_links()
    with step("manifest", manifest.run_id):
        home.folder.put_once(f"{folder}/{_MANIFEST}", parquet.encode(images))
    return work


def read_manifest(work: WorkFolder) -> Manifest | None:
    """The manifest of a work folder; None when it is gone, damaged, of another version, or not for this user.

    Raises:
        ResultsError, StoreError: the store could not be read.
    """
    try:
        images = parquet.decode(work.manifest_content() or b"")
        header: dict[str, Any] = json.loads((images.schema.metadata or {})[_KEY])
    except (OSError, pa.ArrowInvalid, KeyError, ValueError):
        return None
    if header.pop("format", None) != FORMAT:
        return None
    try:
        purpose: dict[str, Any] = header.pop("purpose")
        lists = ("sources", "include", "exclude", "shown_sources")
        purpose |= {name: tuple(purpose[name]) for name in lists}
        read_date = date.fromisoformat(header.pop("read_date"))
        images = images.replace_schema_metadata(None)
        return Manifest(**header, read_date=read_date, purpose=Purpose(**purpose), images=images)
    except (KeyError, TypeError, ValueError):
        return None


def unfinished(home: Home) -> list[WorkFolder]:
    """Work folders with a manifest: runs under way or cut off."""
    return [work for work in _work_folders(home) if work.has_manifest]


def remove_rests(home: Home) -> list[str]:
    """Remove old work folders without a manifest: their runs never began, or were done. Returns names."""
    rests = old_rests(home)
    for work in rests:
        work.remove()
    return [work.path for work in rests]


def old_rests(home: Home) -> list[WorkFolder]:
    """Work folders that `remove_rests` would remove; a younger one may belong to a run about to begin."""
    before = time.time() - REMOVED_AFTER_S
    works = [work for work in _work_folders(home) if not work.has_manifest]
    return [work for work in works if 0.0 < home.folder.changed_at(work.path) < before]


def _work_folders(home: Home) -> list[WorkFolder]:
    run_ids = home.folder.children(Home.WORK) | (_seen(home, f"{Home.LINKS}/{Home.WORK}") or set())
    return [WorkFolder(home=home, run_id=run_id) for run_id in sorted(run_ids)]


def _seen(home: Home, folder: str) -> set[str] | None:
    """What is in a folder below `links/`; None when this user may not look."""
    try:
        return home.folder.children(folder)
    except ResultsError as error:
        if isinstance(error.__cause__, Exception) and is_denied(error.__cause__):
            return None
        raise
