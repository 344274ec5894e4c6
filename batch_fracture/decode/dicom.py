"""DICOM: the allow-listed part of the header, and the pixels a viewer would show.

Uncompressed transfer syntaxes; a compressed one is `UNSUPPORTED`. pydicom's warnings and exceptions quote
values of the file, so none of its text passes this module.
"""

from __future__ import annotations

import io
import logging
import warnings
from collections.abc import Callable
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import pydicom
from pydicom.pixels import apply_color_lut, apply_modality_lut, apply_voi
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from batch_fracture.codes import Code
from batch_fracture.decode import sniff
from batch_fracture.decode.header import ImageHeader
from batch_fracture.decode.window import apply_window, percentile_window
from batch_fracture.errors import ImageError

T = TypeVar("T")

UNCOMPRESSED = frozenset(
    {ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian}
)
ALLOWED = {
    "modality": "Modality",
    "body_part_examined": "BodyPartExamined",
    "view_position": "ViewPosition",
    "laterality": "ImageLaterality",
    "manufacturer": "Manufacturer",
    "photometric_interpretation": "PhotometricInterpretation",
    "study_instance_uid": "StudyInstanceUID",
    "series_instance_uid": "SeriesInstanceUID",
    "sop_instance_uid": "SOPInstanceUID",
}
"""Column of `readings` -> DICOM keyword: all that ever leaves a header as text."""
_PIXEL_KEYWORDS = ("Rows", "Columns", "BitsStored", "NumberOfFrames", "Laterality", "SOPClassUID")
_DICOMDIR = "1.2.840.10008.1.3.10"

logging.getLogger("pydicom").addHandler(logging.NullHandler())
logging.getLogger("pydicom").propagate = False


def read_header(content: bytes, modalities: tuple[str, ...]) -> ImageHeader:
    """The allow-listed header of a DICOM object that is a radiograph to read.

    Args:
        content: the whole object.
        modalities: Modality (0008,0060) values to read; `("all",)` for any.

    Raises:
        ImageError: `NOT_A_RADIOGRAPH`, `MULTI_FRAME`, `CORRUPT`.
    """
    dataset = _guard(lambda: _parse_header(content))
    fields = _guard(lambda: {name: _text(dataset, keyword) for name, keyword in ALLOWED.items()})
    fields["laterality"] = fields["laterality"] or _guard(lambda: _text(dataset, "Laterality"))
    modality = fields["modality"]
    if "all" not in modalities and modality not in modalities:
        raise ImageError(
            Code.NOT_A_RADIOGRAPH, f"the modality is not one of {', '.join(modalities)} (see --modalities)"
        )
    rows, columns = (_guard(lambda k=k: _number(dataset, k)) for k in ("Rows", "Columns"))
    if not rows or not columns or _guard(lambda: _text(dataset, "SOPClassUID")) == _DICOMDIR:
        raise ImageError(Code.NOT_A_RADIOGRAPH, "the DICOM object holds no image")
    if _guard(lambda: _number(dataset, "NumberOfFrames") or 1) > 1:
        raise ImageError(Code.MULTI_FRAME, "the DICOM object holds several frames; only single radiographs are read")
    return ImageHeader(
        media_type=sniff.DICOM,
        rows=rows,
        columns=columns,
        bits_stored=_guard(lambda: _number(dataset, "BitsStored")),
        transfer_syntax_uid=_guard(lambda: _transfer_syntax(dataset)),
        **fields,
    )


def read_grey(content: bytes) -> npt.NDArray[np.uint8]:
    """The single frame as a viewer shows it: modality LUT, VOI window, polarity (PS3.4 N.2).

    Returns:
        uint8 (rows, columns).

    Raises:
        ImageError: `UNSUPPORTED`, `TRUNCATED` or `CORRUPT`.
    """
    dataset = _guard(lambda: pydicom.dcmread(io.BytesIO(content), force=True))
    if _guard(lambda: _transfer_syntax(dataset)) not in UNCOMPRESSED:
        raise ImageError(Code.UNSUPPORTED, "this compressed transfer syntax is not supported")
    pixel_bytes = _guard(lambda: len(dataset.get("PixelData", b"")))
    expected_bytes = _guard(lambda: _frame_bytes(dataset))
    if pixel_bytes < expected_bytes:
        raise ImageError(
            Code.TRUNCATED if pixel_bytes else Code.CORRUPT,
            f"the pixel data holds {pixel_bytes} of {expected_bytes} bytes",
        )
    return _guard(lambda: _show(dataset))


