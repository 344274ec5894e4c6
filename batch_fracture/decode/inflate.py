"""The proof that zlib streams hold whole pictures: decoders stop early or fill in the rest without a word.

The bytes are counted in small pieces and dropped, so that a stream which inflates without end costs nothing.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator

from batch_fracture.codes import Code
from batch_fracture.errors import ImageError

_PIECE_BYTES, _FED_BYTES = 2**18, 2**16
_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
"""PNG colour type -> samples per pixel (RFC 2083 4.1.1)."""
_ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
"""First column and row of each pass of an interlaced PNG, and its steps (RFC 2083 2.6)."""


def prove_stream(pieces: Iterable[bytes | memoryview], needed_bytes: int) -> None:
    """Inflate a zlib stream to see that it holds the bytes of a picture, and that its checksum is right.

    Args:
        pieces: the stream, in order.
        needed_bytes: of the picture; more is let be.

    Raises:
        ImageError: `TRUNCATED` when it ends before, `CORRUPT` when it does not inflate.
    """
    stream, inflated_bytes = zlib.decompressobj(), 0
    try:
        for piece in _small(pieces):
            rest = piece
            while rest and not stream.eof and inflated_bytes <= needed_bytes:
                inflated_bytes += len(stream.decompress(rest, _PIECE_BYTES))
                rest = stream.unconsumed_tail
    except zlib.error as error:
        raise ImageError(Code.CORRUPT, "the compressed pixels are damaged") from error
    if inflated_bytes < needed_bytes:
        raise ImageError(Code.TRUNCATED, f"the pixels end after {inflated_bytes} of {needed_bytes} bytes")


def _small(pieces: Iterable[bytes | memoryview]) -> Iterator[bytes]:
    """Pieces of what zlib has not come to yet are copied each time; of large ones that would take hours."""
    for piece in pieces:
        for at in range(0, len(piece), _FED_BYTES):
            yield bytes(piece[at : at + _FED_BYTES])


def inflate_frame(stream: memoryview, size: int) -> bytes:
    """Inflate a raw deflate stream (RFC 1951) that holds one frame, and no more than that.

    Args:
        stream: the frame as it is stored, perhaps with a byte of padding.
        size: bytes of the frame.

    Raises:
        ImageError: `TRUNCATED` when it ends before, `CORRUPT` when it does not inflate or holds more.
    """
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        frame = inflater.decompress(stream, size + 2)  # one byte of padding may be deflated with the frame
    except zlib.error as error:
        raise ImageError(Code.CORRUPT, "the compressed pixels are damaged") from error
    if len(frame) > size + 1:
        raise ImageError(Code.CORRUPT, f"the compressed frame holds more than its {size} bytes")
    if len(frame) < size or not inflater.eof:
        raise ImageError(Code.TRUNCATED, f"the pixels end after {len(frame)} of {size} bytes")
    return frame


def prove_png(content: bytes) -> None:
    """See that the rows of a PNG, whose chunks are in order, are all there.

    Raises:
        ImageError: `TRUNCATED` or `CORRUPT`.
    """
    columns, rows = int.from_bytes(content[16:20]), int.from_bytes(content[20:24])
    bits, colour_type, interlaced = content[24], content[25], content[28]
    bits_per_pixel = bits * _CHANNELS.get(colour_type, 1)
    needed_bytes = 0
    for left, top, across, down in _ADAM7 if interlaced else ((0, 0, 1, 1),):
        width, height = -(-(columns - left) // across), -(-(rows - top) // down)
        if width > 0 and height > 0:
            needed_bytes += height * (1 + -(-width * bits_per_pixel // 8))
    prove_stream(_png_pixels(content), needed_bytes)


def _png_pixels(content: bytes) -> Iterator[memoryview]:
    view, at = memoryview(content), 8
    while at + 12 <= len(content):
        length = int.from_bytes(content[at : at + 4])
        if content[at + 4 : at + 8] == b"IDAT":
            yield view[at + 8 : at + 8 + length]
        at += 12 + length
