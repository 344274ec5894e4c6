"""DICOM: the allow-listed part of the header, which alone decides what is skipped, and the picture."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pydicom
from pydicom.uid import UID

from batch_fracture.codes import Code
from batch_fracture.decode import shown, sniff
from batch_fracture.decode.dicom_object import (
    code_string,
    guard,
    number,
    parse,
    text,
    transfer_syntax,
    uid,
)
from batch_fracture.decode.frames import stored_frame
from batch_fracture.decode.header import ImageHeader
from batch_fracture.errors import ImageError

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
MAX_BITS = 64
_RADIOGRAPH_CLASSES = ("1.2.840.10008.5.1.4.1.1.1.", "1.2.840.10008.5.1.4.1.1.7.")
"""SOP classes of projection radiographs and secondary captures, and beginnings of their kin (PS3.4 B.5)."""


def read_header(content: bytes, modalities: tuple[str, ...], *, max_bytes: int | None = None) -> ImageHeader:
    """The allow-listed header of a DICOM object that is a radiograph to read.

    Args:
        content: the whole object.
        modalities: Modality (0008,0060) values to read; `("all",)` for any.
        max_bytes: that a deflated object may inflate to.

    Raises:
        ImageError: `NOT_A_RADIOGRAPH`, `MULTI_FRAME`, `TRUNCATED`, `CORRUPT`; its `header` holds what the
            object said of itself, so that its row names the study that it is missing in.
    """
    dataset = parse(content, header_only=_KEYWORDS, max_bytes=max_bytes)
    return guard(lambda: _read_header(content, dataset, modalities))


def _read_header(content: bytes, dataset: pydicom.Dataset, modalities: tuple[str, ...]) -> ImageHeader:
    fields = {name: code_string(dataset, keyword) for name, keyword in ALLOWED.items()}
    fields |= {name: uid(dataset.get(keyword)) for name, keyword in ALLOWED_UIDS.items()}
    fields["laterality"] = fields["laterality"] or code_string(dataset, "Laterality")
    fields["manufacturer"] = text(dataset, ALLOWED["manufacturer"])
    rows, columns, bits = (_size(dataset, keyword) for keyword in ("Rows", "Columns", "BitsStored"))
    header = ImageHeader(
        media_type=sniff.DICOM,
        rows=rows or None,
        columns=columns or None,
        bits_stored=bits if bits and bits <= MAX_BITS else None,
        transfer_syntax_uid=transfer_syntax(content, dataset),
        **fields,
    )
    try:
        _refuse_others(dataset, header.modality, modalities)
        _refuse_impossible(rows, columns, bits)
        _refuse_several(dataset)
    except ImageError as error:
        error.header = header
        raise
    return header


def _refuse_impossible(rows: int | None, columns: int | None, bits: int | None) -> None:
    if not (rows and columns and (bits is None or 0 < bits <= MAX_BITS)):
        raise ImageError(Code.CORRUPT, "the DICOM object gives no possible size")


def _refuse_several(dataset: pydicom.Dataset) -> None:
    if (number(dataset, "NumberOfFrames") or 1) > 1:
        raise ImageError(
            Code.MULTI_FRAME, "the DICOM object holds several frames; only single radiographs are read"
        )


def _size(dataset: pydicom.Dataset, keyword: str) -> int | None:
    """A number that fits its value representation, US (PS3.5 6.2); 0 stands for one that does not."""
    value = number(dataset, keyword)
    return value if value is None or 0 < value < 2**16 else 0


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


def read_grey(content: bytes, *, min_long_side: int | None = None) -> npt.NDArray[np.uint8]:
    """The single frame as a viewer shows it: see `shown`.

    Args:
        content: the whole object, whose header `read_header` has accepted.
        min_long_side: a frame may come reduced, its longer side no smaller than this.

    Returns:
        uint8 (rows, columns) of square pixels.

    Raises:
        ImageError: `UNSUPPORTED`, `TRUNCATED` or `CORRUPT`.
    """
    dataset = parse(content)
    return guard(lambda: _read_grey(content, dataset, min_long_side))


def _read_grey(content: bytes, dataset: pydicom.Dataset, min_long_side: int | None) -> npt.NDArray[np.uint8]:
    _complete(dataset)
    syntax = transfer_syntax(content, dataset)
    return shown.show(dataset, stored_frame(content, dataset, syntax, min_long_side=min_long_side))


def _complete(dataset: pydicom.Dataset) -> None:
    """What ACR-NEMA 2.0, the forerunner, took for granted: one unsigned sample a pixel, the lowest black."""
    if dataset.get("SamplesPerPixel") in (None, ""):
        dataset.SamplesPerPixel = 1
    if dataset.get("PixelRepresentation") in (None, ""):
        dataset.PixelRepresentation = 0
    if not dataset.get("PhotometricInterpretation") and dataset.SamplesPerPixel == 1:
        dataset.PhotometricInterpretation = "MONOCHROME2"
