"""What DICOM objects cost: the header alone decides what is skipped, and pixels are not copied twice."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable

import drawing
import encoding
import imagecodecs
import numpy as np
import pytest
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    RLELossless,
)

from batch_fracture import decode
from batch_fracture.codes import Code
from batch_fracture.errors import ImageError
from batch_fracture.settings import ReadingSettings

DEEP = np.random.default_rng(0).integers(0, 4096, (1000, 800), np.uint16)
PLAIN = (ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian)
SHALLOW = DEEP.astype(np.uint8)
PACKED = {
    encoding.JPEG_8: imagecodecs.jpeg8_encode(SHALLOW, 90),
    RLELossless: encoding.rle(DEEP),
    encoding.JPEG_12: imagecodecs.jpeg8_encode(DEEP, 95, bitspersample=12),
    encoding.LOSSLESS: imagecodecs.jpeg8_encode(DEEP, lossless=True, bitspersample=12),
    encoding.JPEG_LS: imagecodecs.jpegls_encode(DEEP),
    encoding.JPEG_2000: imagecodecs.jpeg2k_encode(DEEP, level=0, codecformat="J2K"),
    encoding.HTJ2K: imagecodecs.htj2k_encode(DEEP, reversible=True),
    encoding.DEFLATED_FRAME: encoding.deflated(DEEP),
    encoding.ENCAPSULATED_UNCOMPRESSED: DEEP.tobytes(),
}
PEAKS: dict[str, int] = {
    ImplicitVRLittleEndian: 0,
    ExplicitVRLittleEndian: 0,
    encoding.ENCAPSULATED_UNCOMPRESSED: 0,
    encoding.JPEG_8: 1,
    encoding.JPEG_2000: 1,
    encoding.HTJ2K: 1,
    ExplicitVRBigEndian: 1,  # bytes swapped
    DeflatedExplicitVRLittleEndian: 1,
    encoding.DEFLATED_FRAME: 2,  # zlib joins its pieces
    RLELossless: 2,  # the high and the low bytes, put together
    encoding.JPEG_12: 3,  # decoded twice, once from another codestream
    encoding.JPEG_LS: 3,
    encoding.LOSSLESS: 3,  # blocks of rows, while bits are counted
}
"""Frames' worth of memory at the most, beside the object itself."""


def _object(syntax: str, **tags: str) -> bytes:
    if syntax in PLAIN:
        return drawing.dicom(DEEP, syntax=syntax, **tags)
    stored = SHALLOW if syntax == encoding.JPEG_8 else DEEP
    return encoding.dicom(stored, [PACKED[syntax]], syntax, **tags)


def _peak(call: Callable[[], object]) -> int:
    """Bytes allocated at the most while a call runs, decoders imported."""
    call()
    tracemalloc.start()
    try:
        call()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def _refused(content: bytes) -> ImageError:
    with pytest.raises(ImageError) as caught:
        decode.read_header(content, ReadingSettings())
    return caught.value


@pytest.mark.parametrize("syntax", PEAKS)
def test_the_header_alone_decides_what_is_skipped(syntax: str) -> None:
    content = _object(syntax, Modality="CT")
    error = _refused(content)
    assert error.code == Code.NOT_A_RADIOGRAPH
    assert _peak(lambda: _refused(content)) < (1_000_000 if syntax.endswith(".99") else 50_000)
    for rest in (b"", b"\xaa" * 500_000):  # no decoder and no inflater would take these pixels
        damaged = _refused(content[: len(content) // 2] + rest)
        assert (damaged.code, damaged.header) == (error.code, error.header)
    at = content.find(b"\xe0\x7f\x10\x00")
    if at > 0:  # not even the element's length is looked at
        assert _refused(content[: at + 4]).header == error.header


@pytest.mark.parametrize(("syntax", "frames"), PEAKS.items())
def test_pixels_are_not_copied_twice(syntax: str, frames: int) -> None:
    content = _object(syntax)
    size = encoding.stored_frame(content).nbytes
    assert _peak(lambda: encoding.stored_frame(content)) < (frames + 0.4) * size
