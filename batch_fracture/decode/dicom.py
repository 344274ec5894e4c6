"""DICOM: the allow-listed part of the header, and the pixels a viewer would show.

Uncompressed transfer syntaxes; a compressed one is `UNSUPPORTED`.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pydicom
from pydicom.pixels.processing import apply_color_lut, apply_modality_lut, apply_voi
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from batch_fracture.codes import Code
from batch_fracture.decode import sniff, window
from batch_fracture.decode.dicom_object import (
    code_string,
    first,
    guard,
    number,
    parse,
    text,
    transfer_syntax,
    uid,
)
from batch_fracture.decode.header import ImageHeader
from batch_fracture.errors import ImageError

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
}
ALLOWED_UIDS = {
    "study_instance_uid": "StudyInstanceUID",
    "series_instance_uid": "SeriesInstanceUID",
    "sop_instance_uid": "SOPInstanceUID",
}
"""Column of `readings` -> DICOM keyword: with `ALLOWED` all that ever leaves a header as text. All but
Manufacturer, a Long String, are Code Strings and UIDs; free text in their place may name a patient, and is
left out."""
_OTHERS = ("Rows", "Columns", "BitsStored", "NumberOfFrames", "Laterality", "SOPClassUID")
_KEYWORDS = [*ALLOWED.values(), *ALLOWED_UIDS.values(), *_OTHERS]
_RADIOGRAPH_CLASSES = ("1.2.840.10008.5.1.4.1.1.1.", "1.2.840.10008.5.1.4.1.1.7.")
"""SOP classes of projection radiographs and secondary captures, and beginnings of their kin (PS3.4 B.5)."""
_NO_PIXELS = ("FloatPixelData", "DoubleFloatPixelData", "PixelDataProviderURL")


def read_header(content: bytes, modalities: tuple[str, ...]) -> ImageHeader:
    """The allow-listed header of a DICOM object that is a radiograph to read.

    Args:
        content: the whole object.
        modalities: Modality (0008,0060) values to read; `("all",)` for any.

    Raises:
        ImageError: `NOT_A_RADIOGRAPH`, `MULTI_FRAME`, `TRUNCATED`, `CORRUPT`.
    """
    dataset = parse(content, header_only=_KEYWORDS)
    return guard(lambda: _read_header(content, dataset, modalities))


def _read_header(content: bytes, dataset: pydicom.Dataset, modalities: tuple[str, ...]) -> ImageHeader:
    fields = {name: code_string(dataset, keyword) for name, keyword in ALLOWED.items()}
    fields |= {name: uid(dataset.get(keyword)) for name, keyword in ALLOWED_UIDS.items()}
    fields["laterality"] = fields["laterality"] or code_string(dataset, "Laterality")
    fields["manufacturer"] = text(dataset, ALLOWED["manufacturer"])
    _refuse_others(dataset, fields["modality"], modalities)
    rows, columns, bits = (number(dataset, keyword) for keyword in ("Rows", "Columns", "BitsStored"))
    if not (rows and columns and 0 < rows < 2**16 and 0 < columns < 2**16 and 0 < (bits or 1) <= 64):
        raise ImageError(Code.CORRUPT, "the DICOM object gives no possible size")
    if (number(dataset, "NumberOfFrames") or 1) > 1:
        raise ImageError(
            Code.MULTI_FRAME, "the DICOM object holds several frames; only single radiographs are read"
        )
    return ImageHeader(
        media_type=sniff.DICOM,
        rows=rows,
        columns=columns,
        bits_stored=bits,
        transfer_syntax_uid=transfer_syntax(content, dataset),
        **fields,
    )


def _refuse_others(dataset: pydicom.Dataset, modality: str | None, modalities: tuple[str, ...]) -> None:
    """Raise for what is no radiograph, and for a radiograph's header that ends before it says so."""
    sop_class = UID(text(dataset, "SOPClassUID") or text(dataset.file_meta, "MediaStorageSOPClassUID") or "")
    has_image = "Rows" in dataset and "Columns" in dataset
    if not has_image and f"{sop_class}.".startswith(_RADIOGRAPH_CLASSES):
        raise ImageError(Code.TRUNCATED, "the DICOM object ends within its header")
    is_unknown = sop_class.name == sop_class  # not in the standard's list
    if not has_image and is_unknown and (modality is None or modality in modalities):
        raise ImageError(Code.CORRUPT, "the DICOM object says neither what it is nor what it shows")
    if "all" not in modalities and modality not in modalities:
        raise ImageError(
            Code.NOT_A_RADIOGRAPH, f"the modality is not one of {', '.join(modalities)} (see --modalities)"
        )
    if not has_image:
        raise ImageError(Code.NOT_A_RADIOGRAPH, "the DICOM object holds no image")


