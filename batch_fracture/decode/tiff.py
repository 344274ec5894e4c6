"""TIFF: its directories, read without a decoder, and the proof that all strips lie within the file.

Tag numbers and field types are those of TIFF 6.0, sections 2 and 8; BigTIFF has wider numbers.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import numpy.typing as npt

from batch_fracture.codes import Code
from batch_fracture.decode.containers import Layout
from batch_fracture.decode.inflate import prove_stream
from batch_fracture.errors import ImageError

_SUBFILE, _COLUMNS, _ROWS, _BITS, _COMPRESSION, _PHOTOMETRIC = 254, 256, 257, 258, 259, 262
_SAMPLES, _ROWS_PER_STRIP, _PLANAR, _TILE_COLUMNS, _TILE_ROWS = 277, 278, 284, 322, 323
_ORIENTATION = 274
_STRIPS, _TILES = (273, 279), (324, 325)
"""Offsets and byte counts."""
_WANTED = frozenset(
    {_SUBFILE, _COLUMNS, _ROWS, _BITS, _COMPRESSION, _PHOTOMETRIC, _SAMPLES, _ROWS_PER_STRIP, _PLANAR}
    | {_TILE_COLUMNS, _TILE_ROWS, _ORIENTATION, *_STRIPS, *_TILES}
)
_BYTES = {
    1: 1,
    2: 1,
    3: 2,
    4: 4,
    5: 8,
    6: 1,
    7: 1,
    8: 2,
    9: 4,
    10: 8,
    11: 4,
    12: 8,
    13: 4,
    16: 8,
    17: 8,
    18: 8,
}
"""Field type -> bytes of one value."""
_UNSIGNED = frozenset({1, 3, 4, 13, 16, 18})
_MAX_ENTRIES, _MAX_PAGES = 65535, 64
_RGB, _YCBCR, _JPEG = 2, 6, 7
_DEFLATE = frozenset({8, 32946})
_FAX = frozenset({2, 3, 4, 32771})
"""CCITT codings (TIFF 6.0 sections 10 and 11): libtiff fills damaged rows and goes on."""

Numbers = npt.NDArray[np.unsignedinteger]


@dataclass(frozen=True, kw_only=True)
class Directory:
    """The tags of one page that matter here."""

    tags: dict[int, Numbers] = field(default_factory=dict)
    next_at: int = 0
    """Offset of the next page's directory; 0 after the last."""

    def first(self, tag: int, default: int) -> int:
        """The first value of a tag."""
        values = self.tags.get(tag)
        return int(values[0]) if values is not None and len(values) else default


@dataclass(frozen=True, kw_only=True)
class _Grid:
    """How a page is cut into strips or tiles."""

    tiled: bool
    offsets: Numbers
    sizes: Numbers
    rows: int
    """Of one strip or tile; the last strip may have fewer."""
    columns: int
    down: int
    across: int
    planes: int


def read_layout(content: bytes) -> Layout:
    """Size, depth and pages; a reduced copy after the full page does not count as a page.

    Raises:
        ImageError: `TRUNCATED` when a directory, a value or a strip lies beyond the end, `CORRUPT`,
            `UNSUPPORTED` for fax codings, whose damage nobody would notice.
    """
    page = _first_directory(content)
    layout = Layout(
        rows=page.first(_ROWS, 0),
        columns=page.first(_COLUMNS, 0),
        bits=page.first(_BITS, 1),
        frames=_count_pages(content, page),
    )
    _prove_complete(content, page, layout)
    if page.first(_COMPRESSION, 1) in _FAX:
        raise ImageError(Code.UNSUPPORTED, "fax-coded TIFF is not supported")
    return layout


