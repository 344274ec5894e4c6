"""What a JPEG 2000 header asks for beside its pixels (ITU-T T.800 A.6): precincts and quality layers.

OpenJPEG takes half a kilobyte for each precinct, and a word for each layer of it, before it looks at the
data: 600 bytes that name precincts of 2 x 2 pixels and 65,535 layers can cost gigabytes. So they are counted.
"""

from __future__ import annotations

from dataclasses import dataclass

from batch_fracture.codes import Code
from batch_fracture.errors import ImageError

COD, COC = b"\xff\x52", b"\xff\x53"
"""Coding style default, and of one component."""
_MAX_LEVELS = 32
_PIXELS_PER_PRECINCT, _FEW_PRECINCTS = 64, 1024
"""Encoders make precincts of 64 x 64 pixels at the least, smaller ones only for the reduced copies."""


@dataclass(frozen=True, kw_only=True)
class Canvas:
    """The size of the picture and of its tiles (T.800 A.5.1)."""

    rows: int
    columns: int
    tile_rows: int
    tile_columns: int
    tiles: int
    components: int


def prove_affordable(styles: list[tuple[bytes, bytes]], canvas: Canvas, size_bytes: int) -> None:
    """See that precincts and packets are in proportion to the pixels and to the bytes.

    Args:
        styles: every COD and COC segment of the main header and of the tile-parts' headers: marker and body.
        canvas: the picture.
        size_bytes: of the codestream; a packet, of each layer of each precinct, takes one at the least.

    Raises:
        ImageError: `CORRUPT` when malformed, `TRUNCATED` when there are more packets than bytes,
            `UNSUPPORTED` for tiny precincts, or those of a component alone.
    """
    for marker, body in styles:
        if marker == COC:
            style_at = 1 if canvas.components < 257 else 2
            if body[style_at : style_at + 1] in (b"", b"\0"):
                continue
            raise ImageError(Code.UNSUPPORTED, "JPEG 2000 with precincts of each component is not supported")
        levels = body[5] if len(body) >= 10 else _MAX_LEVELS + 1
        sizes = body[10:] if body[:1] and body[0] & 1 else b"\xff" * (levels + 1)
        if levels > _MAX_LEVELS or len(sizes) <= levels:
            raise ImageError(Code.CORRUPT, "the JPEG 2000 header is malformed")
        most = canvas.rows * canvas.columns // _PIXELS_PER_PRECINCT + _FEW_PRECINCTS
        if canvas.tiles * _at_most(canvas, levels, sizes) > most:
            raise ImageError(Code.UNSUPPORTED, "JPEG 2000 with tiny precincts or tiles is not supported")
        packets = int.from_bytes(body[2:4]) * canvas.components * _at_least(canvas, levels, sizes)
        if packets > size_bytes:
            raise ImageError(Code.TRUNCATED, f"{size_bytes} bytes of JPEG 2000 cannot hold {packets} packets")


def _at_most(canvas: Canvas, levels: int, sizes: bytes) -> int:
    """Precincts of one tile and component; it may lie across their grid."""
    return sum(
        ((canvas.tile_columns >> levels - number >> (size & 15)) + 2)
        * ((canvas.tile_rows >> levels - number >> (size >> 4)) + 2)
        for number, size in enumerate(sizes[: levels + 1])
    )


def _at_least(canvas: Canvas, levels: int, sizes: bytes) -> int:
    """Precincts of one component, were it one tile; the smallest copies of a small picture may be empty."""
    total = 0
    for number, size in enumerate(sizes[: levels + 1]):
        columns, rows = canvas.columns >> levels - number, canvas.rows >> levels - number
        if columns and rows:
            total += max(1, columns >> (size & 15)) * max(1, rows >> (size >> 4))
    return total
