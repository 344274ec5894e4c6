"""Where the pixel data lies in a DICOM object, and the frames within it, without a copy where one suffices.

The walk follows the lengths that the items state (PS3.5 A.4) and never searches for a delimiter, so that
bytes of a codestream that look like one do no harm, and an item that reaches beyond the end is noticed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pydicom

from batch_fracture.codes import Code
from batch_fracture.errors import ImageError

_ELEMENTS = {(0x7FE0, 0x0010): None, (0x7FE0, 0x0008): np.dtype("f4"), (0x7FE0, 0x0009): np.dtype("f8")}
"""Pixel Data, Float Pixel Data, Double Float Pixel Data (PS3.3 C.7.6.3, C.7.6.24, C.7.6.25)."""
_ITEM, _END = b"\xfe\xff\x00\xe0", b"\xfe\xff\xdd\xe0"
_UNDEFINED = 0xFFFFFFFF
_LONG_VRS = frozenset({b"OB", b"OW", b"OL", b"OV", b"OF", b"OD", b"UN", b"UT", b"SV", b"UV"})
"""Value representations with two reserved bytes and a 32-bit length (PS3.5 7.1.2)."""
_MAX_FRAGMENTS = 1_000_000
_STARTS = (b"\xff\xd8", b"\xff\x4f\xff\x51", b"\0\0\0\x0cjP")
"""How the codestreams of JPEG and JPEG-LS, of JPEG 2000, and its file format begin."""


@dataclass(frozen=True, kw_only=True)
class PixelData:
    """The Pixel Data element (7FE0,0010), or one of its floating-point kin."""

    value: memoryview
    """All that follows its header; the next elements too when the length is undefined."""
    vr: str
    length: int | None
    """Bytes of the value; None when it is encapsulated."""
    floats: np.dtype[np.floating] | None = None
    """The type of its values, unless they are integers."""

    @property
    def is_encapsulated(self) -> bool:
        """Fragments end with a delimiter, or, against PS3.5 A.4, after a stated length."""
        return self.length is None or bytes(self.value[:4]) == _ITEM


def pixel_data(plain: bytes, at: int, dataset: pydicom.Dataset) -> PixelData:
    """The element at which parsing stopped.

    Args:
        plain: the object, inflated.
        at: offset of the element's tag.
        dataset: what stands before.

    Raises:
        ImageError: `TRUNCATED` when the object ends before it, `UNSUPPORTED` for floating-point pixels.
    """
    is_implicit, is_little = dataset.original_encoding
    order: Literal["little", "big"] = "little" if is_little else "big"
    tag = (int.from_bytes(plain[at : at + 2], order), int.from_bytes(plain[at + 2 : at + 4], order))
    if "PixelDataProviderURL" in dataset:
        raise ImageError(Code.UNSUPPORTED, "the pixels are kept elsewhere")
    vr = plain[at + 4 : at + 6]
    if is_implicit or not (vr.isalpha() and vr.isupper()):  # some writers turn implicit against their word
        is_implicit, vr = True, b"OW"
    has_long_vr = not is_implicit and vr in _LONG_VRS
    length_at = at + (8 if has_long_vr else 4 if is_implicit else 6)
    value_at = at + (12 if has_long_vr else 8)
    if tag not in _ELEMENTS or value_at > len(plain):
        raise ImageError(Code.TRUNCATED, "the DICOM object ends before its pixel data")
    length = int.from_bytes(plain[length_at:value_at], order)
    return PixelData(
        value=memoryview(plain)[value_at:],
        vr=vr.decode("ascii", "replace"),
        length=None if length == _UNDEFINED else length,
        floats=_ELEMENTS[tag],
    )


def read_frame(pixels: PixelData, dataset: pydicom.Dataset, *, index: int, frames: int) -> memoryview:
    """The codestream of one frame (PS3.5 A.4), its fragments joined.

    Args:
        pixels: an encapsulated element.
        dataset: for the Extended Offset Table (7FE0,0001), PS3.3 C.7.6.3.1.8.
        index: which frame, from 0.
        frames: how many there are.

    Raises:
        ImageError: `TRUNCATED` when an item or the end is missing, `CORRUPT` when frames are not told apart.
    """
    table, fragments = _fragments(pixels)
    if frames == 1:
        return _joined([body for _, body in fragments])
    starts = _frame_starts(table, fragments, dataset, frames)
    if index >= len(starts):
        raise ImageError(Code.TRUNCATED, f"the pixel data holds {len(starts)} of {frames} frames")
    first, after = starts[index], starts[index + 1] if index + 1 < len(starts) else len(fragments)
    return _joined([body for _, body in fragments[first:after]])


Fragments = list[tuple[int, memoryview]]
"""Offset of each fragment's item tag from the first one's, and its bytes."""


def _fragments(pixels: PixelData) -> tuple[list[int], Fragments]:
    """The Basic Offset Table and the fragments after it."""
    value = pixels.value[: pixels.length]
    items: Fragments = []
    at = 0
    while at + 8 <= len(value):
        tag, length = bytes(value[at : at + 4]), int.from_bytes(value[at + 4 : at + 8], "little")
        if tag == _END:
            return _checked(items)
        if tag != _ITEM or length == _UNDEFINED or len(items) > _MAX_FRAGMENTS:
            raise ImageError(Code.CORRUPT, "the pixel data is no sequence of fragments")
        if at + 8 + length > len(value):
            break
        items.append((at, value[at + 8 : at + 8 + length]))
        at += 8 + length
    if at == pixels.length:
        return _checked(items)
    raise ImageError(Code.TRUNCATED, "the compressed pixel data ends early")


def _checked(items: Fragments) -> tuple[list[int], Fragments]:
    if not items:
        raise ImageError(Code.CORRUPT, "the pixel data has no offset table")
    offsets, fragments = items[0][1], items[1:]
    if not fragments:
        raise ImageError(Code.TRUNCATED, "the pixel data holds no fragment")
    base = fragments[0][0]
    table = [int.from_bytes(offsets[at : at + 4], "little") for at in range(0, len(offsets) - 3, 4)]
    return table, [(at - base, body) for at, body in fragments]


def _frame_starts(
    table: list[int], fragments: Fragments, dataset: pydicom.Dataset, frames: int
) -> Sequence[int]:
    """Number of each frame's first fragment: by the offset tables, by count, or by how codestreams begin."""
    extended = dataset.get("ExtendedOffsetTable") or b""
    if len(fragments) == frames:
        return range(frames)
    numbers = {at: number for number, (at, _) in enumerate(fragments)}
    if len(extended) == 8 * frames:
        table = [int.from_bytes(extended[at : at + 8], "little") for at in range(0, len(extended), 8)]
    if len(table) == frames and all(at in numbers for at in table):
        return [numbers[at] for at in table]
    starts = [number for number, (_, body) in enumerate(fragments) if bytes(body[:6]).startswith(_STARTS)]
    if len(starts) > frames or not starts or starts[0] != 0:
        raise ImageError(Code.CORRUPT, "the fragments cannot be told apart into frames")
    return starts


def _joined(bodies: list[memoryview]) -> memoryview:
    return bodies[0] if len(bodies) == 1 else memoryview(b"".join(bodies))
