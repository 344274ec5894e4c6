"""The table as it was: its versions, which of them a moment saw, and what the log says of their files."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from urllib.parse import unquote

import pyarrow as pa

from batch_fracture.errors import ConfigError, ResultsError
from batch_fracture.results.home import Home
from batch_fracture.results.table import ReadingsTable


@dataclass(frozen=True, kw_only=True)
class LoggedFile:
    """A Parquet file of a version, as the log has it."""

    name: str
    """Below the results location."""
    size_bytes: int
    num_rows: int | None
    """None when its writer left no count in the log; ours always does."""


def contents(table: ReadingsTable) -> list[LoggedFile]:
    """The files of the handle's version, sorted by name.

    Raises:
        ResultsError: another program deleted rows without rewriting their files, so the files do not tell.
    """
    if features := table.delta.protocol().reader_features:
        raise ResultsError(
            f"results {table.home.uri}: another program gave the table the features {features}, so its files "
            "alone do not tell its rows; name a version before that with --as-of"
        )
    actions = pa.table(table.delta.get_add_actions(flatten=True))
    files = [
        LoggedFile(
            name=f"{Home.READINGS}/{unquote(action['path'])}",
            size_bytes=action["size_bytes"],
            num_rows=action["num_records"],
        )
        for action in actions.select(["path", "size_bytes", "num_records"]).to_pylist()
    ]
    return sorted(files, key=lambda file: file.name)


def versions(table: ReadingsTable) -> dict[int, datetime]:
    """Every version that the log still tells of, and when it was committed (UTC)."""
    entries = sorted((int(entry["version"]), entry["timestamp"]) for entry in table.delta.history())
    return {version: datetime.fromtimestamp(ms / 1000, UTC) for version, ms in entries}


def table_as_of(home: Home, as_of: str | None) -> tuple[ReadingsTable, datetime]:
    """A version of the table, and when it was committed (UTC).

    Args:
        home: the results.
        as_of: digits are a version; a date means the end of that day in UTC, a time without an offset is
            UTC too, and both the newest version committed until then. None: the newest.

    Raises:
        ConfigError: it is none of these, or there was no such version.
        ResultsError: there is no table, or its log cannot be read.
    """
    newest = _open(home)
    known = versions(newest)
    version = newest.version if as_of is None else _version(as_of, known)
    return newest if version == newest.version else _open(home, version), known[version]


def _open(home: Home, version: int | None = None) -> ReadingsTable:
    table = ReadingsTable.open(home, version=version)
    if table is None:
        raise ResultsError(
            f"results {home.uri}: the readings table has no log; run `batch-fracture run` first"
        )
    return table


def _version(as_of: str, known: dict[int, datetime]) -> int:
    (first, began), (last, ended) = min(known.items()), max(known.items())
    there_are = f"there are versions {first} to {last}, of {_text(began)} to {_text(ended)}"
    if as_of.isascii() and as_of.isdigit():
        if int(as_of) not in known:
            raise ConfigError(f"--as-of {as_of}: {there_are}")
        return int(as_of)
    begins, ends = _moment(as_of)
    if begins > datetime.now(UTC):
        raise ConfigError(f"--as-of {as_of}: is yet to come; {there_are}")
    found = [version for version, committed in known.items() if committed <= ends]
    if not found:
        raise ConfigError(f"--as-of {as_of}: is before the first version; {there_are}")
    return max(found)


def _moment(as_of: str) -> tuple[datetime, datetime]:
    """First and last instant that a text means: a day has many, a time one."""
    try:
        if len(as_of) == len("YYYY-MM-DD"):
            begins = datetime.combine(date.fromisoformat(as_of), time(), UTC)
            return begins, begins + timedelta(days=1, microseconds=-1)
        moment = datetime.fromisoformat(as_of)
    except ValueError as error:
        raise ConfigError(
            f"--as-of {as_of!r}: give a version such as 12, a date such as 2026-11-23 (its end, UTC) or a "
            "time such as 2026-11-23T06:00:00Z"
        ) from error
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return moment, moment


def _text(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
