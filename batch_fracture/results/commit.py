"""From proven units to one Delta commit: copy, commit; on a conflict drop what others brought."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pyarrow as pa
import pyarrow.compute as pc

from batch_fracture.errors import CommitError
from batch_fracture.failpoints import step
from batch_fracture.results import parquet
from batch_fracture.results.copies import copy_units, remove_stale
from batch_fracture.results.home import Home
from batch_fracture.results.manifest import Manifest
from batch_fracture.results.proof import ProvenUnit
from batch_fracture.results.table import NewFile, ReadingsTable
from batch_fracture.results.units import COUNTED, Tally, tally
from batch_fracture.results.work import WorkFolder

MAX_CONFLICTS = 100
"""Each conflict means that another run committed, so this many in one commit is a fault, not bad luck."""
_NO_IDS = pa.array([], pa.string())


@dataclass(frozen=True, kw_only=True)
class Committed:
    """What a commit brought into the table."""

    version: int | None
    """Table version that the rows came in with; None when nothing was committed."""
    tally: Tally
    taken_by_other_runs: int


def commit_units(work: WorkFolder, manifest: Manifest, units: list[ProvenUnit]) -> Committed:
    """Bring proven units into the table in one commit; safe to call again after any interruption.

    Args:
        work: the run's work folder.
        manifest: the run.
        units: what `prove` gave.

    Raises:
        CommitError: the table does not take the commit.
    """
    home, finished = work.home, sum(len(unit.rows) for unit in units)
    for _ in range(MAX_CONFLICTS):
        table = _reopen(home)
        if table.holds_run(manifest.run_id):
            return _committed_before(table, work, finished)
        if table.gave_up(manifest.run_id):
            raise CommitError(f"run {manifest.run_id} was given up meanwhile; run again")
        taken = _ids_added_since(home, table, manifest)
        kept = [
            replace(u, rows=u.rows.filter(pc.invert(pc.is_in(u.rows["reading_id"], taken)))) for u in units
        ]
        done = Committed(
            version=table.version,
            tally=sum((tally(unit.rows) for unit in kept), Tally()),
            taken_by_other_runs=finished - sum(len(unit.rows) for unit in kept),
        )
        if not done.tally.rows:
            return done
        with step("copy", manifest.run_id):
            files = copy_units(work, manifest, [unit for unit in kept if len(unit.rows)])
        with step("commit", manifest.run_id):
            if _is_in(table, home, files, manifest):
                remove_stale(work, [file.name for file in files])
                return replace(done, version=table.version + 1)
    raise CommitError(f"run {manifest.run_id}: {MAX_CONFLICTS} commits of other runs came first; run again")


def _is_in(table: ReadingsTable, home: Home, files: list[NewFile], manifest: Manifest) -> bool:
    """Commit; when the outcome is unknown, look."""
    try:
        return table.commit(files, run_id=manifest.run_id, read_date=str(manifest.read_date))
    except CommitError:
        if _reopen(home).holds_run(manifest.run_id):
            return True
        raise


def _committed_before(table: ReadingsTable, work: WorkFolder, finished: int) -> Committed:
    """What an earlier process brought in before it died, as the table itself has it."""
    files = table.files_of(work.run_id)
    contents = (work.home.folder.get(name) or b"" for name in files)
    brought = sum((tally(parquet.decode(content, COUNTED)) for content in contents), Tally())
    remove_stale(work, files)
    return Committed(
        version=table.version_of(work.run_id),
        tally=brought,
        taken_by_other_runs=max(0, finished - brought.rows),
    )


def _reopen(home: Home) -> ReadingsTable:
    table = ReadingsTable.open(home)
    if table is None:
        raise CommitError(f"results {home.uri}: the table was removed while the run went on")
    return table


def _ids_added_since(home: Home, table: ReadingsTable, manifest: Manifest) -> pa.Array:
    """Reading ids that other runs have brought after the plan."""
    if table.version == manifest.base_version:
        return _NO_IDS
    before = ReadingsTable.open(home, version=manifest.base_version)
    known = set(before.files()) if before else set()
    added = [name for name in table.files() if name not in known]
    tables = [parquet.decode(home.folder.get(name) or b"", ["reading_id"]) for name in added]
    return pa.concat_tables(tables)["reading_id"].combine_chunks() if tables else _NO_IDS


def abandon(work: WorkFolder) -> bool:
    """Give up a run: its units, and files that it copied without committing them.

    The caller holds the lease. First an empty commit under the run's name closes the door to a process that
    still believes that the run is its own.

    Returns:
        Whether the run turned out to be committed; then nothing but its work folder was removed.

    Raises:
        CommitError: the door cannot be closed; nothing was removed.
    """
    table = ReadingsTable.open(work.home)
    committed = table is not None and table.holds_run(work.run_id)
    if table is not None and not committed and not table.gave_up(work.run_id):
        with step("abandon", work.run_id):
            table.give_up(work.run_id, read_date=work.read_date)
        return abandon(work)  # whoever came first, or whatever became of the answer: look again
    if not committed:
        for copy in work.copies():
            work.home.folder.delete(copy.name)
    work.remove()
    return committed
