from __future__ import annotations

import struct

import encoding
import imagecodecs
import numpy as np
import pytest

from batch_fracture.codes import Code
from batch_fracture.decode import jpeg_2000_stream
from batch_fracture.decode.jpeg_2000_style import COC, COD, Canvas, prove_affordable
from batch_fracture.errors import ImageError

CANVAS = Canvas(rows=1000, columns=1000, tile_rows=1000, tile_columns=1000, tiles=1, components=1)
PLAIN = imagecodecs.jpeg2k_encode(encoding.TWELVE, level=0, codecformat="J2K")


def _cod(*, layers: int = 1, levels: int = 5, precincts: bytes = b"") -> tuple[bytes, bytes]:
    return COD, struct.pack(">BBHBBBBBB", bool(precincts), 0, layers, 0, levels, 4, 4, 0, 1) + precincts


def _error(style: tuple[bytes, bytes], canvas: Canvas = CANVAS, size_bytes: int = 10**9) -> ImageError:
    with pytest.raises(ImageError) as caught:
        prove_affordable([style], canvas, size_bytes)
    return caught.value


def test_what_encoders_write_is_affordable() -> None:
    blocks = bytes((0x11, 0x22, 0x33, 0x44, 0x55, 0x66))  # OpenJPEG halves 64 x 64 for each reduced copy
    for precincts in (b"", b"\xff" * 6, b"\x77\x88\x88\x88\x88\x88", blocks):
        prove_affordable([_cod(precincts=precincts, layers=20)], CANVAS, 10**6)
    tiles = Canvas(rows=4000, columns=4000, tile_rows=128, tile_columns=128, tiles=1024, components=3)
    prove_affordable([_cod(layers=3)], tiles, 10**6)
    prove_affordable([(COC, b"\0\0\5\4\4\0\1")], CANVAS, 1000)


@pytest.mark.parametrize("size", [0x00, 0x11, 0x22, 0x20, 0x02])
def test_tiny_precincts_are_unsupported(size: int) -> None:
    assert _error(_cod(precincts=bytes([size] * 6))).code == Code.UNSUPPORTED


def test_tiny_tiles_are_unsupported() -> None:
    tiles = Canvas(rows=1000, columns=1000, tile_rows=8, tile_columns=8, tiles=125**2, components=1)
    assert _error(_cod(), tiles).code == Code.UNSUPPORTED


def test_more_packets_than_bytes_are_truncated() -> None:
    prove_affordable([_cod(layers=100)], CANVAS, 600)  # six resolutions of one precinct
    error = _error(_cod(layers=100), CANVAS, 599)
    assert (error.code, error.message) == (
        Code.TRUNCATED,
        "599 bytes of JPEG 2000 cannot hold 600 packets",
    )
    assert _error(_cod(layers=65_535), CANVAS, 100_000).code == Code.TRUNCATED


def test_precincts_of_a_component_alone_are_unsupported() -> None:
    assert _error((COC, b"\0\1\5\4\4\0\1" + b"\x11" * 6)).code == Code.UNSUPPORTED


@pytest.mark.parametrize("style", [(COD, b"\0\0"), _cod(levels=33), _cod(precincts=b"\xff")])
def test_a_style_without_its_parts_is_corrupt(style: tuple[bytes, bytes]) -> None:
    assert _error(style).code == Code.CORRUPT


def _with(segment: bytes, before: bytes) -> bytes:
    """PLAIN with a segment put before a marker; the tile-part's length put right."""
    at, part = PLAIN.find(before), PLAIN.find(b"\xff\x90")
    length = int.from_bytes(PLAIN[part + 6 : part + 10])
    grown = length + len(segment) if before == b"\xff\x93" else length
    return (
        PLAIN[: part + 6] + struct.pack(">I", grown) + PLAIN[part + 10 : at] + segment + PLAIN[at:]
        if at > part
        else PLAIN[:at] + segment + PLAIN[at:]
    )


@pytest.mark.parametrize("before", [b"\xff\x90", b"\xff\x93"])
@pytest.mark.parametrize("marker", [COD, COC])
def test_no_header_hides_a_style(before: bytes, marker: bytes) -> None:
    body = _cod(precincts=b"\0" * 6)[1] if marker == COD else b"\0\1\5\4\4\0\1" + b"\x11" * 6
    stream = _with(marker + struct.pack(">H", len(body) + 2) + body, before)
    with pytest.raises(ImageError) as caught:
        jpeg_2000_stream.read_stream(memoryview(stream))
    assert caught.value.code == Code.UNSUPPORTED


def test_600_bytes_cost_no_memory() -> None:
    black = imagecodecs.jpeg2k_encode(np.zeros((1000, 1000), np.uint8), level=0, codecformat="J2K")
    at = black.find(COD)
    length = int.from_bytes(black[at + 2 : at + 4])
    style = _cod(precincts=b"\x11" * 6)[1]
    stream = black[:at] + COD + struct.pack(">H", len(style) + 2) + style + black[at + 2 + length :]
    content = encoding.dicom(np.zeros((1000, 1000), np.uint8), [stream], encoding.JPEG_2000)
    with pytest.raises(ImageError) as caught:
        encoding.stored_frame(content)
    assert caught.value.code == Code.UNSUPPORTED
