"""PNG, GIF, WebP and BMP: size and frames from the container itself, and the proof that it is complete.

No decoder runs here, so a header that claims too much costs no memory, and a file that was cut is found out
even where the decoder would fill in the rest.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass

from batch_fracture.codes import Code
from batch_fracture.errors import ImageError


@dataclass(frozen=True, kw_only=True)
class Layout:
    """What a container says of its picture."""

    rows: int
    columns: int
    bits: int = 8
    """Per sample."""
    frames: int = 1

    def __post_init__(self) -> None:
        if not (0 < self.rows < 2**31 and 0 < self.columns < 2**31 and 0 < self.bits <= 64):
            raise ImageError(Code.CORRUPT, "the header gives no possible size")


def png(content: bytes) -> Layout:
    """Walk the chunks (RFC 2083 3.2); the checksums of those that a decoder needs are checked.

    Raises:
        ImageError: `TRUNCATED` without an end chunk, `CORRUPT` with a wrong checksum.
    """
    view, at, frames = memoryview(content), 8, 1
    while at + 12 <= len(view):
        kind = bytes(view[at + 4 : at + 8])
        end = at + 12 + _big(content, at, 4)
        if end > len(view):
            break
        if kind[:1].isupper() and zlib.crc32(view[at + 4 : end - 4]) != _big(content, end - 4, 4):
            raise ImageError(Code.CORRUPT, "a chunk of the PNG does not match its checksum")
        if (at == 8) is not (kind == b"IHDR"):
            raise ImageError(Code.CORRUPT, "the PNG does not begin with its header chunk")
        if kind == b"acTL":  # animated PNG, PNG 3rd edition 11.3.6.1
            frames = _big(content, at + 8, 4)
        if kind == b"IEND":
            return Layout(
                rows=_big(content, 20, 4), columns=_big(content, 16, 4), bits=content[24], frames=frames
            )
        at = end
    raise ImageError(Code.TRUNCATED, "the PNG has no end chunk")


def gif(content: bytes) -> Layout:
    """Walk the blocks (GIF89a, sections 15 to 27).

    Raises:
        ImageError: `TRUNCATED` without a trailer, `CORRUPT` with an unknown block.
    """
    at, frames = 13 + _gif_table(content, 10), 0
    columns, rows = _little(content, 6, 2), _little(content, 8, 2)
    while at < len(content):
        block = content[at]
        if block == 0x3B:
            return Layout(rows=rows, columns=columns, frames=frames)
        if block == 0x2C:  # a frame that sticks out makes the picture larger
            frames += 1
            columns = max(columns, _little(content, at + 1, 2) + _little(content, at + 5, 2))
            rows = max(rows, _little(content, at + 3, 2) + _little(content, at + 7, 2))
            at += 11 + _gif_table(content, at + 9)
        elif block == 0x21:
            at += 2
        else:
            raise ImageError(Code.CORRUPT, "the GIF holds an unknown block")
        while at < len(content) and content[at]:
            at += 1 + content[at]
        at += 1
    raise ImageError(Code.TRUNCATED, "the GIF has no trailer")


def _gif_table(content: bytes, at: int) -> int:
    """Bytes of the colour table that the flags at `at` announce."""
    flags = _little(content, at, 1)
    return 3 << ((flags & 7) + 1) if flags & 0x80 else 0


def webp(content: bytes) -> Layout:
    """Walk the RIFF chunks (WebP container specification).

    Raises:
        ImageError: `TRUNCATED` or `CORRUPT`.
    """
    end = _little(content, 4, 4) + 8
    if end > len(content):
        raise ImageError(Code.TRUNCATED, f"the WebP holds {len(content)} of {end} bytes")
    at, frames, size = 12, 0, (0, 0)
    while at + 8 <= end:
        kind, length, body = content[at : at + 4], _little(content, at + 4, 4), at + 8
        if body + length > end:
            raise ImageError(Code.CORRUPT, "a chunk of the WebP reaches beyond its end")
        if kind == b"VP8X":
            size = (1 + _little(content, body + 7, 3), 1 + _little(content, body + 4, 3))
        elif kind == b"VP8L" and not any(size):
            packed = _little(content, body + 1, 4)
            size = (1 + (packed >> 14 & 0x3FFF), 1 + (packed & 0x3FFF))
        elif kind == b"VP8 " and not any(size):
            size = (_little(content, body + 8, 2) & 0x3FFF, _little(content, body + 6, 2) & 0x3FFF)
        frames += kind == b"ANMF"
        at = body + length + length % 2
    return Layout(rows=size[0], columns=size[1], frames=max(1, frames))


def bmp(content: bytes) -> Layout:
    """Read the two headers (BITMAPFILEHEADER, BITMAPINFOHEADER and its older and newer kinds).

    Raises:
        ImageError: `TRUNCATED` when the rows, or the declared file, reach beyond the end.
    """
    if _little(content, 14, 4) == 12:
        columns, rows, bits, compression = (
            _little(content, 18, 2),
            _little(content, 20, 2),
            _little(content, 24, 2),
            0,
        )
    else:
        columns, rows = _little(content, 18, 4), abs(int.from_bytes(content[22:26], "little", signed=True))
        bits, compression = _little(content, 28, 2), _little(content, 30, 4)
    needed = _little(content, 2, 4)
    if compression in (0, 3):  # plain rows, padded to 4 bytes; the declared file size is often wrong
        needed = _little(content, 10, 4) + (columns * bits + 31) // 32 * 4 * rows
    if needed > len(content):
        raise ImageError(Code.TRUNCATED, f"the BMP holds {len(content)} of {needed} bytes")
    return Layout(rows=rows, columns=columns)


LAYOUTS: dict[str, Callable[[bytes], Layout]] = {
    "image/png": png,
    "image/gif": gif,
    "image/webp": webp,
    "image/bmp": bmp,
}
"""Media type -> its reader."""


def _big(content: bytes, at: int, size: int) -> int:
    return int.from_bytes(content[at : at + size])


def _little(content: bytes, at: int, size: int) -> int:
    return int.from_bytes(content[at : at + size], "little")
