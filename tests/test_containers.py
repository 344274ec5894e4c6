from __future__ import annotations

import struct

import drawing
import numpy as np
import pytest
from PIL import Image

from batch_fracture.codes import Code
from batch_fracture.decode.containers import LAYOUTS, Layout, bmp, gif, png, webp
from batch_fracture.errors import ImageError

GREY = drawing.grey(48, 40)
COLOUR = Image.fromarray(np.stack([GREY] * 3, axis=2))


def _code(content: bytes, kind: str) -> Code:
    with pytest.raises(ImageError) as caught:
        LAYOUTS[kind](content)
    return caught.value.code


@pytest.mark.parametrize(
    ("content", "layout"),
    [
        (drawing.saved(GREY, "PNG"), Layout(rows=48, columns=40, bits=8)),
        (drawing.saved(GREY.astype(np.uint16), "PNG"), Layout(rows=48, columns=40, bits=16)),
        (drawing.saved(Image.fromarray(GREY > 9), "PNG"), Layout(rows=48, columns=40, bits=1)),
        (drawing.png(60_000, 60_000), Layout(rows=60_000, columns=60_000, bits=8)),
    ],
)
def test_png_layout(content: bytes, layout: Layout) -> None:
    assert png(content) == layout


def test_png_with_several_frames() -> None:
    first, *others = drawing.frames(3)
    assert png(drawing.saved(first, "PNG", save_all=True, append_images=others)).frames == 3


def test_png_checksums_find_any_changed_byte() -> None:
    content = drawing.saved(GREY, "PNG")
    for at in range(8, len(content)):
        changed = bytearray(content)
        changed[at] ^= 1
        assert _code(bytes(changed), "image/png") in (Code.CORRUPT, Code.TRUNCATED)


def test_png_that_does_not_begin_with_its_header() -> None:
    content = drawing.png(8, 6)
    text = drawing.png_chunk(b"tEXt", b"Title\0x")
    assert _code(content[:8] + text + content[8:], "image/png") == Code.CORRUPT
    assert png(drawing.png(8, 6, extra=text)).rows == 8


def test_png_of_no_size() -> None:
    assert _code(drawing.png(0, 6), "image/png") == Code.CORRUPT


def test_gif_layout_and_frames() -> None:
    assert gif(drawing.saved(GREY, "GIF")) == Layout(rows=48, columns=40)
    first, *others = drawing.frames(4)
    assert gif(drawing.saved(first, "GIF", save_all=True, append_images=others)).frames == 4


def test_gif_frame_that_sticks_out_counts() -> None:
    content = drawing.saved(GREY, "GIF")
    at = content.find(b",\0\0\0\0\x28\0\x30\0")
    wider = content[: at + 5] + struct.pack("<HH", 60_000, 50_000) + content[at + 9 :]
    assert gif(wider) == Layout(rows=50_000, columns=60_000)


def test_gif_with_an_unknown_block() -> None:
    content = drawing.saved(GREY, "GIF")
    assert _code(content[:-1] + b"\x07;", "image/gif") == Code.CORRUPT


@pytest.mark.parametrize("options", [{}, {"lossless": True}, {"exif": b"Exif\0\0II*\0\x08\0\0\0\0\0"}])
def test_webp_layout(options: dict[str, object]) -> None:
    assert webp(drawing.saved(COLOUR, "WEBP", **options)) == Layout(rows=48, columns=40)


def test_webp_frames() -> None:
    first, *others = drawing.frames(3)
    content = drawing.saved(first, "WEBP", save_all=True, append_images=others)
    assert webp(content) == Layout(rows=48, columns=40, frames=3)


def test_webp_chunk_that_claims_too_much() -> None:
    content = bytearray(drawing.saved(COLOUR, "WEBP"))
    content[16:20] = struct.pack("<I", len(content))
    assert _code(bytes(content), "image/webp") == Code.CORRUPT


def test_bmp_layout() -> None:
    content = drawing.saved(GREY, "BMP")
    assert bmp(content) == Layout(rows=48, columns=40)
    upside_down = content[:22] + struct.pack("<i", -48) + content[26:]
    assert bmp(upside_down) == Layout(rows=48, columns=40)
    wrong_size = content[:2] + struct.pack("<I", 2**31) + content[6:]
    assert bmp(wrong_size) == Layout(rows=48, columns=40)


def test_old_bmp_header() -> None:
    header = b"BM" + struct.pack("<IHHI", 0, 0, 0, 26) + struct.pack("<IHHHH", 12, 40, 48, 1, 24)
    assert bmp(header + bytes(40 * 3 * 48)) == Layout(rows=48, columns=40)
    assert _code(header + bytes(40 * 3 * 48 - 1), "image/bmp") == Code.TRUNCATED


@pytest.mark.parametrize("name", ["png", "gif", "webp", "webp-lossless", "bmp"])
def test_every_cut_is_noticed(name: str) -> None:
    content = drawing.one_of_each()[name]
    kind = f"image/{name.partition('-')[0]}"
    assert {_code(content[:size], kind) for size in range(20, len(content))} == {Code.TRUNCATED}


@pytest.mark.parametrize(
    ("rows", "columns", "bits"), [(0, 1, 8), (1, 0, 8), (1, 2**31, 8), (1, 1, 0), (1, 1, 65)]
)
def test_impossible_layouts(rows: int, columns: int, bits: int) -> None:
    with pytest.raises(ImageError) as caught:
        Layout(rows=rows, columns=columns, bits=bits)
    assert caught.value.code == Code.CORRUPT
