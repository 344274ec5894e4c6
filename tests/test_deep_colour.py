from __future__ import annotations

import struct

import drawing
import imagecodecs
import numpy as np
import numpy.typing as npt
import pytest

from batch_fracture import decode
from batch_fracture.codes import Code
from batch_fracture.decode.window import window_by_percentiles
from batch_fracture.errors import ImageError
from batch_fracture.settings import ReadingSettings

TWELVE = drawing.grey().astype(np.uint16) * 16
SHOWN = window_by_percentiles(TWELVE)
ALPHA = np.where(np.arange(40) < 20, 65535, 0).astype(np.uint16) * np.ones((48, 1), np.uint16)
SAMPLES = {
    "rgb": np.stack([TWELVE] * 3, axis=2),
    "rgb-alpha": np.stack([TWELVE] * 3 + [ALPHA], axis=2),
    "grey-alpha": np.stack([TWELVE, ALPHA], axis=2),
}


def _tiff(
    samples_HWC: npt.NDArray[np.uint16],
    *,
    planar: bool = False,
    order: str = "<",
    photometric: int,
    orientation: int = 1,
) -> bytes:
    """An uncompressed TIFF of one strip, or of one for each plane."""
    rows, columns, num = samples_HWC.shape
    body = (np.moveaxis(samples_HWC, 2, 0) if planar else samples_HWC).astype(f"{order}u2").tobytes()
    strips = num if planar else 1
    size, body_at = len(body) // strips, 512
    tags = {
        256: [columns],
        257: [rows],
        258: [16] * num,
        259: [1],
        262: [photometric],
        277: [num],
        278: [rows],
    }
    tags |= {273: [body_at + size * n for n in range(strips)], 279: [size] * strips, 274: [orientation]}
    tags |= {284: [2 if planar else 1], 338: [2] * (num in (2, 4))}
    named = sorted((tag, values) for tag, values in tags.items() if values)
    head = struct.pack(f"{order}2sHI", b"II" if order == "<" else b"MM", 42, 8) + struct.pack(
        f"{order}H", len(named)
    )
    extra, extra_at = b"", len(head) + 12 * len(named) + 4
    for tag, values in named:
        kind = 4 if tag in (273, 279) else 3
        packed = struct.pack(f"{order}{len(values)}{'I' if kind == 4 else 'H'}", *values)
        if len(packed) > 4:
            extra, packed = extra + packed, struct.pack(f"{order}I", extra_at + len(extra))
        head += struct.pack(f"{order}HHI", tag, kind, len(values)) + packed.ljust(4, b"\0")
    return (head + bytes(4) + extra).ljust(body_at, b"\0") + body


def _read(content: bytes) -> drawing.Grey:
    header = decode.read_header(content, ReadingSettings())
    assert header.bits_stored == 16
    return decode.read_grey(content, header, min_long_side=10_000)


def _expected(kind: str) -> drawing.Grey:
    return np.where(ALPHA > 0, SHOWN, 0) if "alpha" in kind else SHOWN


@pytest.mark.parametrize("kind", SAMPLES)
def test_png_of_12_bits_is_not_black(kind: str) -> None:
    np.testing.assert_array_equal(_read(imagecodecs.png_encode(SAMPLES[kind])), _expected(kind))


@pytest.mark.parametrize("planar", [False, True])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("kind", SAMPLES)
def test_tiff_of_12_bits_is_not_black(kind: str, order: str, planar: bool) -> None:
    photometric = 1 if kind.startswith("grey") else 2
    content = _tiff(SAMPLES[kind], planar=planar, order=order, photometric=photometric)
    np.testing.assert_array_equal(_read(content), _expected(kind))


def test_tiff_is_turned_upright_and_white_may_be_zero() -> None:
    turned = _tiff(SAMPLES["rgb"], photometric=2, orientation=6)
    np.testing.assert_array_equal(_read(turned), np.rot90(SHOWN, -1))
    inverted = _tiff(SAMPLES["grey-alpha"], photometric=0)
    np.testing.assert_array_equal(_read(inverted), np.where(ALPHA > 0, 255 - SHOWN, 0))


def test_colours_become_luma() -> None:
    colour_HWC = np.stack([TWELVE, 4095 - TWELVE, TWELVE // 2], axis=2)
    luma_HW = np.rint(colour_HWC @ np.array([0.299, 0.587, 0.114])).astype(np.uint16)
    difference_HW = _read(imagecodecs.png_encode(colour_HWC)).astype(int) - window_by_percentiles(luma_HW)
    assert np.abs(difference_HW).max() <= 1


@pytest.mark.parametrize("size", [300, 2000, -1])
def test_cut_files(size: int) -> None:
    for content in (imagecodecs.png_encode(SAMPLES["rgb"]), _tiff(SAMPLES["rgb"], photometric=2)):
        with pytest.raises(ImageError) as caught:
            _read(content[:size])
        assert caught.value.code == Code.TRUNCATED