def read_grey(content: bytes) -> npt.NDArray[np.uint8]:
    """The single frame as a viewer shows it: modality LUT, VOI window, polarity (PS3.4 N.2).

    Returns:
        uint8 (rows, columns).

    Raises:
        ImageError: `UNSUPPORTED`, `TRUNCATED` or `CORRUPT`.
    """
    dataset = parse(content)
    return guard(lambda: _read_grey(content, dataset))


def _read_grey(content: bytes, dataset: pydicom.Dataset) -> npt.NDArray[np.uint8]:
    syntax = transfer_syntax(content, dataset)
    if syntax not in UNCOMPRESSED:
        raise ImageError(Code.UNSUPPORTED, "this compressed transfer syntax is not supported")
    if "PixelData" not in dataset:
        if any(keyword in dataset for keyword in _NO_PIXELS):
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
    return _show(dataset, dataset.pixel_array)


def _show(dataset: pydicom.Dataset, stored: window.Stored) -> npt.NDArray[np.uint8]:
    top = 2.0 ** int(dataset.BitsStored) - 1.0
    if dataset.PhotometricInterpretation == "PALETTE COLOR":
        stored = apply_color_lut(stored, dataset)
        top = 2.0 ** int(dataset.RedPaletteColorLookupTableDescriptor[2]) - 1.0
    if stored.ndim == 3:  # ITU-R 601 luma; pydicom has turned YBR into RGB
        weights = np.array([0.299, 0.587, 0.114]) / top
        return window.by_rows(stored, lambda block: window.stretch(block @ weights, 0.0, 1.0))
    grey_HW = _windowed(dataset, stored)
    inverse = dataset.get("PresentationLUTShape", "") == "INVERSE"
    if inverse or dataset.PhotometricInterpretation == "MONOCHROME1":  # PS3.3 C.7.6.3.1.2, C.11.6.1.2
        np.subtract(255, grey_HW, out=grey_HW)
    return grey_HW


def _windowed(dataset: pydicom.Dataset, stored_HW: window.Stored) -> npt.NDArray[np.uint8]:
    """The first VOI LUT or window of the header, else the robust range of the values (PS3.3 C.11.2)."""
    look = _look(dataset)
    if not window.has_levels(stored_HW):
        values_HW = _modality_values(dataset, stored_HW)
        return look(values_HW) if look else window.window_by_percentiles(values_HW)
    levels_L = window.levels(stored_HW)
    values_L = _modality_values(dataset, levels_L)
    if look:
        return window.look_up(stored_HW, levels_L, look(values_L))
    low, high = window.robust_range(values_L, window.count_levels(stored_HW, levels_L))
    return window.look_up(stored_HW, levels_L, window.stretch(values_L, low, high))


def _modality_values(dataset: pydicom.Dataset, stored: window.Stored) -> window.Values:
    values = np.asarray(apply_modality_lut(stored, dataset), dtype=np.float64)
    if not np.isfinite(values).all():
        raise ImageError(Code.CORRUPT, "the rescale slope or intercept is not finite")
    return values


def _look(dataset: pydicom.Dataset) -> Callable[[window.Values], npt.NDArray[np.uint8]] | None:
    """What turns modality values into greys, if the header brings it."""
    if dataset.get("VOILUTSequence"):
        top = 2.0 ** int(dataset.VOILUTSequence[0].LUTDescriptor[2]) - 1.0
        return lambda values: window.stretch(
            apply_voi(values.astype(np.int64), dataset).astype(np.float64), 0.0, top
        )
    centre, width = (first(dataset.get(keyword)) for keyword in ("WindowCenter", "WindowWidth"))
    if centre is None or width is None or not width > 0 or not np.isfinite([centre, width]).all():
        return None
    function = str(dataset.get("VOILUTFunction") or "LINEAR")
    return lambda values: window.apply_window(values, centre=centre, width=width, function=function)


def _frame_bytes(dataset: pydicom.Dataset) -> int:
    """Bytes of one uncompressed frame (PS3.5 8.1.1)."""
    samples = int(dataset.get("SamplesPerPixel", 1))
    bits = int(dataset.Rows) * int(dataset.Columns) * samples * int(dataset.BitsAllocated)
    if dataset.PhotometricInterpretation == "YBR_FULL_422":
        bits = bits // 3 * 2
    return -(-bits // 8)
