"""A deflated DICOM object (PS3.5 A.5) as a file that inflates as far as it is read.

To skip an object costs its header only. Bytes that are only counted are dropped in small pieces.
"""

from __future__ import annotations

import io
import zlib

from batch_fracture.codes import Code
from batch_fracture.decode.dicom_limits import Metered
from batch_fracture.errors import ImageError

_PIECE_BYTES = 2**18


class InflatingFile(Metered):
    """A file whose rest is deflated, and inflates as far as somebody reads it."""

    def __init__(self, head: bytes, deflated: memoryview, max_bytes: int) -> None:
        super().__init__(head)
        self._inflater = zlib.decompressobj(-zlib.MAX_WBITS)
        self._deflated, self._at, self._tail = deflated, 0, b""
        self._num_bytes, self._max_bytes = len(head), max_bytes

    def read(self, size: int | None = -1, /) -> bytes:
        """As `io.BytesIO.read`.

        Raises:
            ImageError: `TRUNCATED` when the stream ends before its end, `TOO_LARGE` beyond `max_bytes`.
        """
        is_all = size is None or size < 0
        self._reach(self._max_bytes + 1 if is_all else self.tell() + (size or 0))
        return super().read(size)

    def complete(self, stop: int) -> bytes:
        """All bytes up to `stop`, and perhaps some more.

        What follows is inflated, counted and dropped: only the stream's end shows that nothing is missing.

        Raises:
            ImageError: as `read`.
        """
        self._reach(stop)
        while not self._inflater.eof:
            self._inflate(_PIECE_BYTES)
        return self.getvalue()

    def _reach(self, stop: int) -> None:
        place = self.tell()
        self.seek(0, io.SEEK_END)
        while self._num_bytes < stop and not self._inflater.eof:
            self.write(self._inflate(max(_PIECE_BYTES, stop - self._num_bytes)))
        self.seek(place)

    def _inflate(self, size: int) -> bytes:
        """The next bytes, at most so many. Deflated ones go in by pieces, for zlib copies what it leaves."""
        if not self._tail:
            self._tail = bytes(self._deflated[self._at : self._at + _PIECE_BYTES])
            self._at += len(self._tail)
        has_more = bool(self._tail)
        room = max(1, min(size, self._max_bytes + 1 - self._num_bytes))
        piece = self._inflater.decompress(self._tail, room)
        self._tail, self._num_bytes = self._inflater.unconsumed_tail, self._num_bytes + len(piece)
        if self._num_bytes > self._max_bytes:
            raise ImageError(
                Code.TOO_LARGE, f"the DICOM object inflates to more than {self._max_bytes:,} bytes"
            )
        if not (piece or has_more or self._inflater.eof):
            raise ImageError(Code.TRUNCATED, "the deflated DICOM object ends early")
        return piece
