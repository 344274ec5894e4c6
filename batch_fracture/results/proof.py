"""The proof that a run's units hold exactly what was planned: without it nothing is committed."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import pyarrow as pa

from batch_fracture.errors import BooksError
from batch_fracture.failpoints import step
from batch_fracture.results.manifest import Manifest
from batch_fracture.results.units import COUNTED, check_links, check_unit, unit_name
from batch_fracture.results.work import WorkFolder


@dataclass(frozen=True, kw_only=True)
class ProvenUnit:
    """A unit whose file holds exactly its planned rows."""

    unit: int
    sha256: str
    """Of the file's content."""
    links_sha256: str | None
    """Of the file below `links/`; None without pseudonyms."""
    rows: pa.Table
    """reading_id and the counted columns."""


def prove(work: WorkFolder, manifest: Manifest, units: list[int]) -> list[ProvenUnit]:
    """Check that the given units hold exactly one row per manifest entry, and that no other unit file exists.

    Args:
        work: the run's work folder.
        manifest: what was planned.
        units: complete units that are to be committed.

    Raises:
        BooksError: otherwise; nothing was committed.
    """
    with step("verify", manifest.run_id):
        files = {file.name for file in work.home.folder.files(f"{work.path}/units/")}
        if extra := sorted(files - {unit_name(work.path, unit) for unit in units}):
            raise BooksError(f"run {manifest.run_id}: unit files {extra} belong to no complete unit")
        return [_prove_unit(work, manifest, unit) for unit in units]


def _prove_unit(work: WorkFolder, manifest: Manifest, unit: int) -> ProvenUnit:
    planned = manifest.unit_ids(unit)
    if len(planned) != manifest.unit_size(unit):
        raise BooksError(f"run {manifest.run_id}: the manifest names a reading twice")
    folder, links = work.home.folder, None
    try:
        content = folder.get(unit_name(work.path, unit)) or b""
        rows = check_unit(content, unit, planned)
        if manifest.purpose.pseudonym_key_id:
            links = folder.get(unit_name(work.restricted, unit)) or b""
            check_links(links, unit, planned)
    except (OSError, pa.ArrowInvalid) as error:
        raise BooksError(
            f"run {manifest.run_id}: unit {unit} cannot be read back ({type(error).__name__}); run again"
        ) from error
    return ProvenUnit(
        unit=unit,
        sha256=sha256_of(content),
        links_sha256=None if links is None else sha256_of(links),
        rows=rows.select(["reading_id", *COUNTED]),
    )


def sha256_of(content: bytes) -> str:
    """Hex digest of a file."""
    return hashlib.sha256(content).hexdigest()
