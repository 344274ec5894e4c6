"""What a codec gives for one frame, and what every codec sees to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy.typing as npt

from batch_fracture.codes import Code
from batch_fracture.decode.image_pixel import ImagePixel
from batch_fracture.errors import ImageError

T = TypeVar("T")
Samples = npt.NDArray[Any]

_MAX_HALVINGS = 3
_MARGIN = 2
"""Times the size that the caller needs: reduced to that size itself, frames move scores twice as far as one
pixel of shift does; with this margin, no further (docs/dicom.md)."""


@dataclass(frozen=True, kw_only=True)
class Decoded:
    """Samples as a codec gives them."""

    samples: Samples
    """Integers (rows, columns[, 3]), right-aligned."""
    precision: int
    """Bits that the codestream says they have."""
    is_ycc: bool = False
    """Still luma and chroma."""


def agree(pixel: ImagePixel, rows: int, columns: int, samples: int, precision: int) -> None:
    """The header and the codestream must speak of one picture, before memory is spent on it."""
    if (rows, columns, samples) != (pixel.rows, pixel.columns, pixel.samples):
        raise ImageError(Code.CORRUPT, "the compressed frame is not of the size that the header gives")
    if not 0 < precision <= max(8, pixel.bits_allocated):
        raise ImageError(Code.CORRUPT, "the compressed frame has more bits than the header gives room for")


def halvings(pixel: ImagePixel, min_long_side: int | None) -> int:
    """How often the longer side may be halved; 0 to 3, and 0 without `min_long_side`."""
    if not min_long_side:
        return 0
    times = (max(pixel.rows, pixel.columns) // (_MARGIN * min_long_side)).bit_length() - 1
    return max(0, min(times, _MAX_HALVINGS))


def strictly(decode: Callable[[], T]) -> T:
    """Run one decoder; its words quote offsets and values, and stay here."""
    try:
        return decode()
    except (ImageError, MemoryError):
        raise
    except Exception as error:
        is_short = "remature end" in str(error)
        code = Code.TRUNCATED if is_short else Code.CORRUPT
        raise ImageError(code, "the compressed frame's data is damaged or ends early") from error
