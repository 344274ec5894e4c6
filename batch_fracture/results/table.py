"""The `readings` table: Delta is the authority on which files, and so which rows, exist."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.dataset as ds
from deltalake import CommitProperties, DeltaTable, PostCommitHookProperties, Schema, Transaction
from deltalake.exceptions import CommitFailedError, DeltaError, TableNotFoundError
from deltalake.transaction import AddAction

from batch_fracture import durable, schema
from batch_fracture.errors import CommitError, ResultsError
from batch_fracture.results import parquet
from batch_fracture.results.folder import DiskFolder
from batch_fracture.results.home import Home
from batch_fracture.store.failures import results_error, results_reason

COUNTER = "batch-fracture"
"""Application id of the shared transaction counter: any two commits conflict, so none goes unseen."""
FILES_AT_ONCE = 64
"""How many a scan opens ahead: in a bucket the wait for the first byte is most of a small file's time."""
COMMITTED, ABANDONED = 1, 2
"""Versions of a run's own transaction: its rows are in, or nobody may bring them in any more."""
KEPT_FOR = "interval 3650 days"
PARTITION_BY = [schema.PARTITION]


@dataclass(frozen=True, kw_only=True)
class NewFile:
    """A Parquet file that stands in the table's partition folder and is to become part of the table."""

    name: str
    """Below the results location."""
    size_bytes: int
    num_rows: int


