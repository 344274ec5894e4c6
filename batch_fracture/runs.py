"""The runs of a results location, for people: what was done, what is under way, what the dead left."""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

import pyarrow as pa

from batch_fracture import durable
from batch_fracture.errors import ConfigError
from batch_fracture.lease import Lease, current_owner
from batch_fracture.results.commit import abandon
from batch_fracture.results.folder import DiskFolder
from batch_fracture.results.home import Home
from batch_fracture.results.records import read_record, read_records
from batch_fracture.results.table import ReadingsTable
from batch_fracture.results.work import (
    REMOVED_AFTER_S,
    WorkFolder,
    old_rests,
    read_manifest,
    remove_rests,
    unfinished,
)

_COPY = re.compile(r"(?:readings|links)/read_date=[^/]+/(\d{8}-[0-9a-f]{16})-\d{6}-[0-9a-f]{8}\.parquet")
_LISTED = ("run_id", "state", "started_at", "ended_at", "listed", "read", "skipped", "failed", "not_reached")


@dataclass(frozen=True, kw_only=True)
class Rest:
    """Something that no run needs any more."""

    name: str
    """File or folder below the results location."""
    why: str


def list_runs(home: Home) -> pa.Table:
    """Ended runs, oldest first, then those under way or cut off.

    Returns:
        run_id, state, started_at, ended_at and counts; the state is the outcome of an ended run, else
        `running (process ... on ...)` or `cut off`.
    """
    ended = read_records(home)
    rows = [{**row, "state": row["outcome"]} for row in ended.to_pylist()]
    rows += [_under_way(work) for work in unfinished(home)]
    return pa.table({name: [row.get(name) for row in rows] for name in _LISTED})


def show_run(home: Home, run_id: str) -> dict[str, Any]:
    """All that is known of one run.

    Raises:
        ConfigError: there is no such run.
    """
    for work in unfinished(home):
        if work.run_id == run_id:
            return _under_way(work)
    for row in read_record(home, run_id).to_pylist():
        return {"run_id": run_id, "state": row["outcome"], **row}
    raise _unknown(home, run_id)


def abandon_run(home: Home, run_id: str) -> bool:
    """Give up a run that was cut off: what it read and did not commit is removed.

    Returns:
        Whether it turned out to be committed; then its rows stay, and only its work folder was removed.

    Raises:
        ConfigError: no such run is under way.
        WorkHeldError: somebody is doing it.
    """
    for work in unfinished(home):
        if work.run_id == run_id:
            with Lease(work):
                return abandon(work)
    raise _unknown(home, run_id)


def clean(home: Home, *, dry_run: bool = False) -> list[Rest]:
    """Remove what runs that died left behind. Runs under way and committed files are never touched.

    Args:
        home: the results.
        dry_run: only say what would be removed.

    Returns:
        What was (or would be) removed.
    """
    rests = [Rest(name=work.path, why="a work folder without a manifest") for work in old_rests(home)]
    if not dry_run:
        remove_rests(home)
    rests += _orphans(home, {work.run_id for work in unfinished(home)}, dry_run=dry_run)
    for partial in _old_partials(home):
        rests.append(Rest(name=str(partial), why="half written by a process that died"))
        if not dry_run:
            home.folder.delete(str(partial))
    return rests


def _under_way(work: WorkFolder) -> dict[str, Any]:
    owner, manifest = current_owner(work), read_manifest(work)
    state: dict[str, Any] = {"run_id": work.run_id, "state": f"running ({owner})" if owner else "cut off"}
    if manifest is None:
        return {**state, "message": "its manifest cannot be read by this version, or by this user"}
    finished = len(work.home.folder.files(f"{work.path}/units/"))
    return {
        **state,
        "started_at": pa.scalar(manifest.started_at, pa.timestamp("us", "UTC")).as_py(),
        "sources": list(manifest.purpose.shown_sources),
        "model": manifest.purpose.model,
        "listed": manifest.listed,
        "unchanged": manifest.unchanged,
        "to_read": len(manifest.images),
        "units": manifest.num_units,
        "finished_units": finished,
    }


def _orphans(home: Home, alive: set[str], *, dry_run: bool) -> Iterator[Rest]:
    """Copies in the tables' folders that no version of the table has and no run can commit any more."""
    table = ReadingsTable.open(home)
    known = {PurePosixPath(name).name for name in table.files()} if table else set()
    files = [file for folder in (Home.READINGS, Home.LINKS) for file in home.folder.files(f"{folder}/")]
    by_run: dict[str, list[str]] = {}
    for file in files:
        found = _COPY.fullmatch(file.name)
        if found and PurePosixPath(file.name).name not in known and found[1] not in alive:
            by_run.setdefault(found[1], []).append(file.name)
    for run_id, names in by_run.items():
        yield from _orphans_of(WorkFolder(home=home, run_id=run_id), names, dry_run=dry_run)


def _orphans_of(work: WorkFolder, names: list[str], *, dry_run: bool) -> list[Rest]:
    lease = contextlib.nullcontext() if dry_run else Lease(work)  # nobody goes on with this run meanwhile
    with lease:
        table = ReadingsTable.open(work.home)
        committed = table is not None and table.holds_run(work.run_id)
        files = table.files_of(work.run_id) if table and committed else []
        ours = {PurePosixPath(name).name for name in files}
        stale = [name for name in names if PurePosixPath(name).name not in ours]
        why = "a copy that its run replaced" if committed else "a copy of a run that was never committed"
        if not dry_run:
            if not committed:
                abandon(work)
            for name in stale:
                work.home.folder.delete(name)
    return [Rest(name=name, why=why) for name in stale]


def _old_partials(home: Home) -> Iterator[PurePosixPath]:
    if not isinstance(home.folder, DiskFolder):
        return
    for path in sorted(home.folder.path.rglob(".*.partial")):
        if durable.is_partial(path) and time.time() - path.stat().st_mtime > REMOVED_AFTER_S:
            yield PurePosixPath(path.relative_to(home.folder.path))


def _unknown(home: Home, run_id: str) -> ConfigError:
    return ConfigError(f"no run {run_id!r} in {home.uri}; see: batch-fracture runs --results {home.uri} list")
