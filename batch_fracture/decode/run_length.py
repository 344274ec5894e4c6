"""RLE Lossless (PS3.5 annex G): a header of offsets, then a PackBits segment for each byte of the samples."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from batch_fracture.codes import Code
from batch_fracture.decode.image_pixel import ImagePixel
from batch_fracture.errors import ImageError

_HEADER_BYTES, _MAX_SEGMENTS, _MAX_RATIO = 64, 15, 64
"""Two bytes of a run give at most 128."""


def decode(codestream: memoryview, pixel: ImagePixel) -> npt.NDArray[Any]:
    """The samples of one frame.

    Args:
        codestream: header and segments.
        pixel: the layout; 8, 16 or 32 bits allocated.

    Returns:
        Unsigned integers (rows, columns) or (rows, columns, 3), native byte order.

    Raises:
        ImageError: `TRUNCATED` when a segment is short, `CORRUPT` when the header is wrong.
    """
    sample_bytes, num_pixels = pixel.bits_allocated // 8, pixel.rows * pixel.columns
    segments = segment_bytes(codestream, pixel.samples * sample_bytes, num_pixels)
    samples = np.empty((num_pixels, pixel.samples, sample_bytes), np.uint8)
    for number, segment in enumerate(segments):  # G.2: the most significant byte of each sample comes first
        samples[:, number // sample_bytes, sample_bytes - 1 - number % sample_bytes] = segment
    values = samples.view(f"<u{sample_bytes}")[..., 0].reshape(pixel.rows, pixel.columns, pixel.samples)
    values = values.astype(values.dtype.newbyteorder("="), copy=False)
    return values[..., 0] if pixel.samples == 1 else values


def segment_bytes(codestream: memoryview, num_segments: int, size: int) -> list[npt.NDArray[np.uint8]]:
    """Each segment unpacked to uint8 (size,); PS3.5 G.3 and G.5."""
    if len(codestream) < _HEADER_BYTES:
        raise ImageError(Code.TRUNCATED, "the RLE frame ends within its header")
    header = np.frombuffer(codestream, "<u4", count=16)
    offsets = [*header[1 : 1 + num_segments].tolist(), len(codestream)]
    if int(header[0]) != num_segments or num_segments > _MAX_SEGMENTS:
        raise ImageError(Code.CORRUPT, "the RLE frame has not the segments that its pixels need")
    if offsets[0] < _HEADER_BYTES or sorted(offsets[:-1]) != offsets[:-1]:
        raise ImageError(Code.CORRUPT, "the RLE frame's segments overlap")
    if offsets[-2] >= offsets[-1]:
        raise ImageError(Code.TRUNCATED, "a segment of the RLE frame lies beyond its end")
    return [_unpacked(codestream[start:stop], size) for start, stop in pairwise(offsets)]


def _unpacked(segment: memoryview, size: int) -> npt.NDArray[np.uint8]:
    import imagecodecs  # noqa: PLC0415 - decoders load when a frame needs them

    if _MAX_RATIO * len(segment) < size:
        raise ImageError(Code.TRUNCATED, f"{len(segment)} bytes of an RLE segment cannot give {size}")
    room = size + 256  # an encoder may pad a row or the segment by a run
    try:
        unpacked = imagecodecs.packbits_decode(segment, out=room)
    except Exception as error:
        if "TOO_SMALL" in str(error):
            raise ImageError(Code.CORRUPT, "a segment of the RLE frame holds too many bytes") from error
        raise ImageError(Code.TRUNCATED, "a segment of the RLE frame ends within a run") from error
    if len(unpacked) < size:
        raise ImageError(Code.TRUNCATED, f"a segment of the RLE frame holds {len(unpacked)} of {size} bytes")
    return np.frombuffer(unpacked, np.uint8, count=size)
