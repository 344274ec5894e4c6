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
"""Fetches in flight per call: the wait for the first byte of a bucket, or of a disk across the network, is
many times the work of a fetch."""
AHEAD, AHEAD_BYTES = 128, 128 * 2**20
"""Images, and listed bytes, that wait or are in flight per call; a larger image goes alone."""

Entry = Mapping[str, Any]
"""A row of `schema.MANIFEST`."""


def fetch_ahead(entries: Sequence[Entry], access: Access = FROM_ENVIRONMENT) -> Iterator[bytes | ImageError]:
    """The content of each image, or why there is none, in the order of the entries.

    Threads fetch them, from this call on and not from the first `next`, and release the GIL while they wait.

    Args:
        entries: rows of `schema.MANIFEST`.
        access: how buckets are reached.
    """
    if len(entries) < 2:
        return (_fetch(entry, access) for entry in entries)
    ahead = _Ahead(entries, access)
    ahead.start()
    return iter(ahead)


class _Ahead:
    """The images of one call that are on their way, and those that came and wait."""

    def __init__(self, entries: Sequence[Entry], access: Access) -> None:
        self._upcoming = deque(entries)
        self._access = access
        self._flying: deque[tuple[int, Future[bytes | ImageError]]] = deque()
        self._pool = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="fetch")

    def start(self) -> None:
        """Start as many as may be ahead."""
        while self._upcoming and _may_start(self._flying, self._upcoming[0]):
            entry = self._upcoming.popleft()
            self._flying.append((int(entry["size_bytes"]), self._pool.submit(_fetch, entry, self._access)))

    def __iter__(self) -> Iterator[bytes | ImageError]:
        try:
            while self._flying:
                yield self._flying[0][1].result()
                self._flying.popleft()  # only now: until then the caller holds its bytes
                self.start()
        finally:
            self._pool.shutdown(wait=False, cancel_futures=True)


def _may_start(flying: deque[tuple[int, Future[bytes | ImageError]]], entry: Entry) -> bool:
    together = sum(size for size, _ in flying) + int(entry["size_bytes"])
    return not flying or (len(flying) < AHEAD and together <= AHEAD_BYTES)


def _fetch(entry: Entry, access: Access) -> bytes | ImageError:
    try:
        return read_bytes(entry["image_uri"], entry["image_version"], entry["size_bytes"], access)
    except ImageError as error:
        return error
    except MemoryError:
        return ImageError(Code.OUT_OF_MEMORY, "the image needs more memory than there is")
