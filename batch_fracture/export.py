"""A sealed copy of one table version, for those who keep it for years: see `sealed` for what it holds.

It is written beside its place, read back, and only then renamed into it: a half copy never looks like a whole
one. `links/`, the real names behind pseudonyms, is never copied.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import textwrap
import uuid
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa

from batch_fracture import __version__, durable, schema, sealed
from batch_fracture.errors import ConfigError, ResultsError, WriteError
from batch_fracture.failpoints import failpoint
from batch_fracture.results import parquet
from batch_fracture.results.history import LoggedFile, contents, table_as_of
from batch_fracture.results.home import Home
from batch_fracture.results.table import ReadingsTable
from batch_fracture.sealed import Progress, Sealed
from batch_fracture.store.bucket import is_bucket

COPIES_AT_ONCE = 8
_READ_ME_WIDTH = 100
_READ_ME = """\
This folder is a sealed copy of the results of batch-fracture, a program that re-reads archives of bone
radiographs for retrospective quality audits (not for diagnosis). It was taken from {results}, table version
{table_version} of {committed_at}, at {exported_at}. readings/ holds one row per image, model and run
({rows:,} rows) and runs/ one row per run, as Apache Parquet files, which pandas, Polars, DuckDB, Spark and
many others read; the column read_date stands in the folder names. docs/tables.md of batch-fracture
{code_version} explains every column and code. To see that nothing was changed since, run
`sha256sum -c SHA256SUMS` here, or `batch-fracture export --verify` with this folder, which counts the rows
of every file as well."""


def export(
    home: Home,
    out: str,
    *,
    as_of: str | None = None,
    copied: Progress = lambda _done, _all: None,
    checked: Progress = lambda _done, _all: None,
) -> Sealed:
    """Write a sealed copy, and read it back.

    Args:
        home: the results, on disk or in a bucket.
        out: a new or empty folder on disk.
        as_of: version or time, see `table_as_of`; None is the newest version.
        copied: told of the bytes copied so far.
        checked: told of the bytes read back so far.

    Raises:
        ConfigError: `out` or `as_of` will not do.
        ResultsError: the results cannot be read, or the copy does not hold what the log has.
        WriteError: the copy cannot be written; nothing is left in its place.
    """
    folder = _place(home, out)
    table, committed_at = table_as_of(home, as_of)
    about = _describe(table, committed_at, as_of)
    try:
        with _beside(folder) as partial:
            _fill(partial, home, about, contents(table), copied)
            done = sealed.check(partial, checked)
            failpoint("before-export", str(folder))
            partial.rename(folder)
            durable.sync_folder(folder.parent)
    except OSError as error:
        raise WriteError(
            f"cannot write {folder}: {error.strerror}; mend that or name another folder"
        ) from error
    return replace(done, folder=folder)


def _describe(table: ReadingsTable, committed_at: datetime, as_of: str | None) -> dict[str, Any]:
    """What `export.json` says before anything is counted."""
    return {
        "format": sealed.FORMAT,
        "results": table.home.uri,
        "table_version": table.version,
        "committed_at": _text(committed_at),
        "as_of": as_of,
        "exported_at": _text(datetime.now(UTC)),
        "code_version": __version__,
        "columns": {name: str(schema.READINGS.field(name).type) for name in table.columns()},
    }


def _place(home: Home, out: str) -> Path:
    """Where the copy goes, absolute, links followed."""
    if is_bucket(out) or "://" in out:
        raise ConfigError(
            f"--out {out!r}: a sealed copy is written to a disk; copy the whole folder from there"
        )
    folder = Path(out).resolve()
    if home.path and folder.is_relative_to(home.path.resolve()):
        raise ConfigError(
            f"--out {out!r}: lies inside the results, where readers would take it for a part of them"
        )
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise ConfigError(f"--out {out!r}: something stands there; name a new or an empty folder")
    return folder


@contextmanager
def _beside(folder: Path) -> Iterator[Path]:
    """A hidden folder beside the copy's place, removed if it is not renamed.

    Its lock tells a live export from one that was killed, whose remains go now.
    """
    durable.make_folder(folder.parent)
    for left in folder.parent.iterdir():
        if left.name.startswith(f".{folder.name}.") and durable.is_partial(left):
            with _locked(left) as dead:
                if dead:
                    shutil.rmtree(left, ignore_errors=True)
    partial = folder.parent / f".{folder.name}.{uuid.uuid4().hex}.partial"
    partial.mkdir()
    try:
        with _locked(partial):
            yield partial
    finally:
        shutil.rmtree(partial, ignore_errors=True)


@contextmanager
def _locked(folder: Path) -> Iterator[bool]:
    """Whether this process has the folder's lock meanwhile; the kernel frees it when a process dies."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:  # held, or a file system without locks: leave it alone
            yield False
        else:
            yield True
    finally:
        os.close(handle)