def prove_inflates(content: bytes) -> None:
    """See that deflated strips hold the bytes of their rows; libtiff does not check their checksums.

    Raises:
        ImageError: `TRUNCATED` or `CORRUPT`.
    """
    page = _first_directory(content)
    if page.first(_COMPRESSION, 1) not in _DEFLATE or page.first(_PHOTOMETRIC, 1) == _YCBCR:
        return
    grid = _grid(page)
    last_rows = page.first(_ROWS, 0) - grid.rows * (grid.down - 1)
    row_bytes = -(-grid.columns * page.first(_BITS, 1) * page.first(_SAMPLES, 1) // grid.planes // 8)
    for number, (offset, size) in enumerate(zip(grid.offsets.tolist(), grid.sizes.tolist(), strict=False)):
        is_last = not grid.tiled and number % grid.down == grid.down - 1
        rows = last_rows if is_last else grid.rows
        prove_stream([content[offset : offset + size]], rows * row_bytes)


def is_white_zero(content: bytes) -> bool:
    """Whether 0 is white (PhotometricInterpretation 0), as on a film."""
    return _first_directory(content).first(_PHOTOMETRIC, 1) == 0


def orientation(content: bytes) -> int:
    """How the picture is stored (TIFF 6.0, tag 274); 1 is upright."""
    return _first_directory(content).first(_ORIENTATION, 1)


def has_deep_colour(content: bytes) -> bool:
    """Whether pixels are several samples of 16 bits: RGB, or grey, with or without alpha."""
    page = _first_directory(content)
    several = page.first(_SAMPLES, 1) > 1 and page.first(_PHOTOMETRIC, 1) <= _RGB
    return several and page.first(_BITS, 1) == 16


def is_planar(content: bytes) -> bool:
    """Whether each sample has a plane of its own (PlanarConfiguration 2)."""
    return _first_directory(content).first(_PLANAR, 1) == 2


def exif_orientation(exif: bytes) -> int:
    """The orientation in an Exif block, which is a TIFF of its own; 1 (upright) without one."""
    order = _order(exif)
    at = int.from_bytes(exif[4:8], order)
    for entry in range(at + 2, at + 2 + 12 * int.from_bytes(exif[at : at + 2], order), 12):
        if int.from_bytes(exif[entry : entry + 2], order) == _ORIENTATION:
            return int.from_bytes(exif[entry + 8 : entry + 10], order)
        if entry > len(exif):
            break
    return 1


def _first_directory(content: bytes) -> Directory:
    big = _is_big(content)
    return _directory(content, _number(content, 8 if big else 4, 8 if big else 4))


def _count_pages(content: bytes, first: Directory) -> int:
    pages = [first]
    while pages[-1].next_at and len(pages) < _MAX_PAGES:  # a chain that returns to itself ends here too
        pages.append(_directory(content, pages[-1].next_at))
    if first.first(_SUBFILE, 0) & 1:  # the small copy comes first; the decoder would read that
        return len(pages)
    return sum(page.first(_SUBFILE, 0) & 1 == 0 for page in pages)


def _directory(content: bytes, at: int) -> Directory:
    count_bytes, entry_bytes, word = (8, 20, 8) if _is_big(content) else (2, 12, 4)
    num_entries = _number(content, at, count_bytes)
    if num_entries > _MAX_ENTRIES:
        raise ImageError(Code.CORRUPT, f"a directory of the TIFF has {num_entries} entries")
    start = at + count_bytes
    tags = {}
    for entry in range(start, start + num_entries * entry_bytes, entry_bytes):
        tag, kind = _number(content, entry, 2), _number(content, entry + 2, 2)
        num_values = _number(content, entry + 4, word)
        size = _BYTES.get(kind, 0) * num_values
        place = entry + 4 + word
        if size > word:
            place = _number(content, place, word)
        if place + size > len(content):
            raise ImageError(Code.TRUNCATED, "a value of the TIFF lies beyond its end")
        if tag in _WANTED and kind in _UNSIGNED:
            dtype = np.dtype(f"u{_BYTES[kind]}").newbyteorder(_order(content))
            tags[tag] = np.frombuffer(content, dtype, count=num_values, offset=place)
    return Directory(tags=tags, next_at=_number(content, start + num_entries * entry_bytes, word))


def _grid(page: Directory) -> _Grid:
    tiled = _TILES[0] in page.tags
    offsets, sizes = (page.tags.get(tag, np.zeros(0, np.uint64)) for tag in (_TILES if tiled else _STRIPS))
    page_rows, page_columns = page.first(_ROWS, 0), page.first(_COLUMNS, 0)
    rows = page.first(_TILE_ROWS, 0) if tiled else min(page.first(_ROWS_PER_STRIP, page_rows), page_rows)
    columns = page.first(_TILE_COLUMNS, 0) if tiled else page_columns
    if not (rows and columns):
        raise ImageError(Code.CORRUPT, "the TIFF's strips have no size")
    return _Grid(
        tiled=tiled,
        offsets=offsets,
        sizes=sizes,
        rows=rows,
        columns=columns,
        down=-(-page_rows // rows),
        across=-(-page_columns // columns),
        planes=page.first(_SAMPLES, 1) if page.first(_PLANAR, 1) == 2 else 1,
    )


def _prove_complete(content: bytes, page: Directory, layout: Layout) -> None:
    """Every strip or tile is named and lies within the file; plain ones are large enough for their pixels."""
    grid = _grid(page)
    if len(grid.offsets) < grid.down * grid.across * grid.planes:
        raise ImageError(Code.CORRUPT, "the TIFF names fewer strips than its picture needs")
    num = min(len(grid.offsets), len(grid.sizes))
    ends = grid.offsets[:num].astype(np.float64) + grid.sizes[:num]
    if num and int(ends.max()) > len(content):
        raise ImageError(Code.TRUNCATED, "a strip of the TIFF lies beyond its end")
    compression, samples = page.first(_COMPRESSION, 1), page.first(_SAMPLES, 1)
    if compression == _JPEG:
        _prove_closed(content, grid.offsets[:num], grid.sizes[:num])
    plain = compression == 1 and page.first(_PHOTOMETRIC, 1) != _YCBCR
    row_bytes = -(-layout.columns * layout.bits * (samples // grid.planes) // 8)
    if plain and num and int(grid.sizes[:num].sum(dtype=np.float64)) < layout.rows * row_bytes * grid.planes:
        raise ImageError(Code.TRUNCATED, "the TIFF's strips hold fewer bytes than its picture needs")


def _prove_closed(content: bytes, offsets: Numbers, sizes: Numbers) -> None:
    """Every strip ends with JPEG's end marker, perhaps padded; libtiff would make up what is missing."""
    for end in (int(offset) + int(size) for offset, size in zip(offsets, sizes, strict=True)):
        if b"\xff\xd9" not in content[end - 4 : end]:
            raise ImageError(Code.TRUNCATED, "a JPEG strip of the TIFF ends early")


def _is_big(content: bytes) -> bool:
    return content[2:4] in (b"+\0", b"\0+")


def _order(content: bytes) -> Literal["little", "big"]:
    return "little" if content[:2] == b"II" else "big"


def _number(content: bytes, at: int, size: int) -> int:
    if at + size > len(content):
        raise ImageError(Code.TRUNCATED, "a directory of the TIFF lies beyond its end")
    return int.from_bytes(content[at : at + size], _order(content))
