"""From complete units to one Delta commit: prove, copy, commit; on a conflict drop what others brought.

Copies are named after their content, put once and never written over: two processes which both believe that
a run is theirs cannot spoil each other's. Copies that no commit took are removed only when none can any more.
"""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import pyarrow as pa
import pyarrow.compute as pc

from batch_fracture.errors import BooksError, CommitError
from batch_fracture.failpoints import step
from batch_fracture.results import parquet
from batch_fracture.results.home import Home
from batch_fracture.results.table import NewFile, ReadingsTable
from batch_fracture.results.units import COUNTED, Tally, check_unit, encode_unit, tally, unit_name
from batch_fracture.results.work import Manifest, WorkFolder, partition

MAX_CONFLICTS = 100
"""Each conflict means that another run committed, so this many in one commit is a fault, not bad luck."""
COPIES_AT_ONCE = 8
_NO_IDS = pa.array([], pa.string())


@dataclass(frozen=True, kw_only=True)
class Committed:
    """What a commit brought into the table."""

    version: int | None
    """Table version that the rows came in with; None when nothing was committed."""
    tally: Tally
    taken_by_other_runs: int


@dataclass(frozen=True, kw_only=True)
class ProvenUnit:
    """A unit whose file holds exactly its planned rows."""

    unit: int
    sha256: str
    """Of the file's content."""
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
    try:
        content = work.home.folder.get(unit_name(work.path, unit)) or b""
        rows = check_unit(content, unit, planned)
        if manifest.purpose.pseudonym_key_id:
            links = parquet.decode(work.home.folder.get(unit_name(work.restricted, unit)) or b"")
            if set(links["reading_id"].to_pylist()) != planned:
                raise BooksError(f"run {manifest.run_id}: unit {unit} has no whole links; run again")
    except (OSError, pa.ArrowInvalid) as error:
        raise BooksError(
            f"run {manifest.run_id}: unit {unit} cannot be read back ({type(error).__name__}); run again"
        ) from error
    digest = hashlib.sha256(content).hexdigest()
    return ProvenUnit(unit=unit, sha256=digest, rows=rows.select(["reading_id", *COUNTED]))


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
            whole = {unit.unit: len(unit.rows) for unit in units}
            files = _copy_units(work, manifest, [unit for unit in kept if len(unit.rows)], whole)
        with step("commit", manifest.run_id):
            if _is_in(table, home, files, manifest):
                _remove_stale(work, [file.name for file in files])
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
    _remove_stale(work, files)
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


def _copy_units(
    work: WorkFolder, manifest: Manifest, kept: list[ProvenUnit], whole: dict[int, int]
) -> list[NewFile]:
    """Copy what is kept of each unit into the table's folder; returns the copies.

    Args:
        work: the run's work folder.
        manifest: the run.
        kept: units with the rows that go in.
        whole: number of rows of each complete unit.
    """

    def copy(unit: ProvenUnit) -> NewFile:
        return _copy(work, manifest, unit, is_whole=len(unit.rows) == whole[unit.unit])

    with ThreadPoolExecutor(COPIES_AT_ONCE) as pool:
        return list(pool.map(copy, kept))


def _copy(work: WorkFolder, manifest: Manifest, unit: ProvenUnit, *, is_whole: bool) -> NewFile:
    """One unit, its links first; both are named after the readings' content."""
    folder, day = work.home.folder, str(manifest.read_date)
    content = folder.get(unit_name(work.path, unit.unit)) or b""
    if hashlib.sha256(content).hexdigest() != unit.sha256:
        raise BooksError(f"run {manifest.run_id}: unit {unit.unit} changed after it was proven; run again")
    ids = unit.rows["reading_id"].combine_chunks()
    if not is_whole:
        content = encode_unit(_only(content, ids))
    name = f"{manifest.run_id}-{unit.unit:06d}-{hashlib.sha256(content).hexdigest()[:8]}.parquet"
    if manifest.purpose.pseudonym_key_id:
        links = folder.get(unit_name(work.restricted, unit.unit)) or b""
        folder.put_once(
            f"{partition(Home.LINKS, day)}/{name}", links if is_whole else parquet.encode(_only(links, ids))
        )
    name = f"{partition(Home.READINGS, day)}/{name}"
    folder.put_once(name, content)
    return NewFile(name=name, size_bytes=len(content), num_rows=len(unit.rows))


def _only(content: bytes, ids: pa.Array) -> pa.Table:
    rows = parquet.decode(content)
    return rows.filter(pc.is_in(rows["reading_id"], ids))


def _remove_stale(work: WorkFolder, committed: list[str]) -> None:
    """Remove copies of earlier tries: the run is committed, so nobody can commit them any more."""
    names = {name.rpartition("/")[2] for name in committed}
    for copy in work.copies():
        if copy.name.rpartition("/")[2] not in names:
            work.home.folder.delete(copy.name)


def abandon(work: WorkFolder) -> bool:
    """Give up a run: its units, and files that it copied without committing them.

    The caller holds the lease. Before copies are removed, an empty commit under the run's name closes the
    door to a process that still believes that the run is its own.

    Returns:
        Whether the run turned out to be committed; then nothing but its work folder was removed.
    """
    copies = work.copies()
    table = ReadingsTable.open(work.home)
    committed = table is not None and table.holds_run(work.run_id)
    if copies and table is not None and not committed:
        day = f"{work.run_id[:4]}-{work.run_id[4:6]}-{work.run_id[6:8]}"
        if not table.commit([], run_id=work.run_id, read_date=day):
            return abandon(work)  # another commit came first: look again
        for copy in copies:
            work.home.folder.delete(copy.name)
    work.remove()
    return committed
