"""What a list leaves open about its images: asked of the store, many at once."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

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
    unknown = [None] * len(uris)
    rows = _Rows(
        versions=unknown if versions is None else versions.to_pylist(),
        sizes=unknown if sizes is None else sizes.to_pylist(),
        times=unknown if times is None else times.cast(pa.int64()).to_pylist(),
        codes=unknown if codes is None else codes,
    )
    rows.ask(uris, access)
    return objects_of(
        uris,
        pa.array([version or UNLISTED for version in rows.versions], pa.string()),
        pa.array([size or 0 for size in rows.sizes], pa.int64()),
        pa.array(rows.times, pa.int64()).cast(TIMESTAMP),
        rows.codes,
    )


class _Rows:
    """The columns of a batch while their gaps are filled; `times` in microseconds since 1970 UTC."""

    def __init__(
        self,
        versions: Sequence[str | None],
        sizes: Sequence[int | None],
        times: Sequence[int | None],
        codes: Sequence[str | None],
    ) -> None:
        self.versions, self.sizes = list(versions), list(sizes)
        self.times, self.codes = list(times), list(codes)

    def ask(self, uris: Sequence[str], access: Access) -> None:
        """Look up the rows without a version or a size; those with a code are as they are."""
        known = zip(self.versions, self.sizes, self.codes, strict=True)
        gaps = [at for at, (version, size, code) in enumerate(known) if not code and None in (version, size)]
        if not gaps:
            return
        with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="look-up") as pool:
            answers = pool.map(lambda at: _look_up(uris[at], access), gaps)
            for at, (version, size, time, code) in zip(gaps, answers, strict=True):
                self.versions[at] = self.versions[at] or version
                self.sizes[at], self.codes[at] = size, code
                self.times[at] = self.times[at] if time is None else _microseconds(time)


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
