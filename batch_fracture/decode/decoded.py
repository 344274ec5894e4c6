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

_MAX_REDUCTIONS = 3


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
    """How often the longer side may be halved."""
    count = 0
    while (
        min_long_side
        and count < _MAX_REDUCTIONS
        and max(pixel.rows, pixel.columns) >= min_long_side << (count + 1)
    ):
        count += 1
    return count


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
