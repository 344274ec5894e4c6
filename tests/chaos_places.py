"""Archives and results of the chaos harness: a folder or a prefix of a bucket, seen without our own code."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa
import pyarrow.parquet as pq


class Place(Protocol):
    """Named files; names have slashes and stand below `uri`."""

    uri: str

    def put(self, name: str, content: bytes) -> None: ...

    def get(self, name: str) -> bytes: ...

    def delete(self, name: str) -> None: ...

    def versions(self, below: str = "") -> dict[str, str]:
        """What `batch-fracture` calls image_version, by name."""
        ...


class DiskPlace:
    def __init__(self, path: Path) -> None:
        self.path = path
        self.uri = str(path)

    def put(self, name: str, content: bytes) -> None:
        (self.path / name).parent.mkdir(parents=True, exist_ok=True)
        (self.path / name).write_bytes(content)

    def get(self, name: str) -> bytes:
        return (self.path / name).read_bytes()

    def delete(self, name: str) -> None:
        (self.path / name).unlink()

    def versions(self, below: str = "") -> dict[str, str]:
        found = {}
        for folder, _, names in os.walk(self.path / below):  # which passes over what is removed meanwhile
            for path in (Path(folder, name) for name in names):
                with contextlib.suppress(FileNotFoundError):  # a run is at work here
                    status = path.lstat()
                    found[str(path.relative_to(self.path))] = f"{status.st_size}-{status.st_mtime_ns}"
        return found


class BucketPlace:
    def __init__(self, client: Any, bucket: str, prefix: str) -> None:
        self._client, self._bucket, self._prefix = client, bucket, prefix
        self.uri = f"s3://{bucket}/{prefix}"

    def put(self, name: str, content: bytes) -> None:
        self._client.put_object(Bucket=self._bucket, Key=f"{self._prefix}/{name}", Body=content)

    def get(self, name: str) -> bytes:
        answer = self._client.get_object(Bucket=self._bucket, Key=f"{self._prefix}/{name}")
        return bytes(answer["Body"].read())

    def delete(self, name: str) -> None:
        self._client.delete_object(Bucket=self._bucket, Key=f"{self._prefix}/{name}")

    def versions(self, below: str = "") -> dict[str, str]:
        prefix = f"{self._prefix}/{below}/" if below else f"{self._prefix}/"
        pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Prefix=prefix)
        listed = [entry for page in pages for entry in page.get("Contents", [])]
        return {entry["Key"].removeprefix(f"{self._prefix}/"): entry["ETag"].strip('"') for entry in listed}


@dataclass(frozen=True, kw_only=True)
class Committed:
    """The table as its log tells of it, version by version, read without delta-rs."""

    files: dict[int, tuple[str, ...]]
    """Names of the table's Parquet files by version; each holds those of the version before it."""
    digests: dict[str, str]
    """sha256 of every log entry and every file of the newest version, by name."""

    @property
    def version(self) -> int:
        """The newest; -1 while there is no table."""
        return max(self.files, default=-1)

    def newest(self) -> tuple[str, ...]:
        return self.files.get(self.version, ())


def committed(results: Place) -> Committed:
    """Read the log entries one by one, and everything that they name."""
    log = sorted(name for name in results.versions("readings/_delta_log") if name.endswith(".json"))
    files: dict[int, tuple[str, ...]] = {}
    digests, standing = {}, tuple[str, ...]()
    for name in log:
        content = results.get(name)
        digests[name] = hashlib.sha256(content).hexdigest()
        actions = [json.loads(line) for line in content.splitlines()]
        assert not any("remove" in action for action in actions), f"{name} removes a file"
        standing += tuple(f"readings/{action['add']['path']}" for action in actions if "add" in action)
        files[int(Path(name).stem)] = standing
    assert list(files) == list(range(len(files))), f"versions {list(files)} have a gap"
    digests |= {name: hashlib.sha256(results.get(name)).hexdigest() for name in standing}
    return Committed(files=files, digests=digests)


def rows_of(results: Place, files: tuple[str, ...]) -> Iterator[dict[str, Any]]:
    """The rows of some files of the table."""
    columns = ["reading_id", "image_uri", "image_version", "status", "error_code", "run_id"]
    for name in files:
        yield from pq.ParquetFile(pa.BufferReader(results.get(name))).read(columns).to_pylist()


def records(results: Place) -> dict[str, dict[str, Any]]:
    """Run records by run_id."""
    names = [name for name in results.versions("runs") if name.endswith(".parquet")]
    tables = [pq.read_table(io.BytesIO(results.get(name))) for name in names]
    return {row["run_id"]: row for table in tables for row in table.to_pylist()}
