from __future__ import annotations

import io
from pathlib import Path

import drawing
import imagecodecs
import numpy as np
import pytest
from PIL import Image

from batch_fracture.codes import Code
from batch_fracture.decode import jpeg
from batch_fracture.errors import ImageError

GREY = drawing.grey(480, 400)
CONTENT = drawing.saved(GREY, "JPEG", quality=90)


def _read(content: bytes, *, min_long_side: int = 10_000) -> drawing.Grey | None:
    return jpeg.read_grey(content, jpeg.read_frame(content), min_long_side=min_long_side)


def _code(content: bytes) -> Code:
    with pytest.raises(ImageError) as caught:
        _read(content)
    return caught.value.code


def _with_frame(content: bytes, *, marker: int = 0xC0, bits: int = 8) -> bytes:
    at = jpeg.read_frame(content).at
    return content[: at + 1] + bytes([marker]) + content[at + 2 : at + 4] + bytes([bits]) + content[at + 5 :]


def test_frame_header() -> None:
    frame = jpeg.read_frame(CONTENT)
    assert (frame.marker, frame.bits, frame.rows, frame.columns, frame.components) == (0xC0, 8, 480, 400, 1)
    assert frame.orientation == 1
    assert CONTENT[frame.at : frame.at + 2] == b"\xff\xc0"


def test_frame_header_of_a_progressive_colour_image() -> None:
    colour = Image.fromarray(np.stack([GREY] * 3, axis=2))
    frame = jpeg.read_frame(drawing.saved(colour, "JPEG", progressive=True))
    assert (frame.marker, frame.components) == (0xC2, 3)


def test_fill_bytes_and_standalone_markers_before_a_segment() -> None:
    padded = CONTENT[:2] + b"\xff\x01\xff\xff\xff" + CONTENT[2:]
    assert jpeg.read_frame(padded).rows == 480


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_comes_from_exif(orientation: int) -> None:
    exif = Image.Exif()
    exif[0x010E] = "a description"
    exif[0x0112] = orientation
    assert jpeg.read_frame(drawing.saved(GREY, "JPEG", exif=exif)).orientation == orientation


def test_damaged_exif_does_not_cost_the_picture() -> None:
    content = drawing.saved(GREY, "JPEG", exif=b"Exif\0\0MM\0*\xff\xff\xff\xff")
    assert jpeg.read_frame(content).orientation == 1
    np.testing.assert_array_equal(_read(content), _read(drawing.saved(GREY, "JPEG")))


def test_pixels_are_those_of_libjpeg() -> None:
    np.testing.assert_array_equal(_read(CONTENT), np.asarray(Image.open(io.BytesIO(CONTENT))))


@pytest.mark.parametrize(
    ("min_long_side", "shape"),
    [
        (1, (60, 50)),
        (60, (60, 50)),
        (61, (120, 100)),
        (240, (240, 200)),
        (241, (480, 400)),
        (10_000, (480, 400)),
    ],
)
def test_reduced_no_further_than_asked(min_long_side: int, shape: tuple[int, int]) -> None:
    grey_HW = _read(CONTENT, min_long_side=min_long_side)
    assert grey_HW is not None
    assert grey_HW.shape == shape


def test_odd_sizes_are_rounded_up() -> None:
    grey_HW = _read(drawing.saved(drawing.grey(481, 399), "JPEG"), min_long_side=60)
    assert grey_HW is not None
    assert grey_HW.shape == (61, 50)


def test_cmyk_is_left_to_the_caller_once_it_is_complete() -> None:
    content = drawing.saved(Image.fromarray(GREY).convert("CMYK"), "JPEG")
    assert _read(content) is None
    assert _code(content[:-400]) == Code.TRUNCATED
    assert _code(content[:-400] + b"\xff\xd9") == Code.TRUNCATED


