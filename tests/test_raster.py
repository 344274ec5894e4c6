from __future__ import annotations

import contextlib
import io
import zlib

import drawing
import imagecodecs
import numpy as np
import pytest
from PIL import Image, ImageOps

from batch_fracture import decode
from batch_fracture.codes import Code
from batch_fracture.decode import ImageHeader
from batch_fracture.errors import ImageError
from batch_fracture.settings import ReadingSettings

GREY = drawing.grey()
DEEP = GREY.astype(np.uint16) * 257
LUMA = np.array([0.299, 0.587, 0.114])
COLOUR = Image.fromarray(np.stack([GREY, 255 - GREY, GREY // 2], axis=2))


def _header(content: bytes) -> ImageHeader:
    return decode.read_header(content, ReadingSettings())


def _read(content: bytes) -> drawing.Grey:
    return decode.read_grey(content, _header(content), min_long_side=10_000)


def _code(content: bytes) -> Code:
    with pytest.raises(ImageError) as caught:
        _read(content)
    return caught.value.code


def _luma(image: Image.Image) -> drawing.Grey:
    return np.asarray(image.convert("RGB").convert("L"))


@pytest.mark.parametrize("container", ["PNG", "TIFF", "BMP", "GIF"])
def test_grey_comes_back_as_it_was(container: str) -> None:
    np.testing.assert_array_equal(_read(drawing.saved(GREY, container)), GREY)


@pytest.mark.parametrize("container", ["PNG", "TIFF", "BMP", "WEBP"])
def test_colour_becomes_luma(container: str) -> None:
    options = {"lossless": True} if container == "WEBP" else {}
    grey_HW = _read(drawing.saved(COLOUR, container, **options))
    np.testing.assert_array_equal(grey_HW, _luma(COLOUR))
    assert np.abs(grey_HW - np.asarray(COLOUR) @ LUMA).max() <= 0.51


def test_one_bit() -> None:
    bits_HW = GREY > 60
    for container in ("PNG", "TIFF", "BMP"):
        np.testing.assert_array_equal(
            _read(drawing.saved(Image.fromarray(bits_HW), container)), bits_HW * 255
        )


def test_transparent_parts_are_black() -> None:
    alpha_HW = np.where(np.arange(40) < 20, 255, 0).astype(np.uint8) * np.ones((48, 1), np.uint8)
    for colour in (Image.fromarray(GREY), COLOUR):
        image = colour.copy()
        image.putalpha(Image.fromarray(alpha_HW))
        expected_HW = np.where(alpha_HW == 255, _luma(colour), 0)
        for container in ("PNG", "TIFF"):
            np.testing.assert_array_equal(_read(drawing.saved(image, container)), expected_HW)


def test_half_transparent_is_half_as_bright() -> None:
    image = Image.fromarray(GREY).convert("RGBA")
    image.putalpha(128)
    assert np.abs(_read(drawing.saved(image, "PNG")) - GREY * (128 / 255)).max() < 1


def test_palette_and_its_transparency() -> None:
    palette = COLOUR.quantize(16)
    np.testing.assert_array_equal(_read(drawing.saved(palette, "PNG")), _luma(palette))
    indices_HW = np.asarray(palette)
    transparent_HW = np.where(indices_HW == 3, 0, _luma(palette))
    np.testing.assert_array_equal(_read(drawing.saved(palette, "PNG", transparency=3)), transparent_HW)


@pytest.mark.parametrize("container", ["JPEG", "TIFF"])
def test_cmyk(container: str) -> None:
    ink = COLOUR.convert("CMYK")
    options = {"quality": 100, "subsampling": 0} if container == "JPEG" else {}
    content = drawing.saved(ink, container, **options)
    if container == "JPEG":
        assert b"Adobe" in content
    assert np.abs(_read(content).astype(int) - _luma(ink).astype(int)).max() <= 3


def test_16_bits_are_stretched_between_their_percentiles() -> None:
    low, high = np.percentile(DEEP, [0.5, 99.5])
    expected_HW = np.round(np.clip((DEEP - low) / (high - low), 0, 1) * 255)
    big_endian = Image.frombytes("I;16B", (40, 48), DEEP.astype(">u2").tobytes())
    for content in (
        drawing.saved(DEEP, "PNG"),
        drawing.saved(DEEP, "TIFF"),
        drawing.saved(DEEP, "TIFF", compression="tiff_lzw"),
        drawing.saved(big_endian, "TIFF"),
    ):
        assert _header(content).bits_stored == 16
        np.testing.assert_array_equal(_read(content), expected_HW)


def test_wide_integers_and_floats() -> None:
    for values_HW, bits in ((GREY.astype(np.int32) * 70_000, 32), (GREY.astype(np.float32) / 255, 32)):
        content = drawing.saved(values_HW, "TIFF")
        assert _header(content).bits_stored == bits
        assert np.abs(_read(content).astype(int) - _read(drawing.saved(DEEP, "TIFF")).astype(int)).max() <= 1


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite(value: float) -> None:
    values_HW = GREY.astype(np.float32)
    values_HW[3, 4] = value
    assert _code(drawing.saved(values_HW, "TIFF")) == Code.CORRUPT


@pytest.mark.parametrize("stored_HW", [GREY, DEEP])
def test_white_is_zero_is_turned_round(stored_HW: np.ndarray) -> None:
    content = drawing.saved(stored_HW, "TIFF")
    inverted = drawing.with_tiff_tag(content, 262, 0)
    np.testing.assert_array_equal(_read(inverted), 255 - _read(content))


def test_tiff_of_an_unknown_layout_is_unsupported() -> None:
    assert _code(drawing.saved(GREY, "TIFF", tiffinfo={339: 6})) == Code.UNSUPPORTED
    assert _code(drawing.saved(COLOUR.convert("LAB"), "TIFF")) == Code.UNSUPPORTED


def _turned(container: str, orientation: int, **options: object) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return drawing.saved(GREY, container, exif=exif, **options)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize(
    ("container", "options"),
    [
        ("JPEG", {}),
        ("PNG", {}),
        ("WEBP", {"lossless": True}),
        ("TIFF", {}),
        ("TIFF", {"compression": "tiff_lzw"}),
    ],
)
def test_orientations_are_undone_once(container: str, options: dict[str, object], orientation: int) -> None:
    content = _turned(container, orientation, **options)
    stored = Image.fromarray(_read(_turned(container, 1, **options)))
    stored.getexif()[0x0112] = orientation
    expected_HW = np.asarray(ImageOps.exif_transpose(stored))
    np.testing.assert_array_equal(_read(content), expected_HW)
    assert (_header(content).rows, _header(content).columns) == GREY.shape
    if container != "JPEG":
        opened = ImageOps.exif_transpose(Image.open(io.BytesIO(content)))
        np.testing.assert_array_equal(expected_HW, _luma(opened))


def test_cmyk_jpeg_is_turned_too() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    ink = COLOUR.convert("CMYK")
    upright_HW, turned_HW = (_read(drawing.saved(ink, "JPEG", exif=e)) for e in (Image.Exif(), exif))
    np.testing.assert_array_equal(turned_HW, np.rot90(upright_HW, -1))


def test_16_bit_tiff_is_turned_too() -> None:
    content = drawing.saved(DEEP, "TIFF", tiffinfo={274: 3})
    np.testing.assert_array_equal(_read(content), np.rot90(_read(drawing.saved(DEEP, "TIFF")), 2))


@pytest.mark.parametrize("value", [0, 9, 65535])
def test_orientations_that_do_not_exist_are_upright(value: int) -> None:
    np.testing.assert_array_equal(_read(_turned("PNG", value)), GREY)
    np.testing.assert_array_equal(_read(_turned("TIFF", value)), GREY)
    assert _read(_turned("JPEG", value)).shape == GREY.shape


def test_damaged_exif_does_not_cost_the_picture() -> None:
    for exif in (b"Exif\0\0", b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12", b"nonsense"):
        np.testing.assert_array_equal(_read(drawing.saved(GREY, "PNG", exif=exif)), GREY)


@pytest.mark.parametrize("container", ["PNG", "GIF", "WEBP"])
def test_animations_are_skipped(container: str) -> None:
    first, *others = drawing.frames(3)
    assert _code(drawing.saved(first, container, save_all=True, append_images=others)) == Code.ANIMATED


def test_multi_page_tiff_is_skipped() -> None:
    first, *others = drawing.frames(2)
    assert _code(drawing.saved(first, "TIFF", save_all=True, append_images=others)) == Code.MULTI_FRAME


@pytest.mark.parametrize("raw", [b"", bytes(41 * 24), bytes(41 * 47 + 40)])
def test_png_whose_stream_ends_before_its_rows(raw: bytes) -> None:
    assert _code(drawing.png(48, 40, raw=raw)) == Code.TRUNCATED
    assert not _read(drawing.png(48, 40, raw=bytes(41 * 48))).any()


def test_interlaced_png_whose_stream_ends_before_its_rows() -> None:
    # 10 x 9 pixels in Adam7: the passes have 2x2, 1x2, 3x1, 2x3, 5x2, 4x5 and 9x5 pixels, and a byte per row
    whole = 2 * 3 + 2 * 2 + 1 * 4 + 3 * 3 + 2 * 6 + 5 * 5 + 5 * 10
    interlaced = drawing.png(10, 9, raw=bytes(whole), interlaced=True)
    assert _read(interlaced).shape == (10, 9)
    assert _code(drawing.png(10, 9, raw=bytes(whole - 1), interlaced=True)) == Code.TRUNCATED


@pytest.mark.parametrize("stored_HW", [GREY, DEEP, np.asarray(COLOUR)])
@pytest.mark.parametrize("rows_per_strip", [48, 10])
def test_deflated_tiff_strips_are_checked(stored_HW: np.ndarray, rows_per_strip: int) -> None:
    options = {"compression": "tiff_adobe_deflate", "tiffinfo": {278: rows_per_strip}}
    content = drawing.saved(stored_HW, "TIFF", **options)
    assert _read(content).shape == (48, 40)
    at = content.find(b"x\x9c")
    for damaged in (
        content[: at + 200] + bytes(60) + content[at + 260 :],
        content[:at] + b"\xff" + content[at + 1 :],
    ):
        assert _code(damaged) == Code.CORRUPT


def test_libraries_print_nothing_of_damaged_files(capfd: pytest.CaptureFixture[str]) -> None:
    deep_HWC = np.dstack([drawing.grey().astype(np.uint16) * 200] * 3)
    more = imagecodecs.png_encode(deep_HWC)
    at = more.find(b"IDAT")
    length = int.from_bytes(more[at - 4 : at])
    rows = zlib.decompress(more[at + 4 : at + 4 + length]) + bytes(5000)
    png = more[: at - 4] + drawing.png_chunk(b"IDAT", zlib.compress(rows)) + drawing.png_chunk(b"IEND", b"")
    lzw = drawing.saved(drawing.grey(), "TIFF", compression="tiff_lzw")
    tiffs = [lzw[:8] + noise + lzw[40:] for noise in (b"\xff" * 32, b"\x5a" * 32)]
    for content in (png, *tiffs, drawing.with_tiff_tag(lzw, 259, 6)):
        with contextlib.suppress(ImageError):
            decode.read_grey(content, decode.read_header(content, ReadingSettings()), min_long_side=64)
    assert capfd.readouterr() == ("", "")
