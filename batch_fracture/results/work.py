"""A run in progress: its folder, and the manifest that fixes what it is."""

from __future__ import annotations

import hashlib
import json
import time
from dataclasses import asdict, dataclass
from datetime import date
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa

from batch_fracture.errors import ResultsError
from batch_fracture.failpoints import step
from batch_fracture.results import parquet
from batch_fracture.results.folder import Stored
from batch_fracture.results.home import Home

_KEY = b"batch_fracture"
FORMAT = 2
REMOVED_AFTER_S = 3600.0
HASHED_ROWS = 65_536


@dataclass(frozen=True, kw_only=True)
class Purpose:
    """What a run was asked to do. An unfinished run with an equal purpose is resumed."""

    sources: tuple[str, ...]
    s3_endpoint: str | None
    include: tuple[str, ...]
    exclude: tuple[str, ...]
    model: str
    model_digest: str
    engine: str
    """As asked for; `auto` when the run is to choose."""
    operating_point: str
    threshold: float
    settings: dict[str, Any]
    """`ReadingSettings` as a dictionary."""
    settings_digest: str
    order: str
    limit: int | None
    reread: bool
    retry_failed: bool
    pseudonym_key_id: str | None
    """Names the key whose pseudonyms stand for names and UIDs; None leaves them as they are."""
    shown_sources: tuple[str, ...]
    """`sources` as the run record may name them."""

    @property
    def key(self) -> str:
        """Canonical text; equal for equal purposes."""
        return json.dumps(asdict(self), sort_keys=True)


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """The immutable plan of a run: every image it will read, cut into units, and where the plan stood."""

    run_id: str
    purpose: Purpose
    images: pa.Table
    """`schema.MANIFEST`."""
    read_date: date
    base_version: int
    """Table version that the plan was made against."""
    listed: int
    unchanged: int
    not_planned: int
    """Images left for later because of `--limit`."""
    started_at: int
    """Microseconds since 1970 UTC."""

    @cached_property
    def _starts(self) -> list[int]:
        """Row at which each unit begins, and the end; units stand in order."""
        units = self.images["unit"].to_numpy()
        starts: list[int] = np.searchsorted(units, np.arange(units[-1] + 2) if len(units) else [0]).tolist()
        return starts

    @property
    def num_units(self) -> int:
        """Units are numbered from 0."""
        return len(self._starts) - 1

    def unit_size(self, unit: int) -> int:
        """Number of images in a unit."""
        return self._starts[unit + 1] - self._starts[unit]

    def unit_ids(self, unit: int) -> set[str]:
        """Reading ids of a unit."""
        ids = self.images["reading_id"].slice(self._starts[unit], self.unit_size(unit))
        return set(ids.to_pylist())


def run_id_of(images: pa.Table, purpose: Purpose, read_date: date, base_version: int) -> str:
    """Deterministic name: date and hash over manifest, purpose and base version."""
    digest = hashlib.sha256(f"{purpose.key}\0{read_date}\0{base_version}".encode())
    for batch in images.select(["reading_id", "unit"]).to_batches(max_chunksize=HASHED_ROWS):
        rows = zip(*(column.to_pylist() for column in batch.columns), strict=True)
        digest.update("".join(f"\0{reading_id}{unit}" for reading_id, unit in rows).encode())
    return f"{read_date:%Y%m%d}-{digest.hexdigest()[:16]}"


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
    def restricted(self) -> str:
        """Name of the folder below `links/`."""
        return f"{Home.LINKS}/{Home.WORK}/{self.run_id}"

    def manifest_content(self) -> bytes | None:
        """The manifest's file, wherever it lies; None when there is none."""
        names = (f"{folder}/{_MANIFEST}" for folder in (self.path, self.restricted))
        return next((content for name in names if (content := self.home.folder.get(name))), None)

    @property
    def has_manifest(self) -> bool:
        """Whether this is a run in progress."""
        return any(_MANIFEST in self.home.folder.children(name) for name in (self.path, self.restricted))

    def remove(self) -> None:
        """Remove the folder, its manifest first: one with a manifest has all that its run has finished."""
        with step("clean-up", self.run_id):
            for name in (self.path, self.restricted):
                self.home.folder.delete(f"{name}/{_MANIFEST}")
            for name in (self.path, self.restricted):
                self.home.folder.clear(f"{name}/")

    def copies(self) -> list[Stored]:
        """Files that stand in the table's and the links' folders under the run's name."""
        day = f"{self.run_id[:4]}-{self.run_id[4:6]}-{self.run_id[6:8]}"
        folders = (partition(name, day) for name in (Home.READINGS, Home.LINKS))
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
    """The manifest of a work folder; None when it is gone, damaged, or of another version of this program."""
    try:
        images = parquet.decode(work.manifest_content() or b"")
        header: dict[str, Any] = json.loads((images.schema.metadata or {})[_KEY])
    except (OSError, ResultsError, pa.ArrowInvalid, KeyError, ValueError):
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
    run_ids = home.folder.children(Home.WORK) | home.folder.children(f"{Home.LINKS}/{Home.WORK}")
    return [WorkFolder(home=home, run_id=run_id) for run_id in sorted(run_ids)]
