"""PNG and TIFF of 16 bits with colours or alpha.

Pillow keeps the upper 8 bits of them, and those of a picture of 12 bits are black.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from batch_fracture.decode import inflate, sniff, tiff
from batch_fracture.decode.silence import silenced
from batch_fracture.decode.window import window_by_percentiles

LUMA = (0.299, 0.587, 0.114)
"""ITU-R BT.601, of red, green and blue."""
_PNG_SEVERAL_SAMPLES = frozenset({2, 4, 6})
"""Colour types RGB, grey with alpha, RGB with alpha (RFC 2083 4.1.1)."""
_TOP = 2.0**16 - 1.0


def is_deep_colour(content: bytes, media_type: str) -> bool:
    """Whether a file, whose header has been accepted, is one of these."""
    if media_type == sniff.PNG:
        return content[24] == 16 and content[25] in _PNG_SEVERAL_SAMPLES
    return media_type == sniff.TIFF and tiff.has_deep_colour(content)


def read_grey(content: bytes, media_type: str) -> npt.NDArray[np.uint8]:
    """The luma through the percentile window, as grey images of 16 bits go; transparent parts are black.

    Returns:
        uint8 (rows, columns) as stored, not turned.

    Raises:
        ImageError: `TRUNCATED` or `CORRUPT`.
        ValueError, RuntimeError: the decoder refuses the file.
    """
    import imagecodecs  # noqa: PLC0415 - few archives hold such files

    if media_type == sniff.PNG:
        inflate.prove_png(content)
        with silenced():
            samples_HWC = imagecodecs.png_decode(content)
        white_is_zero = False
    else:
        with silenced():
            samples_HWC = imagecodecs.tiff_decode(content)
        if tiff.is_planar(content):
            samples_HWC = np.moveaxis(samples_HWC, 0, -1)
        white_is_zero = tiff.is_white_zero(content)
    return _windowed(samples_HWC, white_is_zero=white_is_zero)


def _windowed(samples_HWC: npt.NDArray[Any], *, white_is_zero: bool) -> npt.NDArray[np.uint8]:
    """Samples are grey or RGB, and perhaps alpha (uint16)."""
    colours = 3 if samples_HWC.shape[2] >= 3 else 1
    weights = np.array(LUMA if colours == 3 else (1.0,), np.float32)
    luma_HW = np.rint(samples_HWC[..., :colours] @ weights).astype(np.uint16)
    grey_HW = window_by_percentiles(luma_HW)
    if white_is_zero:
        np.subtract(255, grey_HW, out=grey_HW)
    if samples_HWC.shape[2] > colours:
        grey_HW = np.rint(grey_HW * (samples_HWC[..., colours] / _TOP)).astype(np.uint8)
    return grey_HW
