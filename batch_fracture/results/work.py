"""A run in progress: its folder, and the manifest that fixes what it is."""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from batch_fracture import durable
from batch_fracture.errors import ResultsError
from batch_fracture.results.table import Home, ReadingsTable

_KEY = b"batch_fracture"
FORMAT = 1
REMOVED_AFTER_S = 3600.0
"""A younger folder without a manifest may belong to a process that is about to write it."""


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

    @property
    def unit_sizes(self) -> dict[int, int]:
        """Number of images by unit."""
        counts = pc.value_counts(self.images["unit"])
        return {entry["values"].as_py(): entry["counts"].as_py() for entry in counts}


def run_id_of(images: pa.Table, purpose: Purpose, read_date: date, base_version: int) -> str:
    """Deterministic name: date and hash over manifest, purpose and base version."""
    digest = hashlib.sha256(f"{purpose.key}\0{read_date}\0{base_version}".encode())
    for reading_id, unit in zip(images["reading_id"].to_pylist(), images["unit"].to_pylist(), strict=True):
        digest.update(f"\0{reading_id}{unit}".encode())
    return f"{read_date:%Y%m%d}-{digest.hexdigest()[:16]}"


@dataclass(frozen=True, kw_only=True)
class WorkFolder:
    """`_work/RUN_ID`: removed once its run has been committed and recorded."""

    path: Path

    @property
    def units(self) -> Path:
        """Where finished units wait for the commit."""
        return self.path / "units"

    @property
    def manifest(self) -> Path:
        """The manifest's file."""
        return self.path / "manifest.parquet"

    def remove(self) -> None:
        """Remove the folder, its manifest first: one with a manifest has all that its run has finished."""
        self.manifest.unlink(missing_ok=True)
        shutil.rmtree(self.path, ignore_errors=True)
        if self.path.exists():
            raise ResultsError(f"work folder {self.path} cannot be removed; remove it by hand")


def write_manifest(home: Home, manifest: Manifest) -> WorkFolder:
    """Put the manifest, once, into the run's work folder."""
    folder = WorkFolder(path=home.work / manifest.run_id)
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
    durable.put_once(folder.manifest, lambda path: pq.write_table(images, path, compression="zstd"))
    return folder


def read_manifest(folder: WorkFolder) -> Manifest | None:
    """The manifest of a work folder; None when it is gone, damaged, or of another version of this program."""
    try:
        images = pq.read_table(folder.manifest)
        header: dict[str, Any] = json.loads((images.schema.metadata or {})[_KEY])
    except (OSError, pa.ArrowInvalid, KeyError, ValueError):
        return None
    if header.pop("format", None) != FORMAT:
        return None
    try:
        purpose: dict[str, Any] = header.pop("purpose")
        purpose |= {name: tuple(purpose[name]) for name in ("sources", "include", "exclude")}
        read_date = date.fromisoformat(header.pop("read_date"))
        images = images.replace_schema_metadata(None)
        return Manifest(**header, read_date=read_date, purpose=Purpose(**purpose), images=images)
    except (KeyError, TypeError, ValueError):
        return None


def unfinished(home: Home) -> list[WorkFolder]:
    """Work folders with a manifest. One without never began, or was done: it is removed when it is old."""
    folders = []
    for path in sorted(home.work.iterdir()) if home.work.is_dir() else []:
        folder = WorkFolder(path=path)
        if folder.manifest.is_file():
            folders.append(folder)
        elif path.is_dir() and time.time() - path.stat().st_mtime > REMOVED_AFTER_S:
            folder.remove()
    return folders


def abandon(home: Home, folder: WorkFolder, table: ReadingsTable | None) -> None:
    """Give up a run: its units, and files it copied into the table's folder without committing them.

    Args:
        home: the results.
        folder: the run's, whose lease the caller holds.
        table: opened after the lease was taken, or it might not show a commit.
    """
    run_id = folder.path.name
    if table is None or not table.holds_run(run_id):
        for file in home.readings.glob(f"read_date=*/{run_id}-*.parquet"):
            file.unlink()
    folder.remove()
