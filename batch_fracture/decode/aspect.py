"""Pixels that are not square: what the header says of them, and the picture as a viewer draws it."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pydicom
from PIL import Image
from pydicom.multival import MultiValue

Grey = npt.NDArray[np.uint8]

MAX_ASPECT = 4.0
"""A pixel that is taller or wider than that is a slip of the header."""
_SQUARE_ENOUGH = 0.005
"""Half a per cent of a side is less than two pixels of a model's input."""
_KEYWORDS = ("PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing", "PixelAspectRatio")
"""The vertical value comes first (PS3.3 10.7.1.3). Pixel Aspect Ratio is for images without a spacing
(C.7.6.3.1.7), so a spacing wins."""


def pixel_aspect(dataset: pydicom.Dataset) -> float:
    """Height of a pixel by its width; 1 when the header says nothing, or nothing possible."""
    for keyword in _KEYWORDS:
        try:
            value = dataset.get(keyword)
            if isinstance(value, MultiValue) and len(value) == 2:
                tall, wide = float(value[0]), float(value[1])
                if tall > 0 and wide > 0 and 1 / MAX_ASPECT <= tall / wide <= MAX_ASPECT:
                    return tall / wide
        except (ValueError, TypeError):  # no number; another element may hold one
            continue
    return 1.0


def to_square(grey_HW: Grey, aspect: float) -> Grey:
    """Resample to square pixels; the longer side keeps its number of pixels, so the picture cannot grow much.

    Args:
        grey_HW: uint8 (rows, columns).
        aspect: height of a pixel by its width.

    Returns:
        uint8 (rows, columns); the same array when its pixels are square enough.
    """
    if abs(aspect - 1) < _SQUARE_ENOUGH:
        return grey_HW
    rows, columns = grey_HW.shape
    scale = max(rows, columns) / max(rows * aspect, columns)
    size = (max(1, round(columns * scale)), max(1, round(rows * aspect * scale)))
    return np.asarray(Image.fromarray(grey_HW).resize(size, Image.Resampling.BILINEAR))
