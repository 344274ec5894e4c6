"""S3 Inventory as a SOURCE: the nightly list that S3 itself writes of a bucket.

Format: https://docs.aws.amazon.com/AmazonS3/latest/userguide/storage-inventory-location.html
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import pyarrow as pa

from batch_fracture.codes import Code
from batch_fracture.errors import SourceError
from batch_fracture.schema import TIMESTAMP
from batch_fracture.store import bucket
from batch_fracture.store.bucket import Access
from batch_fracture.store.columns import Listing, Patterns, bare_etags
from batch_fracture.store.list_files import Rows, at_hand, read_rows
from batch_fracture.store.lookup import complete
from batch_fracture.store.s3_pages import decoded

MANIFEST_NAME = "manifest.json"
_BUCKET_ARN = "arn:aws:s3:::"


@dataclass(frozen=True, kw_only=True)
class Inventory:
    """What the manifest says."""

    source_bucket: str
    destination_bucket: str
    ending: str
    """`.csv.gz` or `.parquet`."""
    columns: tuple[str, ...] | None
    """Of CSV files, which have no header."""
    files: tuple[tuple[str, str | None], ...]
    """Key in the destination bucket, and MD5 (hex)."""


def list_inventory(source: str, listing: Listing, patterns: Patterns, access: Access) -> None:
    """List the objects of an inventory; versions that are not the latest, and delete markers, are no images.

    Raises:
        SourceError: manifest or data files are missing, altered, or in a format that cannot be read.
    """
    with at_hand(source, access) as path:
        inventory = _manifest(path, source)
    for key, digest in inventory.files:
        location = _location(source, inventory, key)
        with at_hand(location, access) as path:
            _check(path, location, digest)
            name = PurePosixPath(key).stem + inventory.ending
            for rows in read_rows(path, location, name=name, columns=inventory.columns):
                listing.add(_listed(rows, inventory, listing, patterns, access))


def _manifest(path: Path, source: str) -> Inventory:
    try:
        said = json.loads(path.read_bytes())
        files = tuple((str(file["key"]), file.get("MD5checksum")) for file in said["files"])
        kind, schema = str(said["fileFormat"]).upper(), str(said["fileSchema"])
        buckets = [
            str(said[name]).removeprefix(_BUCKET_ARN) for name in ("sourceBucket", "destinationBucket")
        ]
    except OSError as error:
        raise SourceError(f"inventory {source!r}: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise SourceError(f"inventory {source!r}: it is no manifest of an S3 Inventory") from error
    if kind not in ("CSV", "PARQUET"):
        raise SourceError(
            f"inventory {source!r}: its format {kind} is not read here; have S3 write Parquet or CSV"
        )
    return Inventory(
        source_bucket=buckets[0],
        destination_bucket=buckets[1],
        ending=".parquet" if kind == "PARQUET" else ".csv.gz",
        columns=tuple(name.strip() for name in schema.split(",")) if kind == "CSV" else None,
        files=files,
    )


def _location(source: str, inventory: Inventory, key: str) -> str:
    """Where a data file lies: in the destination bucket or, of a manifest on disk, beside it or below."""
    if bucket.is_bucket(source):
        return f"{bucket.split(source)[0]}://{inventory.destination_bucket}/{key}"
    folder, parts = Path(source).parent, PurePosixPath(key).parts
    for at in range(len(parts)):
        if (found := folder.joinpath(*parts[at:])).is_file() and ".." not in parts[at:]:
            return str(found)
    raise SourceError(f"inventory {source!r}: its file {parts[-1]!r} lies neither beside it nor below")


def _check(path: Path, location: str, digest: str | None) -> None:
    try:
        with path.open("rb") as file:
            found = hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
    except OSError as error:
        raise SourceError(f"inventory file {location!r}: {error.strerror}") from error
    if digest and found != digest.lower():
        raise SourceError(f"inventory file {location!r}: its MD5 is not the manifest's; fetch it again")


def _listed(
    rows: Rows, inventory: Inventory, listing: Listing, patterns: Patterns, access: Access
) -> pa.RecordBatch:
    keys = rows.column(pa.string(), "key")
    if keys is None:
        rows.refuse("the inventory has no column Key")
    latest = rows.column(pa.string(), "islatest")
    deleted = rows.column(pa.string(), "isdeletemarker")
    columns = [
        rows.column(pa.string(), "etag"),
        rows.column(pa.int64(), "size"),
        rows.column(TIMESTAMP, "lastmodifieddate"),
    ]
    names, codes = _names(rows, keys.to_pylist(), listing, encoded=inventory.columns is not None)
    keep = pa.array(
        [
            not (old == "false" or dead == "true") and (not patterns or patterns.keep(name))
            for name, old, dead in zip(names, _flags(latest, names), _flags(deleted, names), strict=True)
        ],
        pa.bool_(),
    )
    chosen = [at for at, kept in enumerate(keep.to_pylist()) if kept]
    versions, sizes, times = (column if column is None else column.filter(keep) for column in columns)
    root = f"s3://{inventory.source_bucket}/"
    return complete(
        [root + names[at] for at in chosen],
        versions if versions is None else bare_etags(versions),
        sizes,
        times,
        [codes[at] for at in chosen],
        access,
    )


def _names(
    rows: Rows, keys: Sequence[str | None], listing: Listing, *, encoded: bool
) -> tuple[list[str], list[str | None]]:
    """Each key as it is, and `NAME_UNREADABLE` where it is not UTF-8."""
    names: list[str] = []
    codes: list[str | None] = []
    for at, key in enumerate(keys):
        if not key:
            rows.refuse("the key is empty", at)
        name = decoded(key) if encoded else key
        codes.append(None if isinstance(name, str) else Code.NAME_UNREADABLE.value)
        names.append(name if isinstance(name, str) else listing.unreadable(name))
    return names, codes


def _flags(column: pa.Array | None, names: Sequence[str]) -> list[str | None]:
    """`true` and `false` in lower case, as CSV and Parquet files have them alike."""
    if column is None:
        return [None] * len(names)
    return [value.lower() if value is not None else None for value in column.to_pylist()]
