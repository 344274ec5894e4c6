"""TIFF: size, depth and pages, and the proof that all strips or tiles lie within the file."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from batch_fracture.codes import Code
from batch_fracture.decode.containers import Layout
from batch_fracture.decode.inflate import prove_stream
from batch_fracture.decode.tiff_directory import (
    BITS,
    COLUMNS,
    COMPRESSION,
    ORIENTATION,
    PHOTOMETRIC,
    PLANAR,
    ROWS,
    ROWS_PER_STRIP,
    SAMPLES,
    STRIPS,
    SUBFILE,
    TILE_COLUMNS,
    TILE_ROWS,
    TILES,
    Directory,
    Numbers,
    byte_order,
    first_directory,
    read_directory,
)
from batch_fracture.errors import ImageError

_MAX_PAGES = 64
_MAX_SAMPLES = 6
"""Of a pixel, as Pillow has it; libtiff would make room for 65,535."""
_SMALL_TILE = 1024
"""Pixels; libtiff makes room for a whole tile, however small the picture is. Up to 1024 is usual."""
_RGB, _YCBCR, _JPEG = 2, 6, 7
_DEFLATE = frozenset({8, 32946})
_FAX = frozenset({2, 3, 4, 32771})
"""CCITT codings (TIFF 6.0 sections 10 and 11): libtiff fills damaged rows and goes on."""


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
    page = first_directory(content)
    layout = Layout(
        rows=page.first(ROWS, 0),
        columns=page.first(COLUMNS, 0),
        bits=page.first(BITS, 1),
        frames=_count_pages(content, page),
    )
    _prove_complete(content, page, layout)
    if page.first(COMPRESSION, 1) in _FAX:
        raise ImageError(Code.UNSUPPORTED, "fax-coded TIFF is not supported")
    return layout


def prove_inflates(content: bytes) -> None:
    """See that deflated strips hold the bytes of their rows; libtiff does not check their checksums.

    Raises:
        ImageError: `TRUNCATED` or `CORRUPT`.
    """
    page = first_directory(content)
    if page.first(COMPRESSION, 1) not in _DEFLATE or page.first(PHOTOMETRIC, 1) == _YCBCR:
        return
    grid, view = _grid(page), memoryview(content)
    last_rows = page.first(ROWS, 0) - grid.rows * (grid.down - 1)
    row_bytes = -(-grid.columns * page.first(BITS, 1) * page.first(SAMPLES, 1) // grid.planes // 8)
    for number, (offset, size) in enumerate(zip(grid.offsets.tolist(), grid.sizes.tolist(), strict=False)):
        is_last = not grid.tiled and number % grid.down == grid.down - 1
        rows = last_rows if is_last else grid.rows
        prove_stream([view[offset : offset + size]], rows * row_bytes)


def is_white_zero(content: bytes) -> bool:
    """Whether 0 is white (PhotometricInterpretation 0), as on a film."""
    return first_directory(content).first(PHOTOMETRIC, 1) == 0


def orientation(content: bytes) -> int:
    """How the picture is stored (TIFF 6.0, tag 274); 1 is upright."""
    return first_directory(content).first(ORIENTATION, 1)


def has_deep_colour(content: bytes) -> bool:
    """Whether pixels are several samples of 16 bits: RGB, or grey, with or without alpha."""
    page = first_directory(content)
    several = page.first(SAMPLES, 1) > 1 and page.first(PHOTOMETRIC, 1) <= _RGB
    return several and page.first(BITS, 1) == 16


def is_planar(content: bytes) -> bool:
    """Whether each sample has a plane of its own (PlanarConfiguration 2)."""
    return first_directory(content).first(PLANAR, 1) == 2


def exif_orientation(exif: bytes) -> int:
    """The orientation in an Exif block, which is a TIFF of its own; 1 (upright) without one."""
    order = byte_order(exif)
    at = int.from_bytes(exif[4:8], order)
    for entry in range(at + 2, at + 2 + 12 * int.from_bytes(exif[at : at + 2], order), 12):
        if int.from_bytes(exif[entry : entry + 2], order) == ORIENTATION:
            return int.from_bytes(exif[entry + 8 : entry + 10], order)
        if entry > len(exif):
            break
    return 1


def _count_pages(content: bytes, first: Directory) -> int:
    pages = [first]
    while pages[-1].next_at and len(pages) < _MAX_PAGES:  # a chain that returns to itself ends here too
        pages.append(read_directory(content, pages[-1].next_at))
    if first.first(SUBFILE, 0) & 1:  # the small copy comes first; the decoder would read that
        return len(pages)
    return sum(page.first(SUBFILE, 0) & 1 == 0 for page in pages)


def _grid(page: Directory) -> _Grid:
    tiled = TILES[0] in page.tags
    offsets, sizes = (page.tags.get(tag, np.zeros(0, np.uint64)) for tag in (TILES if tiled else STRIPS))
    page_rows, page_columns = page.first(ROWS, 0), page.first(COLUMNS, 0)
    rows = page.first(TILE_ROWS, 0) if tiled else min(page.first(ROWS_PER_STRIP, page_rows), page_rows)
    columns = page.first(TILE_COLUMNS, 0) if tiled else page_columns
    samples = page.first(SAMPLES, 1)
    if not (rows and columns and samples):
        raise ImageError(Code.CORRUPT, "the TIFF's strips have no size")
    if samples > _MAX_SAMPLES:
        raise ImageError(Code.UNSUPPORTED, f"a TIFF with {samples} samples per pixel is not supported")
    if tiled and (rows > _whole_tiles(page_rows) or columns > _whole_tiles(page_columns)):
        raise ImageError(Code.CORRUPT, "the TIFF's tiles are far larger than its picture")
    return _Grid(
        tiled=tiled,
        offsets=offsets,
        sizes=sizes,
        rows=rows,
        columns=columns,
        down=-(-page_rows // rows),
        across=-(-page_columns // columns),
        planes=samples if page.first(PLANAR, 1) == 2 else 1,
    )


def _whole_tiles(side: int) -> int:
    return -(-side // _SMALL_TILE) * _SMALL_TILE


def _prove_complete(content: bytes, page: Directory, layout: Layout) -> None:
    """Every strip or tile is named and lies within the file; plain ones are large enough for their pixels."""
    grid = _grid(page)
    if len(grid.offsets) < grid.down * grid.across * grid.planes:
        raise ImageError(Code.CORRUPT, "the TIFF names fewer strips than its picture needs")
    num = min(len(grid.offsets), len(grid.sizes))
    ends = grid.offsets[:num].astype(np.float64) + grid.sizes[:num]
    if num and int(ends.max()) > len(content):
        raise ImageError(Code.TRUNCATED, "a strip of the TIFF lies beyond its end")
    compression, samples = page.first(COMPRESSION, 1), page.first(SAMPLES, 1)
    if compression == _JPEG:
        _prove_closed(content, grid.offsets[:num], grid.sizes[:num])
    plain = compression == 1 and page.first(PHOTOMETRIC, 1) != _YCBCR
    row_bytes = -(-layout.columns * layout.bits * (samples // grid.planes) // 8)
    if plain and num and int(grid.sizes[:num].sum(dtype=np.float64)) < layout.rows * row_bytes * grid.planes:
        raise ImageError(Code.TRUNCATED, "the TIFF's strips hold fewer bytes than its picture needs")


def _prove_closed(content: bytes, offsets: Numbers, sizes: Numbers) -> None:
    """Every strip ends with JPEG's end marker, perhaps padded; libtiff would make up what is missing."""
    for end in (int(offset) + int(size) for offset, size in zip(offsets, sizes, strict=True)):
        if b"\xff\xd9" not in content[end - 4 : end]:
            raise ImageError(Code.TRUNCATED, "a JPEG strip of the TIFF ends early")
