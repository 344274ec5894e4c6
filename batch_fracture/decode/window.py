"""From stored values to the 8 bits that a viewer would show."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Grey = npt.NDArray[np.uint8]
Values = npt.NDArray[np.float32]

LOW_PERCENTILE, HIGH_PERCENTILE = 0.5, 99.5
"""Of the values, when the image brings no window: a few hot or dead pixels do not set the contrast."""


def apply_window(values_HW: Values, *, centre: float, width: float, function: str = "LINEAR") -> Grey:
    """Window of DICOM PS3.3 C.11.2.1.2 and C.11.2.1.3, output range 0 to 255.

    Args:
        values_HW: float32 (rows, columns), after the modality transformation.
        centre: Window Center (0028,1050).
        width: Window Width (0028,1051), at least 1 for LINEAR, above 0 otherwise.
        function: VOI LUT Function (0028,1056): LINEAR, LINEAR_EXACT or SIGMOID.

    Returns:
        uint8 (rows, columns).
    """
    if function == "SIGMOID":  # C.11.2.1.3.1
        exponent_HW = np.clip(-4.0 * (values_HW - centre) / width, -60.0, 60.0)
        return _to_grey(1.0 / (1.0 + np.exp(exponent_HW)))
    if function == "LINEAR_EXACT":  # C.11.2.1.3.2
        return _to_grey((values_HW - centre) / width + 0.5)
    if width <= 1:
        return np.where(values_HW <= centre - 0.5, 0, 255).astype(np.uint8)
    return _to_grey((values_HW - (centre - 0.5)) / (width - 1.0) + 0.5)  # C.11.2.1.2.1


def percentile_window(values_HW: Values) -> Grey:
    """Stretch the robust range of the values to 0 to 255; a flat image becomes 0. Returns uint8 (rows, columns)."""
    low, high = np.percentile(values_HW, [LOW_PERCENTILE, HIGH_PERCENTILE])
    if high <= low:
        low, high = values_HW.min(), values_HW.max()
    if high <= low:
        return np.zeros(values_HW.shape, np.uint8)
    return _to_grey((values_HW - low) / (high - low))


def _to_grey(fraction_HW: npt.NDArray[np.floating]) -> Grey:
    return np.round(np.clip(fraction_HW, 0.0, 1.0) * 255.0).astype(np.uint8)
