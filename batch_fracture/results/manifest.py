"""The manifest: what a run was asked to do, and every image that it will read, cut into units."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from datetime import date
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa

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
