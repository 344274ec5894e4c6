"""The stored values of one frame of a DICOM object, in whatever transfer syntax it was written."""

from __future__ import annotations

from typing import Any

import numpy.typing as npt
import pydicom
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from batch_fracture.codes import Code
from batch_fracture.errors import ImageError

Frame = npt.NDArray[Any]
UNCOMPRESSED = frozenset(
    {ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian}
)
_NO_INTEGERS = ("FloatPixelData", "DoubleFloatPixelData", "PixelDataProviderURL")


def stored_frame(
    content: bytes,  # noqa: ARG001 - encapsulated frames will be read from it without a copy
    dataset: pydicom.Dataset,
    syntax: str | None,
    *,
    min_long_side: int | None = None,  # noqa: ARG001 - for JPEG and JPEG 2000, which come next
) -> Frame:
    """The single frame's stored values, colour as RGB, signs as PixelRepresentation says.

    Args:
        content: the whole object.
        dataset: what `dicom_object.parse` gave for it.
        syntax: what `dicom_object.transfer_syntax` gave for it.
        min_long_side: a large JPEG or JPEG 2000 frame may come reduced, its longer side no smaller than this.

    Returns:
        Integers (rows, columns) or (rows, columns, 3), native byte order; possibly read-only.

    Raises:
        ImageError: `UNSUPPORTED`, `TRUNCATED`, `CORRUPT` or `TOO_LARGE`.
    """
    if syntax not in UNCOMPRESSED:
        raise ImageError(Code.UNSUPPORTED, "this compressed transfer syntax is not supported")
    if "PixelData" not in dataset:
        if any(keyword in dataset for keyword in _NO_INTEGERS):
            raise ImageError(Code.UNSUPPORTED, "the DICOM object holds no integer pixels")
        raise ImageError(Code.TRUNCATED, "the DICOM object ends before its pixel data")
    if dataset["PixelData"].is_undefined_length:
        raise ImageError(
            Code.UNSUPPORTED, "the pixel data is compressed, but the transfer syntax does not say how"
        )
    pixel_bytes, expected_bytes = len(dataset.PixelData or b""), _frame_bytes(dataset)
    if pixel_bytes < expected_bytes:
        raise ImageError(Code.TRUNCATED, f"the pixel data holds {pixel_bytes} of {expected_bytes} bytes")
    if "TransferSyntaxUID" not in dataset.file_meta:
        dataset.file_meta.TransferSyntaxUID = UID(syntax)
    return dataset.pixel_array


def _frame_bytes(dataset: pydicom.Dataset) -> int:
    """Bytes of one uncompressed frame (PS3.5 8.1.1)."""
    samples = int(dataset.get("SamplesPerPixel", 1))
    bits = int(dataset.Rows) * int(dataset.Columns) * samples * int(dataset.BitsAllocated)
    if dataset.PhotometricInterpretation == "YBR_FULL_422":
        bits = bits // 3 * 2
    return -(-bits // 8)
