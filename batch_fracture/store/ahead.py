"""Read-ahead: while one image is decoded, the next ones are on their way."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from batch_fracture.codes import Code
from batch_fracture.errors import ImageError
from batch_fracture.store.bucket import FROM_ENVIRONMENT, Access
from batch_fracture.store.reading import read_bytes

AT_ONCE = 16
"""Fetches in flight per task: the wait for the first byte of a bucket, or of a disk across the network, is
many times the work of a fetch."""
AHEAD_BYTES = 256 * 2**20
"""Listed bytes in flight per task; a larger image goes alone."""

Entry = Mapping[str, Any]
"""A row of `schema.MANIFEST`."""


def fetch_ahead(entries: Sequence[Entry], access: Access = FROM_ENVIRONMENT) -> Iterator[bytes | ImageError]:
    """The content of each image, or why there is none, in the order of the entries.

    Threads fetch them, and release the GIL while they wait.

    Args:
        entries: rows of `schema.MANIFEST`.
        access: how buckets are reached.
    """
    if len(entries) < 2:
        yield from (_fetch(entry, access) for entry in entries)
        return
    pool = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="fetch")
    flying: deque[tuple[int, Future[bytes | ImageError]]] = deque()
    try:
        upcoming = 0
        for _ in entries:
            while upcoming < len(entries) and _may_start(flying, entries[upcoming]):
                ahead = entries[upcoming]
                flying.append((int(ahead["size_bytes"]), pool.submit(_fetch, ahead, access)))
                upcoming += 1
            yield flying[0][1].result()
            flying.popleft()  # only now: until then the caller holds its bytes
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _may_start(flying: deque[tuple[int, Future[bytes | ImageError]]], entry: Entry) -> bool:
    together = sum(size for size, _ in flying) + int(entry["size_bytes"])
    return not flying or (len(flying) < AT_ONCE and together <= AHEAD_BYTES)


def _fetch(entry: Entry, access: Access) -> bytes | ImageError:
    try:
        return read_bytes(entry["image_uri"], entry["image_version"], entry["size_bytes"], access)
    except ImageError as error:
        return error
    except MemoryError:
        return ImageError(Code.OUT_OF_MEMORY, "the image needs more memory than there is")
