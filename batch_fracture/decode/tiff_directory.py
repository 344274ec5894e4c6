"""The directories of a TIFF, read without a decoder.

Tag numbers and field types are those of TIFF 6.0, sections 2 and 8; BigTIFF has wider numbers.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import numpy.typing as npt

from batch_fracture.codes import Code
from batch_fracture.errors import ImageError

SUBFILE, COLUMNS, ROWS, BITS, COMPRESSION, PHOTOMETRIC = 254, 256, 257, 258, 259, 262
SAMPLES, ROWS_PER_STRIP, PLANAR, TILE_COLUMNS, TILE_ROWS = 277, 278, 284, 322, 323
ORIENTATION = 274
STRIPS, TILES = (273, 279), (324, 325)
"""Offsets and byte counts."""
_WANTED = frozenset(
    {SUBFILE, COLUMNS, ROWS, BITS, COMPRESSION, PHOTOMETRIC, SAMPLES, ROWS_PER_STRIP, PLANAR}
    | {TILE_COLUMNS, TILE_ROWS, ORIENTATION, *STRIPS, *TILES}
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
_MAX_ENTRIES = 4096
"""A page has some 20; a chain of pages with 65,535 each would take seconds to walk."""

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


def first_directory(content: bytes) -> Directory:
    """The directory that the header leads to; see `read_directory`."""
    big = _is_big(content)
    return read_directory(content, _number(content, 8 if big else 4, 8 if big else 4))


def read_directory(content: bytes, at: int) -> Directory:
    """One page's directory.

    Args:
        content: the whole file.
        at: where it begins.

    Raises:
        ImageError: `TRUNCATED` when it, or a value, lies beyond the end, `CORRUPT` when it is far too long.
    """
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
            dtype = np.dtype(f"u{_BYTES[kind]}").newbyteorder(byte_order(content))
            tags[tag] = np.frombuffer(content, dtype, count=num_values, offset=place)
    return Directory(tags=tags, next_at=_number(content, start + num_entries * entry_bytes, word))


def _is_big(content: bytes) -> bool:
    return content[2:4] in (b"+\0", b"\0+")


def byte_order(content: bytes) -> Literal["little", "big"]:
    """Of the numbers, by the first two bytes."""
    return "little" if content[:2] == b"II" else "big"


def _number(content: bytes, at: int, size: int) -> int:
    if at + size > len(content):
        raise ImageError(Code.TRUNCATED, "a directory of the TIFF lies beyond its end")
    return int.from_bytes(content[at : at + size], byte_order(content))