def _parse_header(content: bytes) -> pydicom.Dataset:
    tags = [*ALLOWED.values(), *_PIXEL_KEYWORDS]
    return pydicom.dcmread(io.BytesIO(content), force=True, stop_before_pixels=True, specific_tags=tags)


def _show(dataset: pydicom.Dataset) -> npt.NDArray[np.uint8]:
    stored = dataset.pixel_array
    if dataset.PhotometricInterpretation == "PALETTE COLOR":
        stored = apply_color_lut(stored, dataset)
    if stored.ndim == 3:  # ITU-R 601 luma; pydicom has turned YBR into RGB
        top = float(np.iinfo(stored.dtype).max)
        luma_HW = stored.astype(np.float32) @ np.array([0.299, 0.587, 0.114], np.float32)
        return np.asarray(np.round(luma_HW * (255.0 / top)), dtype=np.uint8)
    grey_HW = _windowed(dataset, stored)
    inverse = dataset.get("PresentationLUTShape", "") == "INVERSE"
    if inverse or dataset.PhotometricInterpretation == "MONOCHROME1":  # PS3.3 C.7.6.3.1.2, C.11.6.1.2
        grey_HW = 255 - grey_HW
    return grey_HW


def _windowed(dataset: pydicom.Dataset, stored_HW: npt.NDArray[np.generic]) -> npt.NDArray[np.uint8]:
    """The first VOI LUT or window of the header, else the robust range of the values (PS3.3 C.11.2)."""
    values_HW = np.asarray(apply_modality_lut(stored_HW, dataset))
    if dataset.get("VOILUTSequence"):
        bits = int(dataset.VOILUTSequence[0].LUTDescriptor[2])
        shown_HW = apply_voi(values_HW.astype(np.int64), dataset).astype(np.float32)
        return apply_window(shown_HW, centre=2.0 ** (bits - 1), width=2.0**bits)
    values_HW = values_HW.astype(np.float32)
    centre, width = (_first(dataset.get(k)) for k in ("WindowCenter", "WindowWidth"))
    if centre is None or width is None or width <= 0:
        return percentile_window(values_HW)
    function = str(dataset.get("VOILUTFunction") or "LINEAR")
    return apply_window(values_HW, centre=centre, width=width, function=function)


def _frame_bytes(dataset: pydicom.Dataset) -> int:
    """Bytes of one uncompressed frame (PS3.5 8.1.1)."""
    samples = int(dataset.get("SamplesPerPixel", 1))
    bits = int(dataset.Rows) * int(dataset.Columns) * samples * int(dataset.BitsAllocated)
    if dataset.PhotometricInterpretation == "YBR_FULL_422":
        bits = bits // 3 * 2
    return -(-bits // 8)


def _transfer_syntax(dataset: pydicom.Dataset) -> str:
    meta = getattr(dataset, "file_meta", None)
    return str(meta.get("TransferSyntaxUID") or ImplicitVRLittleEndian) if meta else ImplicitVRLittleEndian


def _text(dataset: pydicom.Dataset, keyword: str) -> str | None:
    value = dataset.get(keyword)
    return str(value).strip() or None if value is not None else None


def _number(dataset: pydicom.Dataset, keyword: str) -> int | None:
    value = dataset.get(keyword)
    return int(value) if value not in (None, "") else None


def _first(value: object) -> float | None:
    if value is None or value == "":
        return None
    return float(value[0] if isinstance(value, (list, pydicom.multival.MultiValue)) else value)  # type: ignore[arg-type]


def _guard(read: Callable[[], T]) -> T:
    """Run one call into pydicom; whatever it raises says nothing of the file's text."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return read()
    except (ImageError, MemoryError):
        raise
    except EOFError as error:
        raise ImageError(Code.TRUNCATED, "the DICOM object ends early") from error
    except Exception as error:  # noqa: BLE001 - pydicom raises nearly every built-in type on damaged input
        raise ImageError(Code.CORRUPT, f"the DICOM object is damaged ({type(error).__name__})") from error
