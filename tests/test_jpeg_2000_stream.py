from __future__ import annotations

import struct

import drawing
import encoding
import imagecodecs
import pytest

from batch_fracture.codes import Code
from batch_fracture.decode import jpeg_2000_stream
from batch_fracture.errors import ImageError

PLAIN = imagecodecs.jpeg2k_encode(encoding.TWELVE, level=0, codecformat="J2K")
BOXED = imagecodecs.jpeg2k_encode(encoding.COLOUR, level=0, codecformat="JP2")
TILED = drawing.saved(encoding.GREY, "JPEG2000", tile_size=(64, 64), no_jp2=True)


def _error(stream: bytes) -> ImageError:
    with pytest.raises(ImageError) as caught:
        jpeg_2000_stream.read_stream(memoryview(stream))
    return caught.value


@pytest.mark.parametrize(
    ("stream", "precisions"), [(PLAIN, (16,)), (BOXED, (8, 8, 8)), (TILED, (8,)), (PLAIN + b"\xff", (16,))]
)
def test_what_the_main_header_says(stream: bytes, precisions: tuple[int, ...]) -> None:
    read = jpeg_2000_stream.read_stream(memoryview(stream))
    assert (read.rows, read.columns, read.precisions) == (160, 136, precisions)
    assert not read.is_signed
    assert not read.is_subsampled
    assert read.levels > 2
    assert bytes(read.codestream[:4]) == b"\xff\x4f\xff\x51"


@pytest.mark.parametrize("stream", [PLAIN, BOXED, TILED])
@pytest.mark.parametrize("closing", [b"", b"\xff\xd9"])
def test_every_cut_is_noticed_by_its_lengths(stream: bytes, closing: bytes) -> None:
    for size in (*range(4, 300, 5), len(stream) // 2, len(stream) - 3):
        assert _error(stream[:size] + closing).code in (Code.TRUNCATED, Code.CORRUPT)
    assert _error(stream[: len(stream) // 2] + closing).code == Code.TRUNCATED


def test_a_last_tile_part_without_length_lasts_until_the_end() -> None:
    at = PLAIN.find(b"\xff\x90")
    open_ended = PLAIN[: at + 6] + bytes(4) + PLAIN[at + 10 :]
    assert jpeg_2000_stream.read_stream(memoryview(open_ended)).rows == 160
    assert jpeg_2000_stream.read_stream(memoryview(open_ended + b"\0")).rows == 160
    assert _error(open_ended[:-40]).code == Code.TRUNCATED


def test_missing_tiles_are_truncated() -> None:
    second = TILED.find(b"\xff\x90\0\x0a\0\x01")
    assert _error(TILED[:second] + b"\xff\xd9").code == Code.TRUNCATED


@pytest.mark.parametrize(
    "stream",
    [
        b"\xff\xd8\xff\xe0",
        PLAIN[:8] + struct.pack(">II", 2**32 - 1, 2**32 - 1) + PLAIN[16:],
        PLAIN[:24] + bytes(8) + PLAIN[32:],
        PLAIN[:24] + struct.pack(">II", 1, 1) + PLAIN[32:],
        PLAIN.replace(b"\xff\x52", b"\x00\x52", 1),
    ],
)
def test_malformed_headers_are_corrupt(stream: bytes) -> None:
    assert _error(stream).code in (Code.CORRUPT, Code.TRUNCATED)
