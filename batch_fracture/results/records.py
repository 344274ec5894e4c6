"""The books of a run, and the record that it leaves."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from enum import StrEnum

import pyarrow as pa
import pyarrow.parquet as pq

from batch_fracture import __version__, durable, schema
from batch_fracture.errors import BooksError
from batch_fracture.results.table import Home
from batch_fracture.results.work import Manifest


class Outcome(StrEnum):
    """How a run ended."""

    COMPLETE = "complete"
    LIMITED = "limited"
    INTERRUPTED = "interrupted"
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
        "sources": list(purpose.sources),
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
    durable.put_once(
        home.runs / f"{manifest.run_id}.parquet", lambda path: pq.write_table(table, path, compression="zstd")
    )
