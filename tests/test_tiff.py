from __future__ import annotations

import struct

import drawing
import numpy as np
import pytest
from PIL import Image

from batch_fracture.codes import Code
from batch_fracture.decode import tiff
from batch_fracture.decode.containers import Layout
from batch_fracture.errors import ImageError

GREY = drawing.grey(48, 40)
DEEP = GREY.astype(np.uint16) * 257
TIFFS = [name for name in drawing.one_of_each() if name.startswith("tiff")]


def _code(content: bytes) -> Code:
    with pytest.raises(ImageError) as caught:
        tiff.read_layout(content)
    return caught.value.code


@pytest.mark.parametrize(
    ("content", "bits"),
    [
        (drawing.saved(GREY, "TIFF"), 8),
        (drawing.saved(DEEP, "TIFF"), 16),
        (drawing.saved(DEEP, "TIFF", big_tiff=True), 16),
        (drawing.saved(GREY.astype(np.float32), "TIFF"), 32),
        (drawing.saved(GREY, "TIFF", compression="tiff_lzw"), 8),
        (drawing.saved(Image.fromarray(GREY > 9), "TIFF"), 1),
        (drawing.one_of_each()["tiff-16-big-endian"], 16),
    ],
)
def test_layout(content: bytes, bits: int) -> None:
    assert tiff.read_layout(content) == Layout(rows=48, columns=40, bits=bits)


def test_size_is_as_stored_before_orientation() -> None:
    content = drawing.saved(GREY, "TIFF", tiffinfo={274: 6})
    assert tiff.read_layout(content) == Layout(rows=48, columns=40)


def test_pages_are_counted() -> None:
    first, *others = drawing.frames(3)
    assert tiff.read_layout(drawing.saved(first, "TIFF", save_all=True, append_images=others)).frames == 3


def test_a_reduced_copy_after_the_page_is_no_page() -> None:
    first, *others = drawing.frames(2)
    reduced = drawing.saved(first, "TIFF", save_all=True, append_images=others, tiffinfo={254: 1})
    assert tiff.read_layout(reduced).frames == 2  # the reduced copy comes first: a decoder would read it
    assert tiff.read_layout(drawing.with_tiff_tag(reduced, 254, 0)).frames == 1


def test_a_chain_of_pages_that_returns_to_itself_ends() -> None:
    content = bytearray(drawing.saved(GREY, "TIFF"))
    at = struct.unpack("<I", content[4:8])[0]
    end = at + 2 + 12 * struct.unpack("<H", content[at : at + 2])[0]
    content[end : end + 4] = struct.pack("<I", at)
    assert tiff.read_layout(bytes(content)).frames == 64


@pytest.mark.parametrize("name", TIFFS)
def test_every_cut_is_noticed(name: str) -> None:
    content = drawing.one_of_each()[name]
    assert {_code(content[:size]) for size in range(8, len(content))} == {Code.TRUNCATED}


def test_rows_that_no_strip_holds() -> None:
    content = drawing.saved(GREY, "TIFF", compression="tiff_lzw")
    assert _code(drawing.with_tiff_tag(content, 278, 8)) == Code.CORRUPT
    assert _code(drawing.with_tiff_tag(drawing.saved(GREY, "TIFF"), 257, 49)) == Code.CORRUPT
    assert _code(drawing.with_tiff_tag(drawing.saved(GREY, "TIFF"), 256, 41)) == Code.TRUNCATED


def test_a_jpeg_strip_without_its_end() -> None:
    content = drawing.saved(GREY, "TIFF", compression="jpeg")
    end = content.find(b"\xff\xd9")
    assert _code(content[:end] + b"\0\0" + content[end + 2 :]) == Code.TRUNCATED


@pytest.mark.parametrize("compression", ["group3", "group4", "tiff_ccitt"])
def test_fax_codings_are_unsupported(compression: str) -> None:
    assert (
        _code(drawing.saved(Image.fromarray(GREY > 9), "TIFF", compression=compression)) == Code.UNSUPPORTED
    )


def test_no_size() -> None:
    assert _code(drawing.with_tiff_tag(drawing.saved(GREY, "TIFF"), 256, 0)) == Code.CORRUPT


def test_white_is_zero() -> None:
    content = drawing.saved(DEEP, "TIFF")
    assert not tiff.is_white_zero(content)
    assert tiff.is_white_zero(drawing.with_tiff_tag(content, 262, 0))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("order", ["<", ">"])
def test_exif_orientation(orientation: int, order: str) -> None:
    mark = b"II*\0" if order == "<" else b"MM\0*"
    entries = struct.pack(f"{order}HHII", 271, 2, 4, 0) + struct.pack(
        f"{order}HHIHH", 274, 3, 1, orientation, 0
    )
    exif = mark + struct.pack(f"{order}IH", 8, 2) + entries
    assert tiff.exif_orientation(exif) == orientation
    assert tiff.exif_orientation(exif[:-20]) == 1


@pytest.mark.parametrize("exif", [b"", b"II", b"II*\0\xff\xff\xff\xff", b"MM\0*\0\0\0\x08\xff\xff"])
def test_damaged_exif_is_upright(exif: bytes) -> None:
    assert tiff.exif_orientation(exif) == 1


def _of_one_block(side: int, samples: int, *, tiled: bool) -> bytes:
    """10 x 10 pixels in one strip or tile."""
    tags = {256: 10, 257: 10, 258: 8, 259: 5, 262: 1, 277: samples}
    tags |= {322: side, 323: side, 324: 8, 325: 100} if tiled else {273: 8, 278: 10, 279: 100}
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in sorted(tags.items()))
    return b"II*\0\x08\0\0\0" + struct.pack("<H", len(tags)) + entries + bytes(104)


def test_a_tile_far_larger_than_its_picture_is_refused_before_it_gets_memory() -> None:
    assert tiff.read_layout(_of_one_block(1024, 1, tiled=True)) == Layout(rows=10, columns=10)
    for side in (1040, 20_000, 2**31):
        assert _code(_of_one_block(side, 1, tiled=True)) == Code.CORRUPT


@pytest.mark.parametrize("tiled", [False, True])
def test_a_pixel_has_at_most_six_samples(tiled: bool) -> None:
    assert tiff.read_layout(_of_one_block(16, 6, tiled=tiled)) == Layout(rows=10, columns=10)
    assert _code(_of_one_block(16, 7, tiled=tiled)) == Code.UNSUPPORTED
    assert _code(_of_one_block(16, 60_000, tiled=tiled)) == Code.UNSUPPORTED
    assert _code(_of_one_block(16, 0, tiled=tiled)) == Code.CORRUPT
