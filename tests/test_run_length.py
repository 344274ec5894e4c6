from __future__ import annotations

import struct

import encoding
import numpy as np
import pytest

from batch_fracture.codes import Code
from batch_fracture.decode import run_length
from batch_fracture.errors import ImageError

GREY, DEEP, COLOUR = encoding.GREY, encoding.TWELVE, encoding.COLOUR


def _decode(codestream: bytes, stored: np.ndarray) -> np.ndarray:
    return run_length.decode(memoryview(codestream), encoding.image_pixel(stored))


def _error(codestream: bytes, stored: np.ndarray = DEEP) -> ImageError:
    with pytest.raises(ImageError) as caught:
        _decode(codestream, stored)
    return caught.value


def _with_header(codestream: bytes, *numbers: int) -> bytes:
    return struct.pack(f"<{len(numbers)}I", *numbers).ljust(64, b"\0") + codestream[64:]


@pytest.mark.parametrize("stored", [GREY, DEEP, COLOUR, COLOUR.astype(np.uint16) * 257])
def test_every_depth_and_colour(stored: np.ndarray) -> None:
    decoded = _decode(encoding.rle(stored), stored)
    np.testing.assert_array_equal(decoded, stored)
    assert decoded.dtype == stored.dtype


def test_padding_behind_a_segment_is_let_be() -> None:
    for padding in (b"\0", b"\0\0", b"\x80\x80"):
        np.testing.assert_array_equal(_decode(encoding.rle(GREY) + padding, GREY), GREY)


def test_bad_headers() -> None:
    codestream = encoding.rle(DEEP)
    _, first, second = struct.unpack("<3I", codestream[:12])
    for numbers in (
        (1, first),
        (3, first, second, second),
        (2**31, first, second),
        (2, 0, second),
        (2, first + 40, first),
    ):
        assert _error(_with_header(codestream, *numbers)).code == Code.CORRUPT
    assert _error(_with_header(codestream, 2, first, len(codestream))).code == Code.TRUNCATED
    assert _error(codestream[:63]).code == Code.TRUNCATED
    assert _error(_with_header(codestream, 2, first, first + 30)).code == Code.TRUNCATED


def test_a_segment_that_holds_too_much_is_corrupt() -> None:
    codestream = encoding.rle(GREY[:20])
    assert _error(codestream + encoding.rle(GREY)[64:], GREY[:20]).code == Code.CORRUPT


def test_a_bomb_costs_nothing() -> None:
    codestream = _with_header(bytes(64) + b"\x81\0" * 10, 1, 64)
    error = _error(codestream, np.broadcast_to(np.uint8(0), (60000, 60000)))
    assert (error.code, error.message) == (
        Code.TRUNCATED,
        "20 bytes of an RLE segment cannot give 3600000000",
    )
