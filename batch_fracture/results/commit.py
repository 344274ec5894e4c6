"""From complete units to one Delta commit: prove, copy, commit; on a conflict drop what others brought."""

from __future__ import annotations

import filecmp
import shutil
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from batch_fracture import durable, schema
from batch_fracture.errors import BooksError, CommitError
from batch_fracture.results.table import Home, ReadingsTable
from batch_fracture.results.units import COUNTED, Tally, check_unit, ids_by_unit, tally, unit_path, write_unit
from batch_fracture.results.work import Manifest, WorkFolder

MAX_CONFLICTS = 100
"""Each conflict means that another run committed, so this many in one commit is a fault, not bad luck."""


@dataclass(frozen=True, kw_only=True)
class Committed:
    """What a commit brought into the table."""

    version: int | None
    """Table version that the rows came in with; None when nothing was committed."""
    tally: Tally
    taken_by_other_runs: int


def prove(folder: WorkFolder, manifest: Manifest, units: list[int]) -> dict[int, pa.Table]:
    """Check that the given units hold exactly one row per manifest entry, and that no other unit file exists.

    Args:
        folder: the run's work folder.
        manifest: what was planned.
        units: complete units that are to be committed.

    Returns:
        reading_id and the counted columns of every row, by unit.

    Raises:
        BooksError: otherwise; nothing was committed.
    """
    files = {path.name for path in folder.units.glob("*.parquet")}
    if extra := sorted(files - {unit_path(folder, unit).name for unit in units}):
        raise BooksError(f"run {manifest.run_id}: unit files {extra} belong to no complete unit")
    planned_ids, sizes = ids_by_unit(manifest.images), manifest.unit_sizes
    ids = {unit: planned_ids[unit] for unit in units}
    if any(len(ids[unit]) != sizes[unit] for unit in units):
        raise BooksError(f"run {manifest.run_id}: the manifest names a reading twice")
    proven = {}
    for unit, planned in ids.items():
        try:
            rows = check_unit(unit_path(folder, unit), planned)
        except (OSError, pa.ArrowInvalid) as error:
            raise BooksError(
                f"run {manifest.run_id}: unit {unit} cannot be read back ({type(error).__name__}); run again"
            ) from error
        proven[unit] = rows.select(["reading_id", *COUNTED])
    return proven


def commit_units(home: Home, folder: WorkFolder, manifest: Manifest, units: dict[int, pa.Table]) -> Committed:
    """Bring proven units into the table in one commit; safe to call again after any interruption.

    Args:
        home: the results.
        folder: the run's work folder.
        manifest: the run.
        units: what `prove` gave.

    Raises:
        CommitError: the table does not take the commit.
    """
    for _ in range(MAX_CONFLICTS):
        table = _reopen(home)
        if table.holds_run(manifest.run_id):
            return _committed_before(table, manifest, sum(map(len, units.values())))
        taken = _ids_added_since(home, table, manifest.base_version, manifest.run_id)
        kept = {
            unit: rows.filter(pc.invert(pc.is_in(rows["reading_id"], taken))) for unit, rows in units.items()
        }
        done = Committed(
            version=table.version,
            tally=sum((tally(rows) for rows in kept.values()), Tally()),
            taken_by_other_runs=sum(len(units[unit]) - len(rows) for unit, rows in kept.items()),
        )
        if not done.tally.rows:
            return done
        files = _copy_units(
            table, folder, manifest, {unit: (units[unit], rows) for unit, rows in kept.items()}
        )
        if table.commit(files, run_id=manifest.run_id, read_date=str(manifest.read_date)):
            return replace(done, version=table.version + 1)
    raise CommitError(f"run {manifest.run_id}: {MAX_CONFLICTS} commits of other runs came first; run again")


def _committed_before(table: ReadingsTable, manifest: Manifest, finished: int) -> Committed:
    """What an earlier process brought in before it died, as the table itself has it."""
    files = [file for file in table.files() if Path(file).name.startswith(f"{manifest.run_id}-")]
    brought = sum((tally(pq.ParquetFile(file).read(list(COUNTED))) for file in files), Tally())
    return Committed(
        version=table.version_of(manifest.run_id),
        tally=brought,
        taken_by_other_runs=max(0, finished - brought.rows),
    )


def _reopen(home: Home) -> ReadingsTable:
    table = ReadingsTable.open(home)
    if table is None:
        raise CommitError(f"results {home.path}: the table was removed while the run went on")
    return table


def _ids_added_since(home: Home, table: ReadingsTable, base_version: int, run_id: str) -> pa.Array:
    """Reading ids that other runs have brought after `base_version`."""
    if table.version == base_version:
        return pa.array([], pa.string())
    before = ReadingsTable.open(home, version=base_version)
    known = set(before.files()) if before else set()
    added = [file for file in table.files() if file not in known and not Path(file).name.startswith(run_id)]
    ids = [pq.ParquetFile(file).read(["reading_id"])["reading_id"].combine_chunks() for file in added]
    return pa.concat_arrays(ids) if ids else pa.array([], pa.string())


def _copy_units(
    table: ReadingsTable, folder: WorkFolder, manifest: Manifest, units: dict[int, tuple[pa.Table, pa.Table]]
) -> list[Path]:
    """Copy what is kept of (all, kept) rows of each unit into the table's folder; returns the copies.

    A whole unit goes under its deterministic name; one that lost rows gets a name of its own: nothing is ever
    rewritten. Copies of an earlier try go away: the handle has just shown that the run is not committed.
    """
    partition = table.path / f"{schema.PARTITION}={manifest.read_date}"
    copies = []
    for unit, (rows, kept) in units.items():
        source, name = unit_path(folder, unit), f"{manifest.run_id}-{unit:06d}"
        if len(kept) == len(rows):
            copies.append(partition / f"{name}.parquet")
            copy = partial(shutil.copyfile, source)
            if not durable.put_once(copies[-1], copy) and not filecmp.cmp(source, copies[-1], shallow=False):
                durable.put(copies[-1], copy)  # of a unit that was read again since; nobody was promised it
        elif len(kept):
            copies.append(partition / f"{name}-{table.version}.parquet")
            whole = pq.ParquetFile(source).read()
            wanted = pc.is_in(whole["reading_id"], kept["reading_id"].combine_chunks())
            write_unit(copies[-1], whole.filter(wanted))
    for stale in set(partition.glob(f"{manifest.run_id}-*.parquet")) - set(copies):
        stale.unlink()
    return copies
