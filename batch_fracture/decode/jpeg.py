"""JPEG: the frame header and orientation, and a strict, DCT-scaled decode to grey.

Pillow decodes a JPEG that was cut and closed with an end marker, and libjpeg only warns of it; simplejpeg
turns those warnings into errors, so a short frame is never read.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import simplejpeg

from batch_fracture.codes import Code
from batch_fracture.decode.tiff import exif_orientation
from batch_fracture.errors import ImageError

_DECODABLE_FRAMES = frozenset({0xC0, 0xC1, 0xC2})
"""SOF0 baseline, SOF1 extended, SOF2 progressive, all Huffman-coded (ITU-T T.81 table B.1)."""
_STANDALONE = frozenset({0x01, *range(0xD0, 0xD8)})
_STUFFED, _JPEG_LS = 0x00, 0xF7
"""The first is none (T.81 B.1.1.2): libjpeg looks for the next within its segment. The second: T.87 C.1.1."""
_MAX_REDUCTION = 8
_END = b"\xff\xd9"


@dataclass(frozen=True, kw_only=True)
class Frame:
    """The frame header (SOF) of ITU-T T.81 B.2.2, and what stands before it."""

    at: int
    """Offset of its marker."""
    marker: int
    bits: int
    rows: int
    columns: int
    components: int
    orientation: int = 1
    """Exif 2.32, tag 0x0112: how the picture is stored; 1 is upright."""


def read_frame(content: bytes) -> Frame:
    """The frame header of a JPEG stream.

    Raises:
        ImageError: `TRUNCATED` when the stream ends before it, `CORRUPT` when it is malformed.
    """
    at, orientation = 2, 1
    while at + 4 <= len(content):
        if content[at] != 0xFF:
            raise ImageError(Code.CORRUPT, "a JPEG segment does not begin with a marker")
        marker = content[at + 1]
        if marker == _STUFFED:
            raise ImageError(Code.CORRUPT, "a JPEG segment does not begin with a marker")
        if marker == _JPEG_LS:
            raise ImageError(Code.UNSUPPORTED, "JPEG-LS outside DICOM is not supported")
        if marker == 0xFF or marker in _STANDALONE:
            at += 1 if marker == 0xFF else 2
            continue
        length = int.from_bytes(content[at + 2 : at + 4])
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            return _frame(content[at + 4 : at + 2 + length], at, marker, orientation)
        if marker == 0xE1 and content[at + 4 : at + 10] == b"Exif\0\0" and orientation == 1:
            orientation = exif_orientation(content[at + 10 : at + 2 + length])
        if marker in (0xDA, 0xD9):
            raise ImageError(Code.CORRUPT, "the JPEG has no frame header before its scan")
        at += 2 + length
    raise ImageError(Code.TRUNCATED, "the JPEG ends before its frame header")


def _frame(segment: bytes, at: int, marker: int, orientation: int) -> Frame:
    if len(segment) < 6:
        raise ImageError(Code.TRUNCATED, "the JPEG ends within its frame header")
    frame = Frame(
        at=at,
        marker=marker,
        bits=segment[0],
        rows=int.from_bytes(segment[1:3]),
        columns=int.from_bytes(segment[3:5]),
        components=segment[5],
        orientation=orientation,
    )
    if not (frame.rows and frame.columns and frame.components):
        raise ImageError(Code.CORRUPT, "the JPEG frame header gives no size")
    return frame


def read_grey(content: bytes, frame: Frame, *, min_long_side: int) -> npt.NDArray[np.uint8] | None:
    """Decode strictly to grey, scaled in the DCT domain by 1, 2, 4 or 8.

    Args:
        content: the whole JPEG stream.
        frame: its frame header.
        min_long_side: pixels that the longer side keeps at the least, if the image has them.

    Returns:
        uint8 (rows, columns); None for a four-component (CMYK) image, proven complete, whose colours are
        the caller's to convert.

    Raises:
        ImageError: `UNSUPPORTED`, `TRUNCATED` or `CORRUPT`.
    """
    if frame.marker not in _DECODABLE_FRAMES or frame.bits != 8:
        raise ImageError(
            Code.UNSUPPORTED, f"JPEG process SOF{frame.marker - 0xC0} with {frame.bits} bits is not supported"
        )
    reduction = _MAX_REDUCTION
    while reduction > 1 and max(frame.rows, frame.columns) < reduction * min_long_side:
        reduction //= 2
    colorspace = "CMYK" if frame.components == 4 else "GRAY"
    try:
        pixels_HWC = simplejpeg.decode_jpeg(
            content,
            colorspace=colorspace,
            min_height=-(-frame.rows // reduction),
            min_width=-(-frame.columns // reduction),
            min_factor=reduction,
            strict=True,
        )
    except ValueError as error:
        is_open = content.rfind(_END) < frame.at  # a thumbnail in the header has an end of its own
        raise _damage(str(error), is_open=is_open) from error
    return None if frame.components == 4 else pixels_HWC[..., 0]


def _damage(reason: str, *, is_open: bool) -> ImageError:
    """Sort libjpeg's phrases (jerror.h) into our codes; the phrase may quote values, so it stays here."""
    if is_open or "remature end" in reason:
        return ImageError(Code.TRUNCATED, "the JPEG's compressed data ends early")
    if any(phrase in reason for phrase in ("nsupported", "not supported")):
        return ImageError(Code.UNSUPPORTED, "this kind of JPEG is not supported")
    return ImageError(Code.CORRUPT, "the JPEG's compressed data is damaged")
