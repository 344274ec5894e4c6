"""From proven units to files in the table's folder, and away with those that no commit took.

Files are named after their content, put once and never written over: two processes which both believe that a
run is theirs cannot spoil each other's.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pyarrow as pa
import pyarrow.compute as pc

from batch_fracture.errors import BooksError
from batch_fracture.results import parquet
from batch_fracture.results.home import Home
from batch_fracture.results.manifest import Manifest
from batch_fracture.results.proof import ProvenUnit, sha256_of
from batch_fracture.results.table import NewFile
from batch_fracture.results.units import encode_unit, unit_name
from batch_fracture.results.work import WorkFolder, partition

COPIES_AT_ONCE = 8
FILE_ROWS = 20_000
"""Small units share a file up to so many rows: every later plan opens every file that was ever written."""


def copy_units(work: WorkFolder, manifest: Manifest, kept: list[ProvenUnit]) -> list[NewFile]:
    """Copy what is kept of the units into the table's folder, small ones together; returns the new files."""
    groups: list[list[ProvenUnit]] = []
    rows = FILE_ROWS
    for unit in kept:
        if rows + len(unit.rows) > FILE_ROWS:
            groups.append([])
            rows = 0
        groups[-1].append(unit)
        rows += len(unit.rows)
    with ThreadPoolExecutor(COPIES_AT_ONCE) as pool:
        return list(pool.map(lambda group: _copy(work, manifest, group), groups))


def _copy(work: WorkFolder, manifest: Manifest, group: list[ProvenUnit]) -> NewFile:
    """One file of whole units or parts of them, its links first; both are named after the readings."""
    day = str(manifest.read_date)
    rows = pa.concat_tables([_kept(work, work.path, unit, unit.sha256) for unit in group])
    content = encode_unit(rows)
    name = f"{manifest.run_id}-{group[0].unit:06d}-{sha256_of(content)[:8]}.parquet"
    if manifest.purpose.pseudonym_key_id:
        links = [_kept(work, work.restricted, unit, str(unit.links_sha256)) for unit in group]
        _put(work, f"{partition(Home.LINKS, day)}/{name}", parquet.encode(pa.concat_tables(links)))
    name = f"{partition(Home.READINGS, day)}/{name}"
    _put(work, name, content)
    return NewFile(name=name, size_bytes=len(content), num_rows=len(rows))


def _kept(work: WorkFolder, folder: str, unit: ProvenUnit, sha256: str) -> pa.Table:
    """The rows of a unit's file that go into the table; the file is still the one that was proven."""
    content = work.home.folder.get(unit_name(folder, unit.unit)) or b""
    if sha256_of(content) != sha256:
        raise BooksError(f"run {work.run_id}: unit {unit.unit} changed after it was proven; run again")
    rows = parquet.decode(content)
    kept = pc.is_in(rows["reading_id"], unit.rows["reading_id"].combine_chunks())
    return rows.filter(kept).replace_schema_metadata(None)


def _put(work: WorkFolder, name: str, content: bytes) -> None:
    """Put a copy, or find the same one there: its name is its content's."""
    if not work.home.folder.put_once(name, content):
        raise BooksError(f"run {work.run_id}: another file stands at {name}; remove it and run again")


def remove_stale(work: WorkFolder, committed: list[str]) -> None:
    """Remove copies of earlier tries: the run is committed, so nobody can commit them any more."""
    names = {name.rpartition("/")[2] for name in committed}
    for copy in work.copies():
        if copy.name.rpartition("/")[2] not in names:
            work.home.folder.delete(copy.name)
