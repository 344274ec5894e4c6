from __future__ import annotations

from typing import Any

import drawing
import encoding
import imagecodecs
import numpy as np
import pytest
import simplejpeg

from batch_fracture.codes import Code
from batch_fracture.decode.decoded import Decoded
from batch_fracture.decode.jpeg_frame import jpeg
from batch_fracture.errors import ImageError

COLOUR = encoding.COLOUR
ADOBE = b"\xff\xee\x00\x0eAdobe\x00\x64\0\0\0\0"


def _jpeg(codestream: bytes, stored: np.ndarray = COLOUR, **fields: Any) -> Decoded:
    return jpeg(memoryview(codestream), encoding.image_pixel(stored, **fields), None)


def _stripped(codestream: bytes, marker: bytes) -> bytes:
    at = codestream.find(marker)
    return codestream[:at] + codestream[at + 2 + int.from_bytes(codestream[at + 2 : at + 4]) :]


YCC = _stripped(drawing.saved(COLOUR, "JPEG", quality=100, subsampling=0), b"\xff\xe0")
"""Luma and chroma, and nothing that says so."""
RGB = _stripped(
    simplejpeg.encode_jpeg(COLOUR, quality=100, colorspace="RGB", colorsubsampling="444"), b"\xff\xe0"
)


def _raw_colours(name: bytes = b"\0\x01\x02") -> bytes:
    """Red, green and blue as they are, under these component names."""
    codestream = imagecodecs.jpeg8_encode(COLOUR, 100, colorspace="RGB", outcolorspace="RGB")
    codestream = _stripped(codestream, b"\xff\xee")
    frame, scan = codestream.find(b"\xff\xc0"), codestream.find(b"\xff\xda")
    changed = bytearray(codestream)
    for number in range(3):
        changed[frame + 10 + 3 * number] = name[number]
        changed[scan + 5 + 2 * number] = name[number]
    return bytes(changed)


def _is_near(decoded: Decoded, limit: int = 6) -> bool:
    return bool(np.abs(decoded.samples.astype(int) - COLOUR).max() <= limit)


def test_the_header_decides_where_the_codestream_says_nothing() -> None:
    assert _is_near(_jpeg(YCC, photometric="YBR_FULL_422"))
    assert _is_near(_jpeg(_raw_colours(), photometric="RGB"))
    assert not _is_near(_jpeg(_raw_colours(), photometric="YBR_FULL"))
    assert not _is_near(_jpeg(YCC, photometric="RGB"))


def test_the_codestream_decides_where_it_says_something() -> None:
    jfif = drawing.saved(COLOUR, "JPEG", quality=100, subsampling=0)
    assert _is_near(_jpeg(jfif, photometric="RGB"))
    for names in (b"RGB", b"rgb"):
        assert _is_near(_jpeg(_raw_colours(names), photometric="YBR_FULL"))
    raw = _raw_colours()
    assert _is_near(_jpeg(raw[:2] + ADOBE + b"\0" + raw[2:], photometric="YBR_FULL"))
    assert _is_near(_jpeg(YCC[:2] + ADOBE + b"\1" + YCC[2:], photometric="RGB"))


def test_a_short_adobe_segment_says_nothing() -> None:
    raw = _raw_colours()
    short = raw[:2] + b"\xff\xee\x00\x0cAdobe\0\0\0\0\0" + raw[2:]
    assert _is_near(_jpeg(short, photometric="RGB"))


def test_lossless_luma_and_chroma_are_left_to_be_converted() -> None:
    codestream = imagecodecs.jpeg8_encode(COLOUR, lossless=True, colorspace="RGB", outcolorspace="RGB")
    codestream = _stripped(codestream, b"\xff\xee")
    decoded = _jpeg(codestream, photometric="RGB")
    np.testing.assert_array_equal(decoded.samples, COLOUR)
    assert not decoded.is_ycc
    names = codestream.find(b"\xff\xc3") + 10
    assert codestream[names : names + 7 : 3] == b"RGB"


def test_what_is_declared_matters_less_than_what_is_there() -> None:
    for name in ("jpeg-12", "lossless", "jpeg-ls"):
        _, stored, codestream = encoding.one_of_each()[name]
        assert _jpeg(codestream, stored).samples.shape == stored.shape


def test_arithmetic_and_hierarchical_processes_are_unsupported() -> None:
    codestream = encoding.one_of_each()["jpeg-8"][2]
    at = codestream.find(b"\xff\xc0")
    for process in (0xC5, 0xC9, 0xCA, 0xCB):
        with pytest.raises(ImageError) as caught:
            _jpeg(codestream[:at] + bytes((0xFF, process)) + codestream[at + 2 :], encoding.GREY)
        assert caught.value.code == Code.UNSUPPORTED


def test_twelve_bits_cut_within_their_last_byte_are_refused() -> None:
    codestream = encoding.one_of_each()["jpeg-12"][2]
    for missing in range(1, 40):
        with pytest.raises(ImageError) as caught:
            _jpeg(codestream[: -2 - missing] + b"\xff\xd9", encoding.TWELVE)
        assert caught.value.code == Code.TRUNCATED