@pytest.mark.parametrize(
    ("marker", "bits"),
    [(0xC1, 12), (0xC0, 12), (0xC3, 8), (0xC3, 16), (0xC5, 8), (0xC9, 8), (0xCA, 8), (0xCB, 8)],
)
def test_other_processes_are_unsupported(marker: int, bits: int) -> None:
    assert _code(_with_frame(CONTENT, marker=marker, bits=bits)) == Code.UNSUPPORTED


@pytest.mark.parametrize("name", ["jpeg", "jpeg-progressive", "jpeg-restarts", "jpeg-cmyk"])
def test_every_cut_is_truncated(name: str) -> None:
    content = drawing.one_of_each()[name]
    assert {_code(content[:size]) for size in range(2, len(content))} == {Code.TRUNCATED}


def test_a_thumbnail_with_an_end_of_its_own_hides_no_cut() -> None:
    thumbnail = drawing.saved(GREY[:80, :60], "JPEG")
    content = drawing.saved(GREY, "JPEG", exif=b"Exif\0\0II*\0\x08\0\0\0\0\0" + thumbnail)
    assert _code(content[:-4000]) == Code.TRUNCATED


def test_a_cut_that_was_closed_with_an_end_marker_is_truncated() -> None:
    for missing in (100, 1000, 10_000):
        assert _code(CONTENT[:-missing] + b"\xff\xd9") == Code.TRUNCATED


def test_a_hole_in_the_middle_is_noticed() -> None:
    middle = len(CONTENT) // 2
    assert _code(CONTENT[:middle] + CONTENT[middle + 4000 :]) == Code.TRUNCATED
    colour = drawing.saved(Image.fromarray(np.stack([GREY] * 3, axis=2)), "JPEG", restart_marker_rows=1)
    second, third = (colour.find(bytes([0xFF, 0xD0 + number])) for number in (1, 2))
    assert _code(colour[:second] + colour[third:]) == Code.CORRUPT


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"\xff\xd8\xff\xd9", Code.TRUNCATED),
        (b"\xff\xd8\xff\xd9\0\0", Code.CORRUPT),
        (b"\xff\xd8\xff\xda\0\x04\0\0", Code.CORRUPT),
        (b"\xff\xd8\xff\xe0\0\x04ab" + b"no marker", Code.CORRUPT),
        (b"\xff\xd8\xff\xc0\0\x0b\x08\0\0\0\x10\x01" + bytes(9), Code.CORRUPT),
        (b"\xff\xd8\xff\xc0\0\x07\x08\0\x10\0\x10", Code.TRUNCATED),
    ],
)
def test_malformed_headers(content: bytes, code: Code) -> None:
    assert _code(content) == code


def test_messages_are_our_own_words(shared: Path) -> None:
    with pytest.raises(ImageError) as caught:
        _read(next((shared / "radiographs_damaged").glob("*.jpg")).read_bytes())
    assert caught.value.message == "the JPEG's compressed data ends early"


def test_every_shared_damaged_radiograph_is_truncated(shared: Path) -> None:
    paths = sorted((shared / "radiographs_damaged").glob("*.jpg"))
    assert {path.name: _code(path.read_bytes()) for path in paths} == {
        path.name: Code.TRUNCATED for path in paths
    }
    assert len(paths) == 30


def test_no_frame_header_hides_behind_a_stuffed_zero() -> None:
    at = jpeg.read_frame(CONTENT).at
    hidden = b"\xff\xc0\x00\x0b\x08\x75\x30\x75\x30\x01\x01\x11\x00"
    with pytest.raises(ImageError) as caught:
        jpeg.read_frame(CONTENT[:at] + bytes((0xFF, 0, 0, 2 + len(hidden))) + hidden + CONTENT[at:])
    assert caught.value.code == Code.CORRUPT


def test_jpeg_ls_in_a_file_of_its_own_is_unsupported() -> None:
    assert _code(imagecodecs.jpegls_encode(GREY)) == Code.UNSUPPORTED