def _fill(
    folder: Path, home: Home, about: dict[str, Any], files: list[LoggedFile], progress: Progress
) -> None:
    """Write everything, each file synced and read-only, the list of sums last."""
    digests: dict[str, str] = {}
    statuses: Counter[str] = Counter()
    described: list[dict[str, Any]] = []
    done, total = 0, sum(file.size_bytes for file in files)
    with ThreadPoolExecutor(COPIES_AT_ONCE) as pool:
        copies = pool.map(lambda file: _copy(home, folder, file), files)
        for file, (digest, num_rows, counted) in zip(files, copies, strict=True):
            digests[file.name] = digest
            statuses += counted
            described.append({"name": file.name, "rows": num_rows, "size_bytes": file.size_bytes})
            done += file.size_bytes
            progress(done, total)
    records = _records(home, about["table_version"])
    digests |= {name: _write(folder / name, content) for name, content in records.items()}
    about |= {
        "rows": sum(file["rows"] for file in described),
        "statuses": dict(sorted(statuses.items())),
        "runs": len(records),
        "files": described,
    }
    digests[sealed.ABOUT] = _write(folder / sealed.ABOUT, json.dumps(about, indent=1).encode() + b"\n")
    digests[sealed.READ_ME] = _write(folder / sealed.READ_ME, _read_me(about))
    _write(folder / sealed.SUMS, sealed.encode_sums(digests))
    for below in (*(path for path in folder.rglob("*") if path.is_dir()), folder):
        durable.sync_folder(below)


def _read_me(about: dict[str, Any]) -> bytes:
    text = textwrap.fill(
        _READ_ME.format(**about), _READ_ME_WIDTH, break_long_words=False, break_on_hyphens=False
    )
    return f"{text}\n".encode()


def _copy(home: Home, folder: Path, file: LoggedFile) -> tuple[str, int, Counter[str]]:
    """Copy a file of the table byte for byte: its digest, the log's count of rows, its statuses."""
    failpoint("export", file.name)
    content = home.folder.get(file.name)
    if content is None:
        raise ResultsError(f"results {home.uri}: {file.name} is gone, though this version holds it (vacuum?)")
    try:
        rows = parquet.decode(content, ["status"])
    except (OSError, pa.ArrowInvalid) as error:
        raise ResultsError(f"results {home.uri}: {file.name} is damaged ({type(error).__name__})") from error
    num_rows = len(rows) if file.num_rows is None else file.num_rows
    return _write(folder / file.name, content), num_rows, Counter(rows["status"].to_pylist())


def _records(home: Home, version: int) -> dict[str, bytes]:
    """The records, as they are, of runs that had ended when the table was at that version."""
    found = {}
    for file in home.folder.files(f"{Home.RUNS}/"):
        content = home.folder.get(file.name) or b""
        try:
            at = parquet.decode(content, ["table_version"])["table_version"].to_pylist()
        except (OSError, pa.ArrowInvalid) as error:
            raise ResultsError(f"run record {home.uri}/{file.name} is damaged; remove it") from error
        if at and at[0] is not None and at[0] <= version:
            found[file.name] = content
    return found


def _write(path: Path, content: bytes) -> str:
    """Write a new read-only file that survives a power cut; returns its sha256."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "xb", opener=lambda name, flags: os.open(name, flags, 0o444)) as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    return hashlib.sha256(content).hexdigest()


def _text(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
