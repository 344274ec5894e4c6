"""The Image Pixel module of a DICOM object, checked once (PS3.3 C.7.6.3)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pydicom

from batch_fracture.codes import Code
from batch_fracture.decode.dicom_object import number, text
from batch_fracture.errors import ImageError

GREY = frozenset({"MONOCHROME1", "MONOCHROME2", "PALETTE COLOR"})
COLOUR = frozenset({"RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT"})
_ALLOCATED = frozenset({1, 8, 16, 32, 64})


@dataclass(frozen=True, kw_only=True)
class ImagePixel:
    """How the samples of each frame are laid out."""

    rows: int
    columns: int
    samples: int = 1
    """Samples per Pixel (0028,0002): 1 or 3."""
    photometric: str = "MONOCHROME2"
    """Photometric Interpretation (0028,0004)."""
    bits_allocated: int = 16
    bits_stored: int = 16
    high_bit: int = 15
    is_signed: bool = False
    """Pixel Representation (0028,0103) is 1."""
    is_planar: bool = False
    """Planar Configuration (0028,0006) is 1: all red, then all green, then all blue."""
    frames: int = 1

    @property
    def dtype(self) -> np.dtype[np.integer]:
        """Of the stored values: bits allocated (8 for single bits), native byte order."""
        return np.dtype(f"{'i' if self.is_signed else 'u'}{max(1, self.bits_allocated // 8)}")

    @property
    def shape(self) -> tuple[int, ...]:
        """(rows, columns) or (rows, columns, 3)."""
        return (self.rows, self.columns) if self.samples == 1 else (self.rows, self.columns, self.samples)

    @property
    def frame_bits(self) -> int:
        """Bits of one uncompressed frame (PS3.5 8.1.1); YBR_FULL_422 leaves out every other colour pair."""
        bits = self.rows * self.columns * self.samples * self.bits_allocated
        return bits // 3 * 2 if self.photometric == "YBR_FULL_422" else bits

    @property
    def frame_bytes(self) -> int:
        """`frame_bits` in whole bytes."""
        return -(-self.frame_bits // 8)


def read_image_pixel(dataset: pydicom.Dataset) -> ImagePixel:
    """The module as it stands in a data set.

    Raises:
        ImageError: `CORRUPT` when the values contradict each other, `UNSUPPORTED` for retired layouts.
    """
    rows, columns = number(dataset, "Rows") or 0, number(dataset, "Columns") or 0
    allocated, stored = number(dataset, "BitsAllocated"), number(dataset, "BitsStored")
    if not (0 < rows < 2**16 and 0 < columns < 2**16 and allocated and stored):
        raise ImageError(Code.CORRUPT, "the DICOM object does not say how its pixels are stored")
    samples = number(dataset, "SamplesPerPixel") or 1
    photometric = text(dataset, "PhotometricInterpretation") or ("MONOCHROME2" if samples == 1 else "RGB")
    high_bit = number(dataset, "HighBit")
    pixel = ImagePixel(
        rows=rows,
        columns=columns,
        samples=samples,
        photometric=photometric,
        bits_allocated=allocated,
        bits_stored=stored,
        high_bit=stored - 1 if high_bit is None else high_bit,
        is_signed=number(dataset, "PixelRepresentation") == 1,
        is_planar=samples > 1 and number(dataset, "PlanarConfiguration") == 1,
        frames=max(1, number(dataset, "NumberOfFrames") or 1),
    )
    _check(pixel)
    return pixel


def _check(pixel: ImagePixel) -> None:
    if pixel.bits_allocated not in _ALLOCATED:
        raise ImageError(Code.UNSUPPORTED, f"{pixel.bits_allocated} bits per sample are not supported")
    if not (0 < pixel.bits_stored <= pixel.bits_allocated):
        raise ImageError(Code.CORRUPT, "more bits are said to be stored than there is room for")
    expected = 1 if pixel.photometric in GREY else 3 if pixel.photometric in COLOUR else None
    if expected is None:
        raise ImageError(Code.UNSUPPORTED, "this photometric interpretation is not supported")
    if pixel.samples != expected:
        raise ImageError(Code.CORRUPT, "samples per pixel and photometric interpretation disagree")


def unused_bits_cleared(frame: npt.NDArray[np.integer], pixel: ImagePixel) -> npt.NDArray[np.integer]:
    """Stored values without what stands beside them in their cells, such as overlays (PS3.5 8.1.1).

    Args:
        frame: integers of `pixel.dtype`.
        pixel: its layout; the value's highest bit is High Bit (0028,0102).

    Returns:
        `frame` itself where nothing is to be cleared.
    """
    width = 8 * frame.dtype.itemsize
    if pixel.bits_allocated == 1 or pixel.bits_stored == width:
        return frame
    is_left = pixel.bits_stored <= pixel.high_bit < width
    above = width - 1 - pixel.high_bit if is_left else width - pixel.bits_stored
    lowest = -(1 << (pixel.bits_stored - 1)) if pixel.is_signed else 0
    is_clean = lowest <= int(frame.min()) and int(frame.max()) < lowest + (1 << pixel.bits_stored)
    if is_clean and not is_left:
        return frame
    return (frame << above) >> (width - pixel.bits_stored)
