from __future__ import annotations

from typing import Any

import numpy as np
import pydicom
import pytest

from batch_fracture.codes import Code
from batch_fracture.decode.image_pixel import ImagePixel, read_image_pixel, unused_bits_cleared
from batch_fracture.errors import ImageError

GREY = {
    "Rows": 4,
    "Columns": 5,
    "BitsAllocated": 16,
    "BitsStored": 12,
    "HighBit": 11,
    "PixelRepresentation": 0,
    "SamplesPerPixel": 1,
    "PhotometricInterpretation": "MONOCHROME1",
}
COLOUR = {"SamplesPerPixel": 3, "PhotometricInterpretation": "RGB", "BitsAllocated": 8, "BitsStored": 8}


def _read(**tags: Any) -> ImagePixel:
    dataset = pydicom.Dataset()
    for keyword, value in {**GREY, **tags}.items():
        if value is not None:
            setattr(dataset, keyword, value)
    return read_image_pixel(dataset)


def test_the_module_as_it_stands() -> None:
    pixel = _read(PixelRepresentation=1)
    assert (pixel.shape, pixel.dtype, pixel.frame_bytes) == ((4, 5), np.dtype("i2"), 40)
    assert (pixel.bits_stored, pixel.high_bit, pixel.is_planar, pixel.frames) == (12, 11, False, 1)
    colour = _read(**COLOUR, PlanarConfiguration=1, NumberOfFrames=3)
    assert (colour.shape, colour.dtype, colour.frame_bytes) == ((4, 5, 3), np.dtype("u1"), 60)
    assert (colour.is_planar, colour.frames) == (True, 3)
    assert _read(**{**COLOUR, "PhotometricInterpretation": "YBR_FULL_422"}).frame_bytes == 40
    bits = _read(BitsAllocated=1, BitsStored=1, HighBit=0, Columns=7)
    assert (bits.frame_bits, bits.frame_bytes, bits.dtype) == (28, 4, np.dtype("u1"))


def test_what_older_headers_leave_out() -> None:
    pixel = _read(
        HighBit=None, PixelRepresentation=None, SamplesPerPixel=None, PhotometricInterpretation=None
    )
    assert (pixel.high_bit, pixel.is_signed, pixel.samples) == (11, False, 1)
    assert pixel.photometric == "MONOCHROME2"


@pytest.mark.parametrize(
    ("tags", "code"),
    [
        ({"Rows": None}, Code.CORRUPT),
        ({"Columns": 0}, Code.CORRUPT),
        ({"BitsAllocated": None}, Code.CORRUPT),
        ({"BitsStored": None}, Code.CORRUPT),
        ({"BitsStored": 17}, Code.CORRUPT),
        ({"BitsAllocated": 12}, Code.UNSUPPORTED),
        ({"BitsAllocated": 24}, Code.UNSUPPORTED),
        ({"PhotometricInterpretation": "CMYK", "SamplesPerPixel": 4}, Code.UNSUPPORTED),
        ({"PhotometricInterpretation": "YBR_PARTIAL_420", "SamplesPerPixel": 3}, Code.UNSUPPORTED),
        ({"SamplesPerPixel": 3}, Code.CORRUPT),
        ({**COLOUR, "SamplesPerPixel": 1}, Code.CORRUPT),
    ],
)
def test_what_cannot_be(tags: dict[str, Any], code: Code) -> None:
    with pytest.raises(ImageError) as caught:
        _read(**tags)
    assert caught.value.code == code


def test_clean_frames_are_not_copied() -> None:
    frame_HW = np.full((4, 5), 4095, np.uint16)
    assert unused_bits_cleared(frame_HW, _read()) is frame_HW
    signed_HW = np.full((4, 5), -2048, np.int16)
    assert unused_bits_cleared(signed_HW, _read(PixelRepresentation=1)) is signed_HW
    assert unused_bits_cleared(signed_HW - 1, _read(PixelRepresentation=1))[0, 0] == 2047
    assert unused_bits_cleared(frame_HW + 1, _read())[0, 0] == 0
    assert unused_bits_cleared(frame_HW << 4, _read(HighBit=15))[0, 0] == 4095