class ReadingsTable:
    """A handle on one version of the table: transactions are checked on it, then committed on it."""

    def __init__(self, delta: DeltaTable, home: Home) -> None:
        self._delta = delta
        self.home = home

    @classmethod
    def open(cls, home: Home, *, version: int | None = None) -> ReadingsTable | None:
        """The newest version, or a given one; None while there is no table.

        Raises:
            ResultsError: there is a log, but it cannot be read, or a newer program has written it.
        """
        try:
            delta = DeltaTable(home.table_uri, version=version, storage_options=home.delta_options())
        except TableNotFoundError:
            return None
        except (DeltaError, OSError) as error:
            raise results_error(home.table_uri, error) from error
        table = cls(delta, home)
        if unknown := sorted(set(table.columns()) - set(schema.READINGS.names)):
            raise ResultsError(
                f"results {home.uri}: a newer batch-fracture wrote them (column {unknown[0]!r}); upgrade"
            )
        return table

    @classmethod
    def open_or_create(cls, home: Home) -> ReadingsTable:
        """The newest version; an empty table is made where none is, and columns that an older one lacks.

        Raises:
            ResultsError: the location cannot be written.
        """
        table = cls.open(home)
        try:
            if table is None:
                _create(home)
                table = cls.open(home)
                if table is None:
                    raise ResultsError(f"results {home.uri}: the table could not be made; run again")
                table._sync_log()
            while missing := [f for f in schema.READINGS if f.name not in table.columns()]:
                _add_columns(table._delta, missing)
                table._sync_log()
                table = cls.open(home) or table
        except (DeltaError, OSError) as error:
            raise results_error(f"{home.uri}: cannot be written", error) from error
        return table

    @property
    def delta(self) -> DeltaTable:
        """The log itself, for those who only look into it (`history.py`)."""
        return self._delta

    @property
    def version(self) -> int:
        """Version of this handle."""
        return int(self._delta.version())

    def files(self) -> list[str]:
        """Names, below the results location, of the Parquet files of this version."""
        return [f"{Home.READINGS}/{'/'.join(unquote(u).split('/')[-2:])}" for u in self._delta.file_uris()]

    def files_of(self, run_id: str) -> list[str]:
        """The files that a run brought in; the handle holds the run."""
        version = self.version_of(run_id)
        then = self if version == self.version else ReadingsTable.open(self.home, version=version)
        return [name for name in (then or self).files() if name.rpartition("/")[2].startswith(f"{run_id}-")]

    def rows(self) -> ds.Dataset:
        """The rows of this version, `schema.READINGS`, unread until asked for; missing columns are null."""
        paths, system = self.home.folder.dataset_files(self.files())
        day = ds.partitioning(pa.schema([schema.READINGS.field(schema.PARTITION)]), flavor="hive")
        return ds.dataset(
            paths, schema=schema.READINGS, format="parquet", partitioning=day, filesystem=system
        )

    def scan(self, columns: list[str]) -> pa.RecordBatchReader:
        """Some columns of all rows of this version, batch by batch; many files are opened at once."""
        return self.rows().scanner(columns=columns, fragment_readahead=FILES_AT_ONCE).to_reader()

    def newest_key_id(self) -> str | None:
        """The key of the pseudonyms in the newest file; None for real names, and when there is none."""
        name = max(self.files(), default=None)
        rows = None if name is None else parquet.decode(self.home.folder.get(name) or b"")
        if not rows or "pseudonym_key_id" not in rows.column_names:
            return None
        key_id: str | None = rows["pseudonym_key_id"][0].as_py()
        return key_id

    def holds_run(self, run_id: str) -> bool:
        """Whether that run was committed, as this handle sees it."""
        return self._delta.transaction_version(run_id) == COMMITTED

    def gave_up(self, run_id: str) -> bool:
        """Whether that run was abandoned, so that nobody can commit it any more."""
        return self._delta.transaction_version(run_id) == ABANDONED

    def version_of(self, run_id: str) -> int:
        """The version that a run's rows came in with; the handle holds the run."""
        entries = self._delta.history()
        return next((int(e["version"]) for e in entries if e.get("run_id") == run_id), self.version)

    def give_up(self, run_id: str, *, read_date: str) -> bool:
        """Close the door to a run, in a commit without files.

        Returns, raises: as `commit`.
        """
        return self._commit([], run_id, read_date, ABANDONED)

    def commit(self, files: list[NewFile], *, run_id: str, read_date: str) -> bool:
        """Add files in one commit with the run's transaction and the shared counter.

        Args:
            files: what to add.
            run_id: the run whose rows they are.
            read_date: value of the partition, YYYY-MM-DD.

        Returns:
            False when another commit came first, or may have; look at a new handle.

        Raises:
            CommitError: the log cannot be written, or it is not known whether it was; look at a new handle.
        """
        return self._commit(files, run_id, read_date, COMMITTED)

    def _commit(self, files: list[NewFile], run_id: str, read_date: str, fate: int) -> bool:
        counter = self._delta.transaction_version(COUNTER) or 0
        try:
            self._delta.create_write_transaction(
                [_add_action(file, read_date) for file in files],
                mode="append",
                schema=schema.READINGS,
                partition_by=PARTITION_BY,
                commit_properties=CommitProperties(
                    custom_metadata={"run_id": run_id},
                    max_commit_retries=0,
                    app_transactions=[Transaction(run_id, fate), Transaction(COUNTER, counter + 1)],
                ),
                post_commithook_properties=PostCommitHookProperties(cleanup_expired_logs=False),
            )
        except CommitFailedError:
            return False
        except (DeltaError, OSError) as error:
            reason = results_reason(error)
            raise CommitError(f"results {self.home.uri}: the log cannot be written: {reason}") from error
        self._sync_log()
        return True

    def columns(self) -> list[str]:
        """The columns of this version; an older program's table has fewer than `schema.READINGS`."""
        return [field.name for field in self._delta.schema().fields]

    def _sync_log(self) -> None:
        """delta-rs does not fsync: do it for the newest log entries, their folder and its parents."""
        if not isinstance(self.home.folder, DiskFolder):
            return
        table = self.home.folder.path / Home.READINGS
        log = table / "_delta_log"
        for entry in sorted(log.glob("*.json"))[-2:]:
            durable.sync_file(entry)
        for folder in (log, table, table.parent):
            durable.sync_folder(folder)


def _create(home: Home) -> None:
    """Make the empty table; another first run may do the same at the same time."""
    if isinstance(home.folder, DiskFolder):
        durable.make_folder(Path(home.table_uri))
    try:
        DeltaTable.create(
            home.table_uri,
            schema=schema.READINGS,
            mode="ignore",
            partition_by=PARTITION_BY,
            configuration={
                "delta.logRetentionDuration": KEPT_FOR,
                "delta.deletedFileRetentionDuration": KEPT_FOR,
            },
            storage_options=home.delta_options(),
            commit_properties=CommitProperties(max_commit_retries=0),
        )
    except CommitFailedError:
        return  # it came first; the caller looks again


def _add_columns(delta: DeltaTable, missing: list[pa.Field]) -> None:
    """Widen a table that an older program made; another run may do the same at the same time."""
    try:
        delta.alter.add_columns(Schema.from_arrow(pa.schema(missing)).fields)
    except CommitFailedError:
        return  # it came first; the caller looks again


def _add_action(file: NewFile, read_date: str) -> AddAction:
    return AddAction(
        path=file.name.removeprefix(f"{Home.READINGS}/"),
        size=file.size_bytes,
        partition_values={schema.PARTITION: read_date},
        modification_time=int(time.time() * 1000),
        data_change=True,
        stats=json.dumps({"numRecords": file.num_rows}),
    )
