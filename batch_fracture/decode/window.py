"""From stored values to the 8 bits that a viewer would show.

Images of at most 16 bits go through a table over their levels, so that memory beyond the image stays small.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

Grey = npt.NDArray[np.uint8]
Values = npt.NDArray[np.floating[Any]]
Counts = npt.NDArray[np.int64]
Stored = npt.NDArray[Any]
"""Integers as the image stores them, signed or not."""

LOW_PERCENTILE, HIGH_PERCENTILE = 0.5, 99.5
"""Of the values, when the image brings no window: a few hot or dead pixels do not set the contrast."""
_BLOCK_PIXELS = 2**20


def apply_window(values: Values, *, centre: float, width: float, function: str = "LINEAR") -> Grey:
    """Window of DICOM PS3.3 C.11.2.1.2 and C.11.2.1.3, output range 0 to 255.

    Args:
        values: floats, after the modality transformation.
        centre: Window Center (0028,1050).
        width: Window Width (0028,1051), above 0. LINEAR asks for at least 1; narrower windows, which values
            such as SUV or optical density bring, are read as LINEAR_EXACT, which gives them a slope.
        function: VOI LUT Function (0028,1056): LINEAR, LINEAR_EXACT or SIGMOID; unknown ones are LINEAR, its
            default.

    Returns:
        uint8 of the same shape.
    """
    if function == "SIGMOID":  # C.11.2.1.3.1
        exponent = np.clip(-4.0 * (values - centre) / width, -60.0, 60.0)
        return _to_grey(1.0 / (1.0 + np.exp(exponent)))
    if function == "LINEAR_EXACT" or width < 1:  # C.11.2.1.3.2
        return _to_grey((values - centre) / width + 0.5)
    if width == 1:
        return np.where(values <= centre - 0.5, 0, 255).astype(np.uint8)
    return _to_grey((values - (centre - 0.5)) / (width - 1.0) + 0.5)  # C.11.2.1.2.1


def stretch(values: Values, low: float, high: float) -> Grey:
    """Map low to 0 and high to 255. Returns uint8 of the same shape; all 0 when there is no range."""
    if high <= low:
        return np.zeros(values.shape, np.uint8)
    return _to_grey((values - low) / (high - low))


def window_by_percentiles(stored_HW: Stored) -> Grey:
    """Stretch the robust range of the values to 0 to 255; a flat image becomes 0.

    Args:
        stored_HW: integers or finite floats (rows, columns).

    Returns:
        uint8 (rows, columns).
    """
    if has_levels(stored_HW):
        levels_L = levels(stored_HW)
        values_L = levels_L.astype(np.float64)
        low, high = robust_range(values_L, count_levels(stored_HW, levels_L))
        return look_up(stored_HW, levels_L, stretch(values_L, low, high))
    low, high = percentiles(stored_HW).tolist()
    return by_rows(stored_HW, lambda block_HW: stretch(block_HW.astype(np.float64), low, high))


def percentiles(values: Stored) -> Values:
    """The robust range of values of any type, float64 (2,); the whole range when its ends meet."""
    bounds_2 = np.percentile(values.astype(np.float32, copy=False), [LOW_PERCENTILE, HIGH_PERCENTILE])
    if bounds_2[1] <= bounds_2[0]:
        bounds_2 = np.array([values.min(), values.max()])
    return bounds_2.astype(np.float64)


def has_levels(stored: Stored) -> bool:
    """Whether a table over all levels is small: integers of at most 16 bits."""
    return stored.dtype.kind in "iu" and stored.dtype.itemsize <= 2


def levels(stored: Stored) -> npt.NDArray[np.int32]:
    """Every integer from the lowest to the highest stored value, int32 (L,)."""
    return np.arange(int(stored.min()), int(stored.max()) + 1, dtype=np.int32)


def count_levels(stored_HW: Stored, levels_L: npt.NDArray[np.int32]) -> Counts:
    """How many pixels have each level, int64 (L,)."""
    counts_L = np.zeros(len(levels_L), np.int64)
    for block_HW in _blocks(stored_HW):
        offsets_HW = block_HW.astype(np.int32) - levels_L[0]
        counts_L += np.bincount(offsets_HW.ravel(), minlength=len(levels_L))
    return counts_L


def robust_range(values_L: Values, counts_L: Counts) -> tuple[float, float]:
    """The percentiles of a histogram, as `numpy.percentile` has them; the whole range when they meet."""
    order_L = np.argsort(values_L, kind="stable")
    sorted_L, ends_L = values_L[order_L], np.cumsum(counts_L[order_L])
    bounds = []
    for percentile in (LOW_PERCENTILE, HIGH_PERCENTILE):
        place = (int(ends_L[-1]) - 1) * percentile / 100.0
        below, above = sorted_L[np.searchsorted(ends_L, [int(place), int(np.ceil(place))], side="right")]
        bounds.append(float(below + (above - below) * (place - int(place))))
    low, high = bounds
    if high <= low:
        present = values_L[counts_L > 0]
        return float(present.min()), float(present.max())
    return low, high


def look_up(stored_HW: Stored, levels_L: npt.NDArray[np.int32], table_L: Grey) -> Grey:
    """Each pixel's entry of a table over `levels_L`. Returns uint8 (rows, columns)."""
    stored_HW = stored_HW.astype(stored_HW.dtype.newbyteorder("="), copy=False)
    unsigned = np.dtype(f"u{stored_HW.dtype.itemsize}")
    words = np.zeros(
        256**unsigned.itemsize, np.uint8
    )  # indexed by the bits of a pixel, so that none is moved
    words[levels_L % len(words)] = table_L
    return by_rows(stored_HW, lambda block_HW: np.take(words, block_HW.view(unsigned), mode="clip"))


def by_rows(image: Stored, show: Callable[[Stored], Grey]) -> Grey:
    """Apply `show` to blocks of rows, so that its temporaries stay small. Returns uint8 (rows, columns)."""
    return np.concatenate([show(block) for block in _blocks(image)])


def _blocks(image: Stored) -> list[Stored]:
    rows = max(1, _BLOCK_PIXELS // max(1, image.shape[1]))
    return [image[top : top + rows] for top in range(0, image.shape[0], rows)]


def _to_grey(fraction: Values) -> Grey:
    return np.asarray(np.round(np.clip(fraction, 0.0, 1.0) * 255.0), dtype=np.uint8)
