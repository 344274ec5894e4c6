from __future__ import annotations

import drawing
import numpy as np
import pytest
from PIL import Image

from batch_fracture import decode
from batch_fracture.errors import ImageError
from batch_fracture.preprocess import InputSpec, letterbox, letterbox_boxes, read_input
from batch_fracture.settings import ReadingSettings

SPEC = InputSpec(size=64)


@pytest.mark.parametrize(
    ("shape", "inside"),
    [
        ((64, 64), (slice(0, 64), slice(0, 64))),
        ((640, 320), (slice(0, 64), slice(16, 48))),
        ((320, 640), (slice(16, 48), slice(0, 64))),
        ((100, 101), (slice(0, 63), slice(0, 64))),
        ((10, 5), (slice(0, 64), slice(16, 48))),  # smaller images are enlarged
        ((3000, 1), (slice(0, 64), slice(31, 32))),
        ((1, 3000), (slice(31, 32), slice(0, 64))),
        ((1, 1), (slice(0, 64), slice(0, 64))),
    ],
)
def test_letterbox_keeps_the_aspect_ratio_and_centres(
    shape: tuple[int, int], inside: tuple[slice, slice]
) -> None:
    field_SS = letterbox(np.full(shape, 200, np.uint8), InputSpec(size=64, fill=7))
    expected_SS = np.full((64, 64), 7, np.uint8)
    expected_SS[inside] = 200
    np.testing.assert_array_equal(field_SS, expected_SS)
    assert field_SS.dtype == np.uint8
    assert field_SS.flags.c_contiguous


@pytest.mark.parametrize("shape", [(90, 70), (70, 90), (64, 64), (300, 20), (1500, 1200)])
def test_boxes_go_where_letterbox_puts_what_they_frame(shape: tuple[int, int]) -> None:
    rows, columns = shape
    grey_HW = np.zeros(shape, np.uint8)
    top, bottom, left, right = rows // 4, rows // 2, columns // 5, columns // 2
    grey_HW[top:bottom, left:right] = 255
    box = [
        (left + right) / 2 / columns,
        (top + bottom) / 2 / rows,
        (right - left) / columns,
        (bottom - top) / rows,
    ]
    corners_K4 = letterbox_boxes(np.array([box], np.float32), shape, SPEC)
    assert (corners_K4.shape, corners_K4.dtype) == ((1, 4), np.float32)
    bright = np.argwhere(letterbox(grey_HW, SPEC) > 127)
    seen = [bright[:, 1].min(), bright[:, 0].min(), bright[:, 1].max() + 1, bright[:, 0].max() + 1]
    np.testing.assert_allclose(corners_K4[0] * 64, seen, atol=1.01)


def test_boxes_end_where_the_image_ends() -> None:
    boxes_K4 = np.array([[0.0, 0.5, 1.0, 3.0], [0.5, 0.5, 1.0, 1.0]], np.float32)
    corners_K4 = letterbox_boxes(boxes_K4, (64, 32), SPEC)
    np.testing.assert_allclose(corners_K4, [[0.25, 0, 0.5, 1], [0.25, 0, 0.75, 1]])


def test_an_image_of_the_right_size_stays_as_it_is() -> None:
    grey_HW = drawing.grey(64, 64)
    np.testing.assert_array_equal(letterbox(grey_HW, SPEC), grey_HW)


def test_resizing_averages_instead_of_skipping() -> None:
    lines_HW = np.zeros((256, 256), np.uint8)
    lines_HW[::2] = 200
    inner_SS = letterbox(lines_HW, SPEC)[2:-2]
    assert np.abs(inner_SS.astype(int) - 100).max() <= 1


def test_orientation_is_kept() -> None:
    grey_HW = np.zeros((200, 100), np.uint8)
    grey_HW[:20, :20] = 255
    field_SS = letterbox(grey_HW, SPEC)
    assert field_SS[2, 18] == 255
    assert field_SS[-3, 18] == field_SS[2, 45] == 0


def _input(content: bytes, spec: InputSpec = SPEC) -> np.ndarray:
    return read_input(content, decode.read_header(content, ReadingSettings()), spec)


def test_read_input_is_decode_and_letterbox() -> None:
    grey_HW = drawing.grey(90, 70)
    np.testing.assert_array_equal(_input(drawing.saved(grey_HW, "PNG")), letterbox(grey_HW, SPEC))


def test_a_large_jpeg_gives_nearly_what_its_full_decode_gives() -> None:
    y_H1, x_W = np.mgrid[0:1200, 0:900]
    smooth_HW = (127 + 60 * np.sin(y_H1 / 90) + 60 * np.cos(x_W / 70)).astype(np.uint8)
    content = drawing.saved(smooth_HW, "JPEG", quality=95)
    difference_SS = np.abs(_input(content).astype(int) - letterbox(smooth_HW, SPEC).astype(int))
    assert difference_SS.mean() < 1
    assert difference_SS.max() <= 4


def test_containers_agree() -> None:
    grey_HW = drawing.grey(300, 200)
    inputs = [_input(drawing.saved(grey_HW, container)) for container in ("PNG", "TIFF", "BMP", "GIF")]
    colour = Image.fromarray(grey_HW).convert("RGB")
    inputs.append(_input(drawing.saved(colour, "PNG")))
    window = {"WindowCenter": 128, "WindowWidth": 256}  # the identity for 8 bits
    inputs.append(_input(drawing.dicom(grey_HW, **window)))
    for other_SS in inputs[1:]:
        np.testing.assert_array_equal(other_SS, inputs[0])


def test_what_cannot_be_read_keeps_its_code() -> None:
    content = drawing.saved(drawing.grey(300, 200), "JPEG")
    header = decode.read_header(content, ReadingSettings())
    with pytest.raises(ImageError) as caught:
        read_input(content[:-50], header, SPEC)
    assert caught.value.code == "TRUNCATED"


def test_the_decoder_keeps_twice_the_side() -> None:
    assert InputSpec(size=320).min_long_side == 640


@pytest.mark.parametrize(
    "spec",
    [{"size": 31}, {"size": 2049}, {"size": 64, "layout": "crop"}, {"size": 64, "interpolation": "bicubic"}],
)
def test_unknown_specs_are_refused(spec: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"input size|unknown preprocessing"):
        InputSpec(**spec)  # type: ignore[arg-type]
