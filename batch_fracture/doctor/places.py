"""Folders that a run writes to, and the shared memory that Ray uses."""

from __future__ import annotations

import os
import shutil
import tempfile
import uuid
from pathlib import Path

from batch_fracture.doctor.check import Check, bad, good, note
from batch_fracture.errors import BatchFractureError

MIN_FREE_BYTES = 2**30
MIN_SHARED_BYTES = 128 * 2**20
"""Ray's object store lives in /dev/shm; Docker gives 64 MiB unless asked."""
SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - Ray's choice
_SOCKET = "/bf-ray-4194304-ffffffff/session_2026-01-01_00-00-00_000000_4194304/sockets/plasma_store"
"""The longest path below the temporary folder that Ray makes a socket of."""
_MAX_SOCKET_PATH_BYTES = 107  # unix(7)


def results(location: str, s3_endpoint: str | None) -> list[Check]:
    """Whether a run could write its results there."""
    from batch_fracture.store.sources import meant  # noqa: PLC0415 - it brings pyarrow

    if uri := meant(location):
        return [bad("results", f"{location} is a folder, and no bucket", f"name {uri}")]
    return _bucket(location, s3_endpoint) if "://" in location else folder("results", location)


def _bucket(location: str, s3_endpoint: str | None) -> list[Check]:
    """Put a file twice: the second put must be refused, because commits rest on that."""
    from batch_fracture.results.bucket_folder import BucketFolder  # noqa: PLC0415 - disks need no client
    from batch_fracture.store import Access  # noqa: PLC0415 - likewise

    name = f"_work/doctor-{uuid.uuid4().hex}/probe"
    try:
        place = BucketFolder(location, Access(s3_endpoint=s3_endpoint))
        place.put_once(name, b"doctor")
        is_exact = not place.put_once(name, b"another doctor")
        place.delete(name)
    except BatchFractureError as error:
        return [
            bad("results", str(error), "check the bucket's name, --s3-endpoint, AWS_PROFILE and its policy")
        ]
    if not is_exact:
        return [
            bad("results", f"{location} ignores If-None-Match", "name a store that has conditional writes")
        ]
    return [good("results", f"{location} can be written, and keeps what was put first")]


def folder(name: str, location: str) -> list[Check]:
    """Whether files can be written there, and the space left; its parent stands for one to be made.

    Args:
        name: of the check.
        location: a path.
    """
    path = Path(location).absolute()
    existing = next(parent for parent in (path, *path.parents) if parent.exists())
    if not existing.is_dir():
        return [bad(name, f"{existing} is not a folder", "name another location")]
    try:
        with tempfile.TemporaryFile(dir=existing) as file:
            file.write(b"doctor")
            file.flush()
    except OSError as error:
        value = f"{existing} cannot be written ({error.strerror})"
        return [bad(name, value, "name another location, or change its permissions")]
    free_bytes = shutil.disk_usage(existing).free
    value = f"{path} can be {'written' if existing == path else 'made'}, {size(free_bytes)} free"
    if free_bytes < MIN_FREE_BYTES:
        return [bad(name, value, f"free {size(MIN_FREE_BYTES)} there")]
    return [good(name, value)]


def temporary() -> list[Check]:
    """The temporary folder: space, and a path short enough for Ray's sockets."""
    path = tempfile.gettempdir()
    too_long_bytes = len(os.fsencode(path + _SOCKET)) - _MAX_SOCKET_PATH_BYTES
    if too_long_bytes > 0:
        value = f"{path} is {too_long_bytes} bytes too long for Ray's sockets"
        return [bad("temporary folder", value, "set TMPDIR to a shorter path")]
    return folder("temporary folder", path)


def shared_memory() -> list[Check]:
    """Room for Ray's object store."""
    name = str(SHARED_MEMORY)
    if not SHARED_MEMORY.is_dir():
        return [note(name, "not there; Ray uses the temporary folder, which is slower")]
    usage = shutil.disk_usage(SHARED_MEMORY)
    value = f"{size(usage.free)} free of {size(usage.total)}"
    if usage.free < MIN_SHARED_BYTES:
        return [bad(name, value, "docker run --shm-size=1g, or a larger tmpfs")]
    return [good(name, value)]


def size(size_bytes: int) -> str:
    """Bytes as a reader says them."""
    return f"{size_bytes / 2**30:.1f} GiB" if size_bytes >= 2**30 else f"{size_bytes / 2**20:.0f} MiB"
