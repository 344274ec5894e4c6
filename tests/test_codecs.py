from __future__ import annotations

from dataclasses import replace
from typing import Any

import encoding
import imagecodecs
import numpy as np
import pytest

from batch_fracture.codes import Code
from batch_fracture.decode.codecs import CODECS
from batch_fracture.decode.decoded import Decoded
from batch_fracture.errors import ImageError

EACH = encoding.one_of_each()
LOSSY = {
    "jpeg-8": 12,
    "jpeg-8-progressive": 40,
    "jpeg-8-colour": 40,
    "jpeg-12": 120,
    "jpeg-ls-near": 2,
    "jpeg-2000-lossy": 60,
}
"""How far a value may lie from the one that was written."""
ENDLESS = ("rle", "rle-colour", "deflated-frame", "uncompressed")
"""No end marker closes these."""
CUTS = (0.04, 0.1, 0.2, 0.3, 0.4, 0.5, 0.65, 0.8, 0.9, 0.98)


def _decode(name: str, codestream: bytes, **fields: Any) -> np.ndarray:
    syntax, stored, _ = EACH[name]
    pixel = replace(encoding.image_pixel(stored), **fields)
    decoded = CODECS[syntax](memoryview(codestream), pixel, None)
    if isinstance(decoded, Decoded):
        return decoded.samples
    if len(decoded) < stored.nbytes:  # as `frames` has it
        raise ImageError(Code.TRUNCATED, "too few bytes")
    return np.frombuffer(decoded[: stored.nbytes], stored.dtype).reshape(stored.shape)


def _error(name: str, codestream: bytes, **fields: Any) -> ImageError:
    with pytest.raises(ImageError) as caught:
        _decode(name, codestream, **fields)
    return caught.value


@pytest.mark.parametrize("name", EACH)
def test_every_syntax_gives_the_values_back(name: str) -> None:
    _, stored, codestream = EACH[name]
    samples = _decode(name, codestream)
    assert np.abs(samples.astype(int) - stored).max() <= LOSSY.get(name, 0)
    assert samples.dtype.itemsize == stored.dtype.itemsize


@pytest.mark.parametrize(
    ("name", "closing"),
    [
        (name, closing)
        for name in EACH
        for closing in ((b"",) if name in ENDLESS else (b"", b"\xff\xd9", b"\xff\xd9\0"))
    ],
)
def test_a_frame_cut_at_ten_places_is_never_read(name: str, closing: bytes) -> None:
    codestream = EACH[name][2]
    for share in CUTS:
        cut = codestream[: int(len(codestream) * share)] + closing
        assert _error(name, cut).code in (Code.TRUNCATED, Code.CORRUPT)


@pytest.mark.parametrize("name", EACH)
def test_what_is_cut_from_the_end_is_missed_or_was_padding(name: str) -> None:
    _, _, codestream = EACH[name]
    whole = _decode(name, codestream)
    end = codestream.rfind(b"\xff\xd9")
    closing = b"" if name in ENDLESS else codestream[end:]
    end = len(codestream) if not closing else end
    for missing in range(1, 24):
        try:
            samples = _decode(name, codestream[: end - missing] + closing)
        except ImageError as error:
            assert error.code in (Code.TRUNCATED, Code.CORRUPT)
        else:
            assert missing <= 2
            np.testing.assert_array_equal(samples, whole)


@pytest.mark.parametrize("name", [name for name in EACH if name.startswith(("jpeg", "lossless", "htj2k"))])
@pytest.mark.parametrize(("rows", "columns"), [(161, 136), (160, 8), (136, 160), (65535, 65535)])
def test_another_size_than_the_headers_is_refused(name: str, rows: int, columns: int) -> None:
    error = _error(name, EACH[name][2], rows=rows, columns=columns)
    assert (error.code, error.message) == (
        Code.CORRUPT,
        "the compressed frame is not of the size that the header gives",
    )


@pytest.mark.parametrize("name", ["rle", "deflated-frame"])
def test_a_frame_larger_than_its_data_is_truncated(name: str) -> None:
    assert _error(name, EACH[name][2], rows=65535, columns=65535).code == Code.TRUNCATED


def test_more_bits_than_there_is_room_for_are_refused() -> None:
    error = _error("lossless", EACH["lossless"][2], bits_allocated=8, bits_stored=8)
    assert (error.code, error.message) == (
        Code.CORRUPT,
        "the compressed frame has more bits than the header gives room for",
    )


@pytest.mark.parametrize("name", EACH)
def test_flipped_bytes_end_in_pixels_or_a_code(name: str) -> None:
    _, stored, codestream = EACH[name]
    rng = np.random.default_rng(0)
    for _ in range(40):
        flipped = bytearray(codestream)
        for at in rng.integers(0, len(flipped), 3):
            flipped[at] = rng.integers(256)
        try:
            assert _decode(name, bytes(flipped)).shape == stored.shape
        except ImageError as error:
            assert error.code in (Code.TRUNCATED, Code.CORRUPT, Code.UNSUPPORTED)


@pytest.mark.parametrize("name", ["jpeg-8", "jpeg-8-colour", "jpeg-2000", "jpeg-2000-lossy", "htj2k"])
@pytest.mark.parametrize(("min_long_side", "factor"), [(None, 1), (50, 1), (40, 2), (15, 4), (5, 8)])
def test_large_frames_come_reduced(name: str, min_long_side: int | None, factor: int) -> None:
    syntax, stored, codestream = EACH[name]
    pixel = encoding.image_pixel(stored)
    decoded = CODECS[syntax](memoryview(codestream), pixel, min_long_side)
    assert isinstance(decoded, Decoded)
    assert decoded.samples.shape == (160 // factor, 136 // factor, *stored.shape[2:])
    blocks = stored.reshape(160 // factor, factor, 136 // factor, factor, -1).mean(axis=(1, 3))
    error = np.abs(decoded.samples.reshape(blocks.shape) - blocks).mean() / (stored.max() + 1)
    assert error < 0.05


def test_signed_jpeg_2000_is_reduced_to_signed_values() -> None:
    stored = encoding.TWELVE.astype(np.int16) - 2000
    codestream = imagecodecs.jpeg2k_encode(stored, level=0, codecformat="J2K")
    pixel = encoding.image_pixel(stored)
    whole = CODECS[encoding.JPEG_2000](memoryview(codestream), pixel, None)
    half = CODECS[encoding.JPEG_2000](memoryview(codestream), pixel, 40)
    assert isinstance(whole, Decoded)
    assert isinstance(half, Decoded)
    np.testing.assert_array_equal(whole.samples, stored)
    assert half.samples.shape == (80, 68)
    assert abs(half.samples.mean() - stored.mean()) < 20


def test_each_colour_of_jpeg_2000_is_reduced_alike() -> None:
    options = {"level": 0, "codecformat": "J2K", "mct": False}
    colour = imagecodecs.jpeg2k_encode(encoding.COLOUR, **options)
    half = CODECS[encoding.JPEG_2000](memoryview(colour), encoding.image_pixel(encoding.COLOUR), 40)
    assert isinstance(half, Decoded)
    for number in range(3):
        plane_HW = np.ascontiguousarray(encoding.COLOUR[..., number])
        grey = imagecodecs.jpeg2k_encode(plane_HW, **options)
        alone = CODECS[encoding.JPEG_2000](memoryview(grey), encoding.image_pixel(plane_HW), 40)
        assert isinstance(alone, Decoded)
        np.testing.assert_array_equal(half.samples[..., number], alone.samples)
