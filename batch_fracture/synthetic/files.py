"""Encodes phantoms as the files that an archive holds."""

from __future__ import annotations

import io

import numpy as np
import numpy.typing as npt
import pydicom
from PIL import Image
from pydicom.dataset import FileMetaDataset
from pydicom.uid import (
    ComputedRadiographyImageStorage,
    CTImageStorage,
    DigitalXRayImageStorageForPresentation,
    ExplicitVRLittleEndian,
    MultiFrameGrayscaleWordSecondaryCaptureImageStorage,
)

from batch_fracture.synthetic.exposure import Field

UID_ROOT = "1.2.826.0.1.3680043.8.498.2024"
"""Every synthetic UID begins with it: pydicom's root for made-up objects, and a branch of ours."""

KINDS = (
    "dicom",
    "dicom",
    "png",
    "dicom-inverted",
    "jpeg",
    "dicom",
    "tiff-16",
    "png-16",
    "jpeg-rgb",
    "dicom-inverted",
    "tiff",
    "jpeg-turned",
)
"""Kinds of picture in the order in which studies take them."""
_SUFFIX = {"dicom": "dcm", "png": "png", "jpeg": "jpg", "tiff": "tif"}
_ORIENTATION = 0x0112
_LOWEST, _HIGHEST, _MAX_12_BIT = 150, 3750, 4095


def suffix(kind: str) -> str:
    """The file name's ending for a kind of picture."""
    return _SUFFIX[kind.partition("-")[0]]


def encode(kind: str, shown_HW: Field, tags: dict[str, str]) -> bytes:
    """One picture as a file.

    Args:
        kind: one of `KINDS`.
        shown_HW: float (H, W) in [0, 1], bone bright.
        tags: DICOM keywords and values; not used by other kinds.
    """
    if kind.startswith("dicom"):
        return radiograph(shown_HW, tags, inverted=kind == "dicom-inverted")
    if kind.endswith("-16"):
        image = Image.fromarray(np.round(shown_HW * 65535).astype(np.uint16))
    else:
        image = grey(shown_HW)
    if kind == "jpeg-rgb":
        image = image.convert("RGB")
    if kind == "jpeg-turned":  # stored lying on its side, as a camera would; a viewer turns it upright
        exif = Image.Exif()
        exif[_ORIENTATION] = 6
        return saved(image.transpose(Image.Transpose.ROTATE_90), "JPEG", quality=92, exif=exif)
    if kind.startswith("jpeg"):
        return saved(image, "JPEG", quality=92)
    return saved(image, "PNG") if kind.startswith("png") else saved(image, "TIFF", compression="tiff_lzw")


def grey(shown_HW: Field) -> Image.Image:
    """8 bits per pixel."""
    return Image.fromarray(np.round(shown_HW * 255).astype(np.uint8))


def saved(image: Image.Image, container: str, **options: object) -> bytes:
    """The bytes that Pillow would write to a file."""
    file = io.BytesIO()
    image.save(file, container, **options)
    return file.getvalue()


def radiograph(shown_HW: Field, tags: dict[str, str], *, inverted: bool = False) -> bytes:
    """A CR or DX object: 12 bits in 16, explicit little endian, one window; MONOCHROME1 when inverted."""
    stored_HW = np.round(_LOWEST + (_HIGHEST - _LOWEST) * shown_HW).astype(np.uint16)
    centre = (_LOWEST + _HIGHEST) // 2
    if inverted:
        stored_HW, centre = _MAX_12_BIT - stored_HW, _MAX_12_BIT - centre
    is_cr = tags["Modality"] == "CR"
    dataset = _dataset(
        ComputedRadiographyImageStorage if is_cr else DigitalXRayImageStorageForPresentation, stored_HW, tags
    )
    dataset.PhotometricInterpretation = "MONOCHROME1" if inverted else "MONOCHROME2"
    dataset.WindowCenter, dataset.WindowWidth = centre, _HIGHEST - _LOWEST
    return _written(dataset)


def cine(shown_HW: Field, tags: dict[str, str]) -> bytes:
    """A multi-frame object of four frames."""
    frame_HW = np.round(_MAX_12_BIT * shown_HW).astype(np.uint16)
    frames_FHW = np.stack([np.roll(frame_HW, 8 * shift, axis=1) for shift in range(4)])
    dataset = _dataset(MultiFrameGrayscaleWordSecondaryCaptureImageStorage, frames_FHW, tags)
    dataset.NumberOfFrames = len(frames_FHW)
    return _written(dataset)


def ct_slice(shown_HW: Field, tags: dict[str, str]) -> bytes:
    """A CT image: a bright ring, in Hounsfield units."""
    stored_HW = np.round(_MAX_12_BIT * shown_HW).astype(np.uint16)
    dataset = _dataset(CTImageStorage, stored_HW, {**tags, "Modality": "CT"})
    dataset.RescaleIntercept, dataset.RescaleSlope, dataset.RescaleType = -1024, 1, "HU"
    return _written(dataset)


def _dataset(sop_class: str, stored: npt.NDArray[np.uint16], tags: dict[str, str]) -> pydicom.Dataset:
    dataset = pydicom.Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SOPClassUID = sop_class
    dataset.Manufacturer = "Synthetic"
    dataset.PatientName = "SYNTHETIC^PHANTOM"
    for keyword, value in tags.items():
        setattr(dataset, keyword, value)
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.Rows, dataset.Columns = stored.shape[-2:]
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 12, 11, 0
    dataset.PixelData = stored.astype("<u2").tobytes()
    return dataset


def _written(dataset: pydicom.Dataset) -> bytes:
    file = io.BytesIO()
    dataset.save_as(file, enforce_file_format=True)
    return file.getvalue()
