"""The books of a run, and the record that it leaves."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from enum import StrEnum

import pyarrow as pa

from batch_fracture import __version__, schema
from batch_fracture.errors import BooksError, ResultsError
from batch_fracture.failpoints import step
from batch_fracture.results import parquet
from batch_fracture.results.home import Home
from batch_fracture.results.manifest import Manifest

RECORDS_AT_ONCE = 16


class Outcome(StrEnum):
    """How a run ended."""

    COMPLETE = "complete"
    LIMITED = "limited"
    INTERRUPTED = "interrupted"
    DEADLINE = "deadline"
    STORE_OUTAGE = "store_outage"


@dataclass(frozen=True, kw_only=True)
class Books:
    """listed = unchanged + read + skipped + failed + taken by other runs + not reached."""

    listed: int
    unchanged: int = 0
    read: int = 0
    skipped: int = 0
    failed: int = 0
    taken_by_other_runs: int = 0
    """Rows that another run committed after this one's plan; ours were dropped."""
    not_reached: int = 0
    positive: int = 0

    def check(self) -> None:
        """Prove the balance.

        Raises:
            BooksError: it does not hold.
        """
        accounted = (
            self.unchanged
            + self.read
            + self.skipped
            + self.failed
            + self.taken_by_other_runs
            + self.not_reached
        )
        if accounted != self.listed:
            raise BooksError(
                f"the books do not balance: {self.listed} listed, {accounted} accounted for ({self})"
            )


@dataclass(frozen=True, kw_only=True)
class RunRecord:
    """What one ended run did."""

    manifest: Manifest
    outcome: Outcome
    books: Books
    engine: str | None
    table_version: int | None
    """Version that the run's rows came in with; the plan's when it added none."""


def write_record(home: Home, record: RunRecord) -> None:
    """Put the record under the run's name, once."""
    manifest, purpose = record.manifest, record.manifest.purpose
    row = {
        **asdict(record.books),
        "run_id": manifest.run_id,
        "outcome": record.outcome.value,
        "sources": list(purpose.shown_sources),
        "model": purpose.model,
        "model_digest": purpose.model_digest,
        "engine": record.engine,
        "operating_point": purpose.operating_point,
        "threshold": purpose.threshold,
        "settings_digest": purpose.settings_digest,
        "code_version": __version__,
        "read_date": manifest.read_date,
        "started_at": manifest.started_at,
        "ended_at": datetime.now(UTC),
        "table_version": record.table_version,
    }
    table = pa.Table.from_pylist([row], schema=schema.RUNS)
    with step("record", manifest.run_id):
        home.folder.put_once(f"{Home.RUNS}/{manifest.run_id}.parquet", parquet.encode(table))


def read_records(home: Home) -> pa.Table:
    """All run records, `schema.RUNS`, oldest first; columns that an older program did not write are null.

    Raises:
        ResultsError: one of them cannot be read.
    """
    names = [file.name for file in home.folder.files(f"{Home.RUNS}/")]
    with ThreadPoolExecutor(RECORDS_AT_ONCE) as pool:
        tables = list(pool.map(lambda name: _read(home, name), names))
    return pa.concat_tables([schema.RUNS.empty_table(), *tables]).sort_by("ended_at")


def read_record(home: Home, run_id: str) -> pa.Table:
    """The record of one run, `schema.RUNS`; no row when there is none.

    Raises:
        ResultsError: it cannot be read.
    """
    name = f"{Home.RUNS}/{run_id}.parquet"
    is_there = f"{run_id}.parquet" in home.folder.children(Home.RUNS)
    return _read(home, name) if is_there else schema.RUNS.empty_table()


def _read(home: Home, name: str) -> pa.Table:
    try:
        return _widened(parquet.decode(home.folder.get(name) or b""))
    except (OSError, pa.ArrowInvalid) as error:
        raise ResultsError(f"run record {home.uri}/{name} is damaged; remove it") from error


def _widened(rows: pa.Table) -> pa.Table:
    columns = [
        rows[field.name].cast(field.type)
        if field.name in rows.column_names
        else pa.nulls(len(rows), field.type)
        for field in schema.RUNS
    ]
    return pa.table(columns, schema=schema.RUNS)
