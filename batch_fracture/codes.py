"""What can become of an image: three statuses, and the codes that explain the two that are not `read`."""

from __future__ import annotations

from enum import StrEnum


class Status(StrEnum):
    """The fate of a listed image; every one has exactly one."""

    READ = "read"
    SKIPPED = "skipped"
    FAILED = "failed"


class Code(StrEnum):
    """Why an image was skipped or failed."""

    # skipped: nothing is wrong with the file, it is just not a radiograph to read
    NOT_AN_IMAGE = "NOT_AN_IMAGE"
    NOT_A_RADIOGRAPH = "NOT_A_RADIOGRAPH"
    MULTI_FRAME = "MULTI_FRAME"
    ANIMATED = "ANIMATED"
    # failed, final: trying again would give the same
    TRUNCATED = "TRUNCATED"
    CORRUPT = "CORRUPT"
    UNSUPPORTED = "UNSUPPORTED"
    TOO_LARGE = "TOO_LARGE"
    DECODER_CRASHED = "DECODER_CRASHED"
    TIMED_OUT = "TIMED_OUT"
    OUT_OF_MEMORY = "OUT_OF_MEMORY"
    # failed, transient: tried again on later nights
    GONE = "GONE"
    CHANGED = "CHANGED"
    ACCESS_DENIED = "ACCESS_DENIED"
    STORE_ERROR = "STORE_ERROR"
    NAME_UNREADABLE = "NAME_UNREADABLE"

    @property
    def status(self) -> Status:
        """`skipped` or `failed`."""
        return Status.SKIPPED if self in SKIPPED else Status.FAILED

    @property
    def transient(self) -> bool:
        """Whether a later night tries the image again."""
        return self in TRANSIENT


SKIPPED = frozenset({Code.NOT_AN_IMAGE, Code.NOT_A_RADIOGRAPH, Code.MULTI_FRAME, Code.ANIMATED})
TRANSIENT = frozenset({Code.GONE, Code.CHANGED, Code.ACCESS_DENIED, Code.STORE_ERROR, Code.NAME_UNREADABLE})
DECIDED_BY_SETTINGS = frozenset({Code.NOT_A_RADIOGRAPH, Code.TOO_LARGE, Code.TIMED_OUT, Code.OUT_OF_MEMORY})
"""Codes that another value of a reading setting (`ReadingSettings`) could turn into a read."""

MAX_RETRIES = 5
"""How many later nights try a transient failure again."""
