"""A sealed copy of the tables: plain files and the sha256 of each. It is checked without the results.

DIR/readings/read_date=YYYY-MM-DD/*.parquet   the files of one table version, byte for byte
DIR/runs/*.parquet                            the records of the runs that led to it
DIR/export.json                               what it is: version, times, rows of each file
DIR/README.txt                                for who finds it in ten years
DIR/SHA256SUMS                                of all the others; `sha256sum -c SHA256SUMS` reads it
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from batch_fracture.errors import ResultsError

FORMAT = 1
SUMS, ABOUT, READ_ME = "SHA256SUMS", "export.json", "README.txt"
READINGS, RUNS = "readings", "runs"
Progress = Callable[[int, int], None]
"""Told of bytes done and bytes in all."""
_CHUNK_BYTES = 2**20
_SHOWN = 3


@dataclass(frozen=True, kw_only=True)
class Sealed:
    """A copy all of whose files were read back and are as they were sealed."""

    folder: Path
    about: dict[str, Any]
    """`export.json`."""
    seal: str
    """sha256 of SHA256SUMS, and so of everything: kept elsewhere, it tells this copy from any other."""
    num_files: int
    num_bytes: int
    doubtful_runs: tuple[str, ...]
    """Runs whose record is missing, or counts other rows than there are."""


def encode_sums(digests: dict[str, str]) -> bytes:
    """The content of SHA256SUMS, as `sha256sum` writes and reads it, sorted by name."""
    return "".join(f"{digest}  {name}\n" for name, digest in sorted(digests.items())).encode()


def check(folder: Path, progress: Progress = lambda _done, _all: None) -> Sealed:
    """Read all of a sealed copy and compare: digests, rows of every file and in all, statuses.

    Args:
        folder: the copy.
        progress: told how far it is.

    Raises:
        ResultsError: it is no sealed copy, or differs from what was sealed; the message says where.
    """
    sums = _read(folder, SUMS)
    digests = _parse(folder, sums)
    sizes = {name: (folder / name).stat().st_size for name in _names(folder)}
    _agree(folder, "is not there", digests.keys() - sizes.keys())
    _agree(folder, f"is not named in {SUMS}", sizes.keys() - digests.keys())
    _agree(folder, "does not match its sha256", _altered(folder, digests, sizes, progress))
    about = _parse_about(folder)
    by_run = _check_rows(folder, about)
    recorded = _recorded(folder, [name for name in digests if name.startswith(f"{RUNS}/")])
    doubtful = sorted(run_id for run_id in by_run | recorded if by_run[run_id] != recorded[run_id])
    return Sealed(
        folder=folder,
        about=about,
        seal=hashlib.sha256(sums).hexdigest(),
        num_files=len(sizes),
        num_bytes=sum(sizes.values()),
        doubtful_runs=tuple(doubtful),
    )


def _names(folder: Path) -> Iterator[str]:
    """Of all files below, but the list itself."""
    for path in folder.rglob("*"):
        if not path.is_dir() and path != folder / SUMS:
            yield path.relative_to(folder).as_posix()


def _read(folder: Path, name: str) -> bytes:
    try:
        return (folder / name).read_bytes()
    except OSError as error:
        raise ResultsError(
            f"{folder}: no sealed copy ({name}: {error.strerror}); name the folder that `export --out` wrote"
        ) from error


def _parse(folder: Path, sums: bytes) -> dict[str, str]:
    """Digests by name."""
    try:
        lines = [line.split("  ", 1) for line in sums.decode().splitlines()]
        return {name: digest for digest, name in lines}
    except ValueError as error:
        raise ResultsError(f"{folder}/{SUMS}: is not a list of sha256 sums; it was altered") from error


def _parse_about(folder: Path) -> dict[str, Any]:
    about: dict[str, Any] = json.loads(_read(folder, ABOUT))
    if about.get("format") != FORMAT:
        raise ResultsError(
            f"{folder}/{ABOUT}: has format {about.get('format')!r}, not {FORMAT}; its files match their "
            "sha256, but a newer batch-fracture must check its rows"
        )
    return about


def _altered(
    folder: Path, digests: dict[str, str], sizes: dict[str, int], progress: Progress
) -> Iterator[str]:
    done, total = 0, sum(sizes.values())
    for name, digest in digests.items():
        found = hashlib.sha256()
        with (folder / name).open("rb") as file:
            while chunk := file.read(_CHUNK_BYTES):
                found.update(chunk)
        if found.hexdigest() != digest:
            yield name
        done += sizes[name]
        progress(done, total)


def _check_rows(folder: Path, about: dict[str, Any]) -> Counter[str]:
    """Count the rows of every file, and compare with what the table's log had; returns rows by run."""
    by_run: Counter[str] = Counter()
    by_status: Counter[str] = Counter()
    for file in about["files"]:
        rows = _rows(folder / file["name"], ["run_id", "status"])
        if len(rows) != file["rows"]:
            raise ResultsError(f"{folder}/{file['name']}: holds {len(rows)} rows, the log had {file['rows']}")
        by_run += _counted(rows["run_id"])
        by_status += _counted(rows["status"])
    if by_status != Counter(about["statuses"]) or by_run.total() != about["rows"]:
        raise ResultsError(f"{folder}: holds {by_run.total()} rows, {ABOUT} has {about['rows']}")
    return by_run


def _recorded(folder: Path, names: list[str]) -> Counter[str]:
    """Rows that each run's record says it brought."""
    found: Counter[str] = Counter()
    for name in names:
        for run in _rows(folder / name, ["run_id", "read", "skipped", "failed"]).to_pylist():
            found[run["run_id"]] += run["read"] + run["skipped"] + run["failed"]
    return found


def _rows(path: Path, columns: list[str]) -> pa.Table:
    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            return file.read(columns)
    except (OSError, pa.ArrowInvalid) as error:
        raise ResultsError(
            f"{path}: was sealed as it is, but cannot be read ({type(error).__name__})"
        ) from error


def _counted(values: pa.ChunkedArray) -> Counter[str]:
    return Counter({pair["values"]: pair["counts"] for pair in values.value_counts().to_pylist()})


def _agree(folder: Path, problem: str, names: Any) -> None:
    """Refuse when there are any names."""
    if found := sorted(names):
        more = f" and {len(found) - _SHOWN:,} more" if len(found) > _SHOWN else ""
        raise ResultsError(
            f"{folder}: {', '.join(found[:_SHOWN])}{more} {problem}; this is not the sealed copy"
        )
