"""The markers of a JPEG 2000 codestream (ITU-T T.800 annex A), plain or in a JP2 file, and proof of its end.

HTJ2K (T.814) has the same tile-parts. Their lengths must lead from one to the next, and to the end marker.
What the header asks for beside its pixels is counted first (`jpeg_2000_style`).
"""

from __future__ import annotations

from dataclasses import dataclass

from batch_fracture.codes import Code
from batch_fracture.decode.jpeg_2000_style import COC, COD, Canvas, prove_affordable
from batch_fracture.errors import ImageError

_SOC, _SIZ = b"\xff\x4f", b"\xff\x51"
_SOT, _SOD, _EOC = b"\xff\x90", b"\xff\x93", b"\xff\xd9"
_MAX_TILES = 65535
_JP2 = b"\0\0\0\x0cjP"
Segments = list[tuple[bytes, bytes]]
"""Markers, and the bodies of their segments."""


@dataclass(frozen=True, kw_only=True)
class Jpeg2000Stream:
    """What the main header says."""

    rows: int
    columns: int
    precisions: tuple[int, ...]
    """Bits of each component (T.800 A.5.1, Ssiz)."""
    is_signed: bool
    is_subsampled: bool
    levels: int
    """Of wavelet decomposition: how often the picture can be halved."""
    codestream: memoryview
    """Without the boxes of a JP2 file."""


def read_stream(stream: memoryview) -> Jpeg2000Stream:
    """Read the main header and walk the tile-parts to the end.

    Raises:
        ImageError: `TRUNCATED` when a tile-part or the end marker is missing, `CORRUPT` when malformed,
            `UNSUPPORTED` when it asks for far more than its pixels need.
    """
    codestream = _unboxed(stream)
    if bytes(codestream[:4]) != _SOC + _SIZ:
        raise ImageError(Code.CORRUPT, "a compressed frame does not begin as JPEG 2000")
    segments, at = _segments(codestream, 2, _SOT)
    size, style = (next((body for name, body in segments if name == wanted), b"") for wanted in (_SIZ, COD))
    num = int.from_bytes(size[34:36])
    if len(size) < 36 + 3 * num or not num or len(style) < 6:
        raise ImageError(Code.CORRUPT, "the JPEG 2000 header is malformed")
    components = [size[place : place + 3] for place in range(36, 36 + 3 * num, 3)]
    if len({depth >> 7 for depth, _, _ in components}) > 1:
        raise ImageError(Code.CORRUPT, "the JPEG 2000 header is malformed")
    canvas = _canvas(size, num)
    segments += _prove_tiles(codestream, at, canvas.tiles)
    styles = [segment for segment in segments if segment[0] in (COD, COC)]
    prove_affordable(styles, canvas, len(codestream))
    return Jpeg2000Stream(
        rows=canvas.rows,
        columns=canvas.columns,
        precisions=tuple((depth & 0x7F) + 1 for depth, _, _ in components),
        is_signed=bool(components[0][0] >> 7),
        is_subsampled=any(across != 1 or down != 1 for _, across, down in components),
        levels=style[5],
        codestream=codestream,
    )


def _canvas(size: bytes, components: int) -> Canvas:
    """The picture and its tiles, from the body of SIZ."""
    numbers = [int.from_bytes(size[place : place + 4]) for place in range(2, 34, 4)]
    right, bottom, left, top, tile_width, tile_height, tile_left, tile_top = numbers
    if not (tile_width and tile_height):
        raise ImageError(Code.CORRUPT, "the JPEG 2000 header is malformed")
    tiles = -(-(right - tile_left) // tile_width) * -(-(bottom - tile_top) // tile_height)
    if not 0 < tiles <= _MAX_TILES:
        raise ImageError(Code.CORRUPT, "the JPEG 2000 header is malformed")
    return Canvas(
        rows=bottom - top,
        columns=right - left,
        tile_rows=min(tile_height, bottom - tile_top),
        tile_columns=min(tile_width, right - tile_left),
        tiles=tiles,
        components=components,
    )


def _unboxed(stream: memoryview) -> memoryview:
    """The codestream within the boxes of a JP2 file (T.800 I.4); DICOM asks for it alone (PS3.5 A.4.4)."""
    if bytes(stream[:6]) != _JP2:
        return stream
    at = 0
    while at + 8 <= len(stream):
        length, header = int.from_bytes(stream[at : at + 4]), 8
        if length == 1:
            length, header = int.from_bytes(stream[at + 8 : at + 16]), 16
        if bytes(stream[at + 4 : at + 8]) == b"jp2c":
            return stream[at + header : at + length if length else len(stream)]
        if length < header:
            break
        at += length
    raise ImageError(Code.TRUNCATED, "the compressed frame ends before its codestream")


def _segments(codestream: memoryview, at: int, end: bytes) -> tuple[Segments, int]:
    """The marker segments from `at` on, and where the marker `end` stands."""
    segments: Segments = []
    while at + 2 <= len(codestream):
        marker, length = bytes(codestream[at : at + 2]), int.from_bytes(codestream[at + 2 : at + 4])
        if marker == end:
            return segments, at
        if marker[0] != 0xFF or length < 2:
            raise ImageError(Code.CORRUPT, "the JPEG 2000 header is malformed")
        segments.append((marker, bytes(codestream[at + 4 : at + 2 + length])))
        at += 2 + length
    raise ImageError(Code.TRUNCATED, "the compressed frame ends within its header")


def _prove_tiles(codestream: memoryview, at: int, tiles: int) -> Segments:
    """Follow Psot from tile-part to tile-part (T.800 A.4.2); each tile needs one, and the end its marker.

    Returns:
        The segments of the tile-parts' headers.
    """
    seen: set[int] = set()
    segments: Segments = []
    while bytes(codestream[at : at + 2]) == _SOT and at + 12 <= len(codestream):
        seen.add(int.from_bytes(codestream[at + 4 : at + 6]))
        segments += _segments(codestream, at + 12, _SOD)[0]
        length = int.from_bytes(codestream[at + 6 : at + 10])
        if not length:  # the last tile-part lasts until the end marker
            at = bytes(codestream[-4:]).rfind(_EOC) + len(codestream) - 4
            break
        if length < 14:
            raise ImageError(Code.CORRUPT, "a tile-part of the JPEG 2000 frame has no length")
        at += length
    if bytes(codestream[at : at + 2]) != _EOC or len(seen) < tiles:
        raise ImageError(Code.TRUNCATED, "the compressed frame ends before its end marker")
    return segments
