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
Mask = npt.NDArray[np.bool_]
Stored = npt.NDArray[Any]
"""Integers as the image stores them, signed or not."""

LOW_PERCENTILE, HIGH_PERCENTILE = 0.5, 99.5
"""Of the values, when the image brings no window: a few hot or dead pixels do not set the contrast."""
_BLOCK_PIXELS = 2**20
_SAMPLE_PIXELS, _SAMPLE_ROWS = 2**20, 512


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
    low, high = robust_bounds(stored_HW)
    if has_levels(stored_HW):
        levels_L = levels(stored_HW)
        return look_up(stored_HW, levels_L, stretch(levels_L.astype(np.float64), low, high))
    return by_rows(stored_HW, lambda block_HW: stretch(block_HW.astype(np.float64), low, high))


def robust_bounds(
    stored_HW: Stored,
    *,
    rescale: Callable[[Values], Values] = lambda values: values,
    native: Callable[[Stored], Mask] = lambda stored: np.ones(stored.shape, np.bool_),
) -> tuple[float, float]:
    """The percentiles of an image, or its whole range when they meet.

    Of a large image so many rows are looked at, evenly spread, that they hold a million pixels.

    Args:
        stored_HW: integers or finite floats (rows, columns).
        rescale: from stored values to those whose range is wanted.
        native: which stored values belong to the picture; all count when none does.
    """
    rows, columns = stored_HW.shape
    step = max(1, min(rows * columns // _SAMPLE_PIXELS, rows // _SAMPLE_ROWS))
    low, high = _bounds(stored_HW[::step], rescale, native)
    return (low, high) if high > low or step == 1 else _bounds(stored_HW, rescale, native)


def _bounds(
    stored_HW: Stored, rescale: Callable[[Values], Values], native: Callable[[Stored], Mask]
) -> tuple[float, float]:
    if has_levels(stored_HW):
        levels_L = levels(stored_HW)
        counts_L, native_L = count_levels(stored_HW, levels_L), native(levels_L)
        if counts_L[native_L].any():
            counts_L[~native_L] = 0
        return robust_range(rescale(levels_L.astype(np.float64)), counts_L)
    native_HW = native(stored_HW)
    values_N = (stored_HW[native_HW] if native_HW.any() else stored_HW).astype(np.float32, copy=False)
    bounds_2 = np.percentile(values_N, [LOW_PERCENTILE, HIGH_PERCENTILE])
    if bounds_2[1] <= bounds_2[0]:
        bounds_2 = np.array([values_N.min(), values_N.max()])
    low, high = sorted(rescale(bounds_2.astype(np.float64)).tolist())
    return low, high


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
