"""What there is to read: folders, prefixes of buckets, and lists of URIs, as one table."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from batch_fracture.errors import SourceError
from batch_fracture.store import bucket
from batch_fracture.store.bucket import FROM_ENVIRONMENT, Access
from batch_fracture.store.columns import BATCH_ROWS, Listing, Patterns, objects_of
from batch_fracture.store.disk import list_disk
from batch_fracture.store.failures import source_error

if TYPE_CHECKING:
    from obstore.store import ObjectStore


def list_images(
    sources: Sequence[str],
    *,
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
    leave_out: Path | str | None = None,
    access: Access = FROM_ENVIRONMENT,
    secret: bool = False,
) -> pa.Table:
    """List every object of the sources, once.

    A source is a folder or file on disk, a prefix or object of a bucket, or a list of images: see `lists`.

    Args:
        sources: absolute paths and URIs, none inside another.
        include: shell patterns on the path below its source, of lists on the URI (`*` crosses folders).
        exclude: likewise; excluded objects are not listed.
        leave_out: a folder or prefix that is not entered, such as the results.
        access: how buckets are reached.
        secret: no message may name an object; sources are named as they are given.

    Returns:
        Table of `schema.LISTING`, sorted by image_uri, one row per object.

    Raises:
        SourceError: a source does not exist, may not be listed, or two objects have one name in UTF-8.
        StoreError: the store is not reached, or failed.
        ConfigError: there are no credentials, or the endpoint is none.
    """
    listing, patterns = Listing(secret=secret), Patterns(include, exclude)
    apart = "" if leave_out is None else str(leave_out)
    folders = _list_all_but_disk(sources, listing, patterns, access)
    list_disk(folders, listing, patterns, None if bucket.is_bucket(apart) else apart)
    return _without(listing.table(), apart) if bucket.is_bucket(apart) else listing.table()


def _list_all_but_disk(
    sources: Sequence[str], listing: Listing, patterns: Patterns, access: Access
) -> list[str]:
    """List what is named by lists or lies in buckets; the folders and files that are left."""
    from batch_fracture.store import lists  # noqa: PLC0415 - few sources are lists

    folders = []
    for source in sources:
        if lists.is_list(source):
            lists.list_named(source, listing, patterns, access)
        elif bucket.is_bucket(source):
            _list_bucket(source, listing, patterns, access)
        else:
            folders.append(source)
    return folders


def _without(table: pa.Table, prefix: str) -> pa.Table:
    return table.filter(pc.invert(pc.starts_with(table["image_uri"], prefix.rstrip("/") + "/")))


def _list_bucket(source: str, listing: Listing, patterns: Patterns, access: Access) -> None:
    from batch_fracture.store.s3_listing import Rows, list_s3  # noqa: PLC0415 - only buckets need it

    scheme, name, key = bucket.split(source)
    root = f"{scheme}://{name}/"
    if scheme == "s3":
        list_s3(source, name, key, access, Rows(root, listing, patterns))
    else:
        list_with_obstore(source, bucket.open_bucket(scheme, name, access), root, listing, patterns)


def list_with_obstore(
    source: str, store: ObjectStore, root: str, listing: Listing, patterns: Patterns
) -> None:
    """List a prefix of any store that obstore knows, in one stream; names it cannot hold end the listing.

    Args:
        source: `root` and the prefix.
        store: the opened bucket.
        root: what stands before each key, such as `gs://bucket/`.
        listing: takes the rows.
        patterns: which objects are listed.

    Raises:
        SourceError: there is nothing of that name, or it cannot be listed.
    """
    import obstore  # noqa: PLC0415 - only buckets need it
    from obstore.exceptions import BaseError  # noqa: PLC0415 - likewise

    prefix, seen = source[len(root) :].rstrip("/"), False
    below = len(prefix) + 1 if prefix else 0
    try:
        for chunk in obstore.list(store, prefix or None, chunk_size=BATCH_ROWS, return_arrow=True):
            found = pa.record_batch(chunk)
            seen = seen or found.num_rows > 0
            _take(found, root, below, listing, patterns)
        if not seen and prefix:
            one: dict[str, Any] = {**obstore.head(store, prefix)}
            names = ("path", "e_tag", "size", "last_modified")
            found = pa.RecordBatch.from_pylist([{name: one[name] for name in names}])
            _take(found, root, below, listing, patterns)
    except (BaseError, OSError, ValueError) as error:
        raise source_error(source, error) from error


def _take(found: pa.RecordBatch, root: str, below: int, listing: Listing, patterns: Patterns) -> None:
    keys = found["path"].to_pylist()
    if found["e_tag"].null_count:
        raise SourceError(f"source {root!r}: the store gives no ETags, so no read could be tied to a version")
    sizes = found["size"].cast(pa.int64())
    batch = objects_of([root + key for key in keys], found["e_tag"], sizes, found["last_modified"])
    if patterns:
        batch = batch.filter(pa.array([patterns.keep(key[below:] or root + key) for key in keys], pa.bool_()))
    listing.add(batch)
