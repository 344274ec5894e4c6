"""What a list leaves open about its images: asked of the store, many at once."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa

from batch_fracture.codes import Code
from batch_fracture.errors import ImageError
from batch_fracture.schema import TIMESTAMP
from batch_fracture.store import bucket, disk
from batch_fracture.store.bucket import Access
from batch_fracture.store.columns import UNLISTED, objects_of
from batch_fracture.store.failures import image_error, source_error
from batch_fracture.store.reading import plain

AT_ONCE = 16

Found = tuple[str, int, int | datetime | None, str | None]
"""Version, size in bytes, time (microseconds since 1970 UTC, or as a datetime), listing code."""


def complete(
    uris: Sequence[str],
    versions: pa.Array | None,
    sizes: pa.Array | None,
    times: pa.Array | None,
    codes: Sequence[str | None] | None,
    access: Access,
) -> pa.RecordBatch:
    """Rows of a list as a batch of `schema.LISTING`.

    Args:
        uris: of the images.
        versions: string, nulls or None where unknown: then the store is asked.
        sizes: int64, likewise.
        times: timestamp, unknown ones stay null.
        codes: what the list alone decides; such rows are not asked for.
        access: how buckets are reached.

    Returns:
        The batch; what is not there has the code `GONE`, what may not be seen `ACCESS_DENIED`.

    Raises:
        SourceError: the store could not answer.
    """
    count = len(uris)
    known_versions = versions.to_pylist() if versions is not None else [None] * count
    known_sizes = sizes.to_pylist() if sizes is not None else [None] * count
    known_codes: list[str | None] = list(codes) if codes is not None else [None] * count
    known_times: list[Any] = (times.cast(pa.int64()) if times is not None else pa.nulls(count)).to_pylist()
    open_rows = [
        at
        for at in range(count)
        if known_codes[at] is None and (known_versions[at] is None or known_sizes[at] is None)
    ]
    if open_rows:
        with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="look-up") as pool:
            answers = pool.map(lambda at: _look_up(uris[at], access), open_rows)
            for at, (version, size, time, code) in zip(open_rows, answers, strict=True):
                known_versions[at] = known_versions[at] or version
                known_sizes[at], known_codes[at] = size, code
                known_times[at] = known_times[at] if time is None else _microseconds(time)
    return objects_of(
        uris,
        pa.array([version or UNLISTED for version in known_versions], pa.string()),
        pa.array([size or 0 for size in known_sizes], pa.int64()),
        pa.array(known_times, pa.int64()).cast(TIMESTAMP),
        known_codes,
    )


def _look_up(uri: str, access: Access) -> Found:
    if not bucket.is_bucket(uri):
        entry = disk.entry_of(uri)
        known = entry.image_version != UNLISTED
        return entry.image_version, entry.size_bytes, entry.modified_at if known else None, entry.listing_code
    scheme, name, key = bucket.split(uri)
    ask = _ask_boto3 if scheme == "s3" and not plain(key) else _ask_obstore
    try:
        return ask(scheme, name, key, access)
    except ImageError as error:
        if error.code is Code.STORE_ERROR:
            raise source_error(f"{scheme}://{name}", error.__cause__ or error) from error  # type: ignore[arg-type]
        return UNLISTED, 0, None, error.code.value


def _ask_obstore(scheme: str, name: str, key: str, access: Access) -> Found:
    import obstore  # noqa: PLC0415 - only buckets need it
    from obstore.exceptions import BaseError  # noqa: PLC0415 - likewise

    store = bucket.open_bucket(scheme, name, access)
    try:
        found = obstore.head(store, key)
    except (BaseError, OSError, ValueError) as error:
        raise image_error(error) from error
    return found["e_tag"] or UNLISTED, found["size"], found["last_modified"], None


def _ask_boto3(_: str, name: str, key: str, access: Access) -> Found:
    from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415 - only buckets need it

    try:
        found = bucket.s3_client(access).head_object(Bucket=name, Key=key)
    except (BotoCoreError, ClientError) as error:
        raise image_error(error) from error
    return found["ETag"], found["ContentLength"], found["LastModified"], None


def _microseconds(time: int | datetime) -> int:
    """Since 1970 UTC."""
    if isinstance(time, int):
        return time
    return round((time.astimezone(UTC) - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds() * 1e6)
