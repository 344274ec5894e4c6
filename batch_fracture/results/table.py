"""The `readings` table: Delta is the authority on which files, and so which rows, exist."""

from __future__ import annotations

import json
import os
import re
import time
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
from deltalake import CommitProperties, DeltaTable, PostCommitHookProperties, Transaction
from deltalake.exceptions import CommitFailedError, DeltaError, TableNotFoundError
from deltalake.transaction import AddAction

from batch_fracture import durable, schema
from batch_fracture.errors import CommitError, ResultsError

COUNTER = "batch-fracture"
"""Application id of the shared transaction counter: any two commits conflict, so none goes unseen."""
KEPT_FOR = "interval 3650 days"
PARTITION_BY = [schema.PARTITION]
_UNFIT = re.compile(r"[\x00-\x1f\x7f\\]|%[0-9A-Fa-f]{2}|/read_date=")
"""What Delta's log decodes, what it takes for a separator, and what readers take for a partition."""
_OURS = frozenset({"readings", "runs", "_work"})


@dataclass(frozen=True, kw_only=True)
class Home:
    """A results location that was checked: it is one of ours, or still empty."""

    path: Path

    @property
    def readings(self) -> Path:
        """The Delta table."""
        return self.path / "readings"

    @property
    def runs(self) -> Path:
        """Run records."""
        return self.path / "runs"

    @property
    def work(self) -> Path:
        """Work folders of runs in progress."""
        return self.path / "_work"


def find_home(uri: str, *, create: bool = False) -> Home:
    """Check a results location.

    Args:
        uri: a local folder.
        create: an empty or missing folder is fine, because a run will fill it.

    Raises:
        ResultsError: the location is no results folder, or something else stands there.
    """
    if "://" in uri:
        raise ResultsError(f"results {uri!r}: only local folders are supported; name a path")
    path = Path(uri).absolute()
    if _UNFIT.search(str(path)):
        raise ResultsError(
            f"results {uri!r}: a path with a control character, a backslash, %XX or a read_date= folder "
            "would be read as another one; name a plainer path"
        )
    try:
        names = {child.name for child in path.iterdir()} if path.exists() else set()
    except OSError as error:
        raise ResultsError(f"results {uri!r}: {error.strerror}; name a folder that you can write") from error
    if not (path / "readings" / "_delta_log").is_dir() and (not create or names - _OURS):
        raise ResultsError(
            f"results {uri!r}: "
            + ("not a results folder, and not empty" if names else "there are no results yet")
            + "; name the folder that `batch-fracture run --results` wrote" * (not create)
            + "; name an empty or a new folder" * create
        )
    standing = next(parent for parent in (path, *path.parents) if parent.exists())
    if create and not os.access(standing, os.W_OK | os.X_OK):
        raise ResultsError(
            f"results {uri!r}: {standing} may not be written; mend that or name another folder"
        )
    return Home(path=path)


class ReadingsTable:
    """A handle on one version of the table: transactions are checked on it, then committed on it."""

    def __init__(self, delta: DeltaTable, path: Path) -> None:
        self._delta = delta
        self.path = path

    @classmethod
    def open(cls, home: Home, *, version: int | None = None) -> ReadingsTable | None:
        """The newest (or a given) version; None while there is no table.

        Raises:
            ResultsError: there is a log, but it cannot be read.
        """
        try:
            return cls(DeltaTable(home.readings, version=version), home.readings)
        except TableNotFoundError:
            return None
        except (DeltaError, OSError) as error:
            raise ResultsError(f"results {home.path}: the table's log cannot be read: {error}") from error

    @classmethod
    def open_or_create(cls, home: Home) -> ReadingsTable:
        """The newest version; an empty table is made where none is.

        Raises:
            ResultsError: the location cannot be written.
        """
        table = cls.open(home)
        if table is not None:
            return table
        try:
            durable.make_folder(home.readings)
            delta = DeltaTable.create(
                home.readings,
                schema=schema.READINGS,
                mode="ignore",
                partition_by=PARTITION_BY,
                configuration={
                    "delta.logRetentionDuration": KEPT_FOR,
                    "delta.deletedFileRetentionDuration": KEPT_FOR,
                },
            )
        except (DeltaError, OSError) as error:
            raise ResultsError(f"results {home.path}: cannot be written: {error}") from error
        created = cls(delta, home.readings)
        created._sync_log()
        return created

    @property
    def version(self) -> int:
        """Version of this handle."""
        return int(self._delta.version())

    def files(self) -> list[str]:
        """Absolute paths of the Parquet files of this version; delta-rs gives them percent-encoded."""
        return [unquote(uri) for uri in self._delta.file_uris()]

    def rows(self) -> ds.Dataset:
        """The rows of this version, `schema.READINGS`, unread until asked for."""
        day = ds.partitioning(pa.schema([schema.READINGS.field(schema.PARTITION)]), flavor="hive")
        return ds.dataset(self.files(), schema=schema.READINGS, format="parquet", partitioning=day)

    def holds_run(self, run_id: str) -> bool:
        """Whether that run was committed, as this handle sees it."""
        return self._delta.transaction_version(run_id) is not None

    def version_of(self, run_id: str) -> int:
        """The version that a run's rows came in with; the handle holds the run."""
        entries = self._delta.history()
        return next((int(e["version"]) for e in entries if e.get("run_id") == run_id), self.version)

    def commit(self, files: list[Path], *, run_id: str, read_date: str) -> bool:
        """Add files in one commit with the run's transaction and the shared counter.

        Args:
            files: Parquet files that already stand in the table's partition folder.
            run_id: the run whose rows they are.
            read_date: value of the partition, YYYY-MM-DD.

        Returns:
            False when another commit came first, or may have; look at a new handle.

        Raises:
            CommitError: the log cannot be written.
        """
        counter = self._delta.transaction_version(COUNTER) or 0
        try:
            self._delta.create_write_transaction(
                [self._add(file, read_date) for file in files],
                mode="append",
                schema=schema.READINGS,
                partition_by=PARTITION_BY,
                commit_properties=CommitProperties(
                    custom_metadata={"run_id": run_id},
                    max_commit_retries=0,
                    app_transactions=[Transaction(run_id, 1), Transaction(COUNTER, counter + 1)],
                ),
                post_commithook_properties=PostCommitHookProperties(cleanup_expired_logs=False),
            )
        except CommitFailedError:
            return False
        except (DeltaError, OSError) as error:
            reason = str(error).strip().splitlines()[0]
            raise CommitError(f"results {self.path}: the log cannot be written: {reason}") from error
        self._sync_log()
        return True

    def _add(self, file: Path, read_date: str) -> AddAction:
        return AddAction(
            path=str(file.relative_to(self.path)),
            size=file.stat().st_size,
            partition_values={schema.PARTITION: read_date},
            modification_time=int(time.time() * 1000),
            data_change=True,
            stats=json.dumps({"numRecords": pq.read_metadata(file).num_rows}),
        )

    def _sync_log(self) -> None:
        """delta-rs does not fsync: do it for the newest log entries, their folder and its parents."""
        log = self.path / "_delta_log"
        for entry in sorted(log.glob("*.json"))[-2:]:
            durable.sync_file(entry)
        for folder in (log, self.path, self.path.parent):
            durable.sync_folder(folder)
