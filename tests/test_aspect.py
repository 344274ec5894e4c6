from __future__ import annotations

import drawing
import numpy as np
import pytest
from pydicom.dataset import Dataset

from batch_fracture.decode.aspect import pixel_aspect, to_square


def _aspect(**tags: object) -> float:
    dataset = Dataset()
    for keyword, value in tags.items():
        setattr(dataset, keyword, value)
    return pixel_aspect(dataset)


@pytest.mark.parametrize(
    ("tags", "aspect"),
    [
        ({}, 1.0),
        ({"PixelSpacing": [0.2, 0.1]}, 2.0),
        ({"ImagerPixelSpacing": [0.1, 0.2]}, 0.5),
        ({"NominalScannedPixelSpacing": [0.4, 0.1]}, 4.0),
        ({"PixelAspectRatio": [3, 4]}, 0.75),
        ({"PixelSpacing": [0.1, 0.1], "PixelAspectRatio": [2, 1]}, 1.0),
        ({"PixelSpacing": [0.0, 0.0], "ImagerPixelSpacing": [0.2, 0.1]}, 2.0),
        ({"PixelSpacing": None, "PixelAspectRatio": [2, 1]}, 2.0),
        ({"PixelAspectRatio": 1}, 1.0),
        ({"PixelAspectRatio": [1, 0]}, 1.0),
        ({"PixelAspectRatio": [-2, -1]}, 1.0),
        ({"PixelAspectRatio": [1, 5]}, 1.0),
        ({"PixelSpacing": [0.2, 0.1, 0.1]}, 1.0),
    ],
)
def test_height_by_width_of_a_pixel(tags: dict[str, object], aspect: float) -> None:
    assert _aspect(**tags) == aspect


def test_square_pixels_stay_as_they_are() -> None:
    grey_HW = drawing.grey()
    assert to_square(grey_HW, 1.0) is grey_HW
    assert to_square(grey_HW, 1.001) is grey_HW


@pytest.mark.parametrize(
    ("shape", "aspect", "squared"),
    [
        ((40, 40), 2.0, (40, 20)),
        ((40, 40), 0.5, (20, 40)),
        ((20, 40), 2.0, (40, 40)),
        ((20, 40), 0.5, (10, 40)),
        ((40, 20), 0.5, (40, 40)),
        ((10, 40), 2.0, (20, 40)),
        ((1, 400), 0.25, (1, 400)),
    ],
)
def test_the_longer_side_keeps_its_pixels(
    shape: tuple[int, int], aspect: float, squared: tuple[int, int]
) -> None:
    assert to_square(np.full(shape, 7, np.uint8), aspect).shape == squared


def test_a_squeezed_disc_becomes_round_again() -> None:
    y_H1, x_W = np.mgrid[-99.5:100, -49.75:50:0.5]
    disc_HW = np.where(np.hypot(y_H1, x_W * 2) < 90, 255, 0).astype(np.uint8)[:, ::2]  # pixels 2 wide, 1 tall
    round_HW = to_square(disc_HW, 0.5)
    assert round_HW.shape == (200, 200)
    assert abs(int((round_HW.max(axis=0) > 128).sum()) - int((round_HW.max(axis=1) > 128).sum())) <= 2
