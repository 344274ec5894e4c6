"""Lists of images as SOURCEs: a CSV or Parquet file of URIs, or the manifest of an S3 Inventory.

Columns of a list, by any of their names: image_uri (uri, path); and, if they are known, image_version (etag,
e_tag), size_bytes (size), modified_at (last_modified, last_modified_date). A relative path is relative to
the list's folder.
"""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pyarrow as pa

from batch_fracture.schema import TIMESTAMP
from batch_fracture.store import bucket
from batch_fracture.store.bucket import Access
from batch_fracture.store.columns import Listing, Patterns, bare_etags
from batch_fracture.store.inventory import MANIFEST_NAME, list_inventory
from batch_fracture.store.list_files import Rows, at_hand, read_rows
from batch_fracture.store.lookup import complete
from batch_fracture.store.sources import absolute

ENDINGS = (".csv", ".csv.gz", ".parquet")
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")


def is_list(source: str) -> bool:
    """Whether a SOURCE names a list, and not a folder, a prefix or an image."""
    if not source.endswith((*ENDINGS, MANIFEST_NAME)):
        return False
    return bucket.is_bucket(source) or Path(source).is_file()


def list_named(source: str, listing: Listing, patterns: Patterns, access: Access) -> None:
    """List the images that a list names.

    Args:
        source: path or URI of the list.
        listing: takes the rows.
        patterns: which images are listed, by their whole URI.
        access: how buckets are reached.

    Raises:
        SourceError: the list cannot be read, or a row of it means nothing; the row is named.
    """
    if source.endswith(MANIFEST_NAME):
        list_inventory(source, listing, patterns, access)
        return
    with at_hand(source, access) as path:
        for rows in read_rows(path, source, name=source):
            listing.add(_listed(rows, source.rpartition("/")[0] + "/", patterns, access))


def _listed(rows: Rows, folder: str, patterns: Patterns, access: Access) -> pa.RecordBatch:
    named = rows.column(pa.string(), "imageuri", "uri", "path")
    if named is None:
        rows.refuse("the header has no column image_uri (or uri, or path)")
    uris = [_resolved(rows, at, uri, folder) for at, uri in enumerate(named.to_pylist())]
    versions = rows.column(pa.string(), "imageversion", "etag")
    sizes = rows.column(pa.int64(), "sizebytes", "size")
    times = rows.column(TIMESTAMP, "modifiedat", "lastmodified", "lastmodifieddate")
    versions = versions if versions is None else bare_etags(versions)
    if patterns:
        keep = pa.array([patterns.keep(uri) for uri in uris], pa.bool_())
        uris = [uri for uri, kept in zip(uris, keep.to_pylist(), strict=True) if kept]
        versions, sizes, times = (
            column if column is None else column.filter(keep) for column in (versions, sizes, times)
        )
    return complete(uris, versions, sizes, times, None, access)


def _resolved(rows: Rows, at: int, uri: str | None, folder: str) -> str:
    """A URI of a bucket as it stands, or an absolute path."""
    if not uri:
        rows.refuse("the URI is empty", at)
    scheme = _SCHEME.match(uri)
    if scheme is None:
        if bucket.is_bucket(folder) and not uri.startswith("/"):
            return folder + uri
        return absolute(uri if uri.startswith("/") else folder + uri)
    if scheme[1] in bucket.SCHEMES:
        if not bucket.is_bucket(uri) or not bucket.split(uri)[2]:
            rows.refuse("the URI names no object", at)
        return uri
    if scheme[1] != "file" or urlsplit(uri).netloc not in ("", "localhost"):
        known = ", ".join(f"{known}://" for known in (*bucket.SCHEMES, "file"))
        rows.refuse(f"the URI is of an unknown kind; known are paths and {known}", at)
    path = unquote(uri.split("://", 1)[1].removeprefix("localhost"), errors="surrogateescape")
    return absolute(path)
