"""Radiographs of a detector's size as DICOM objects, one set in each transfer syntax, drawn once and kept.

The pictures are the phantoms of `batch_fracture.synthetic` at 12 pixels per mm, with the noise that they
bring: 12 bits in 16, one window; 8 bits where the syntax takes no more. Shape suffixes: H rows, W columns.
"""

from __future__ import annotations

import hashlib
import io
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import numpy.typing as npt
import pydicom
from pydicom import uid
from pydicom.encaps import encapsulate
from pydicom.pixels import get_encoder

from batch_fracture.decode.dicom_object import DEFLATED_FRAME
from batch_fracture.synthetic import files, phantom
from batch_fracture.synthetic.anatomy import REGIONS

Stored = npt.NDArray[Any]

ROWS, COLUMNS = 2500, 2048
PIXELS_PER_MM = 12
_SEED = 20_261_126
_REGIONS = ("HAND", "KNEE", "KNEE")
_HIGHEST = {8: 255, 12: 4095}


@dataclass(frozen=True, kw_only=True)
class Syntax:
    """One transfer syntax, and how the benchmark writes it."""

    name: str
    uid: str
    bits: int = 12
    encode: Callable[[Stored], bytes] | None = None
    """Stored values to a codestream; None where they stand as they are."""


def _rle(stored_HW: Stored) -> bytes:
    return get_encoder(uid.RLELossless).encode(
        stored_HW.tobytes(),
        rows=stored_HW.shape[0],
        columns=stored_HW.shape[1],
        samples_per_pixel=1,
        bits_allocated=16,
        bits_stored=12,
        pixel_representation=0,
        photometric_interpretation="MONOCHROME2",
        number_of_frames=1,
        encoding_plugin="pydicom",
    )


def _lossless(predictor: int) -> Callable[[Stored], bytes]:
    return lambda stored_HW: imagecodecs.jpeg8_encode(
        stored_HW, lossless=True, predictor=predictor, bitspersample=12
    )


def _jpeg_2000(**options: Any) -> Callable[[Stored], bytes]:
    return lambda stored_HW: imagecodecs.jpeg2k_encode(
        stored_HW, codecformat="J2K", bitspersample=12, **options
    )


def _deflated(stored_HW: Stored) -> bytes:
    deflater = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return deflater.compress(stored_HW.tobytes()) + deflater.flush()


SYNTAXES = (
    Syntax(name="implicit little endian", uid=uid.ImplicitVRLittleEndian),
    Syntax(name="explicit little endian", uid=uid.ExplicitVRLittleEndian),
    Syntax(name="explicit big endian", uid=uid.ExplicitVRBigEndian),
    Syntax(name="deflated", uid=uid.DeflatedExplicitVRLittleEndian),
    Syntax(name="RLE", uid=uid.RLELossless, encode=_rle),
    Syntax(
        name="JPEG baseline",
        uid=uid.JPEGBaseline8Bit,
        bits=8,
        encode=lambda stored_HW: imagecodecs.jpeg8_encode(stored_HW, 90),
    ),
    Syntax(
        name="JPEG extended",
        uid=uid.JPEGExtended12Bit,
        encode=lambda stored_HW: imagecodecs.jpeg8_encode(stored_HW, 90, bitspersample=12),
    ),
    Syntax(name="JPEG lossless, predictor 6", uid=uid.JPEGLossless, encode=_lossless(6)),
    Syntax(name="JPEG lossless, first order", uid=uid.JPEGLosslessSV1, encode=_lossless(1)),
    Syntax(name="JPEG-LS", uid=uid.JPEGLSLossless, encode=imagecodecs.jpegls_encode),
    Syntax(name="JPEG 2000 lossless", uid=uid.JPEG2000Lossless, encode=_jpeg_2000(level=0)),
    Syntax(name="JPEG 2000 lossy", uid=uid.JPEG2000, encode=_jpeg_2000(level=60, reversible=False)),
    Syntax(
        name="HTJ2K lossless",
        uid=uid.HTJ2KLossless,
        encode=lambda stored_HW: imagecodecs.htj2k_encode(stored_HW, reversible=True),
    ),
    Syntax(name="deflated frame", uid=DEFLATED_FRAME, encode=_deflated),
)
"""Every syntax that is measured; lossless JPEG with the predictor that DCMTK takes, and with the first."""


def drawn(cache: Path, syntax: Syntax, *, modality: str = "DX") -> list[Path]:
    """The set of one syntax, made where it is not there yet."""
    paths = [cache / f"{syntax.uid}-{modality}-{number}.dcm" for number in range(len(_REGIONS))]
    if not all(path.exists() for path in paths):
        for path, picture_HW in zip(paths, pictures(cache), strict=True):
            path.write_bytes(written(picture_HW, syntax, modality=modality))
    return paths


def pictures(cache: Path) -> Iterator[Stored]:
    """The pictures, uint16 (rows, columns) of 12 bits, made where they are not there yet."""
    for number, name in enumerate(_REGIONS):
        path = cache / f"picture-{_SEED}-{number}.npy"
        if not path.exists():
            np.save(path, _picture(name, np.random.default_rng(_SEED + number)))
        yield np.load(path)


def _picture(name: str, rng: np.random.Generator) -> Stored:
    region = next(region for region in REGIONS if region.name == name)
    pose = phantom.random_pose(rng, marker="R")
    shown_HW = phantom.draw(
        region, pose, phantom.random_fracture(rng, region), rng, pixels_per_mm=PIXELS_PER_MM
    )
    top, left = ((have - need) // 2 for have, need in zip(shown_HW.shape, (ROWS, COLUMNS), strict=True))
    shown_HW = shown_HW[top : top + ROWS, left : left + COLUMNS]
    assert shown_HW.shape == (ROWS, COLUMNS)
    return np.round(150 + 3600 * shown_HW).astype(np.uint16)


def written(picture_HW: Stored, syntax: Syntax, *, modality: str) -> bytes:
    """One picture as a DICOM object.

    Args:
        picture_HW: uint16 of 12 bits.
        syntax: how it is written.
        modality: Modality (0008,0060).
    """
    stored_HW = picture_HW if syntax.bits > 8 else (picture_HW >> 4).astype(np.uint8)
    dataset = pydicom.Dataset()
    dataset.file_meta = pydicom.dataset.FileMetaDataset()
    listed = syntax.uid if syntax.uid != DEFLATED_FRAME else uid.JPEGBaseline8Bit  # pydicom knows no such one
    dataset.file_meta.TransferSyntaxUID = listed
    dataset.SOPClassUID = uid.DigitalXRayImageStorageForPresentation
    dataset.SOPInstanceUID = f"{files.UID_ROOT}.{int(hashlib.sha256(stored_HW).hexdigest()[:12], 16)}"
    dataset.Modality, dataset.PatientName = modality, "SYNTHETIC^PHANTOM"
    dataset.Rows, dataset.Columns, dataset.SamplesPerPixel = *stored_HW.shape, 1
    dataset.PhotometricInterpretation, dataset.PixelRepresentation = "MONOCHROME2", 0
    dataset.BitsAllocated = 8 * stored_HW.itemsize
    dataset.BitsStored, dataset.HighBit = syntax.bits, syntax.bits - 1
    dataset.WindowCenter, dataset.WindowWidth = (_HIGHEST[syntax.bits] + 1) // 2, _HIGHEST[syntax.bits] + 1
    order = ">" if syntax.uid == uid.ExplicitVRBigEndian else "<"
    plain = stored_HW.astype(stored_HW.dtype.newbyteorder(order)).tobytes()
    value = plain if syntax.encode is None else encapsulate([syntax.encode(stored_HW)])
    dataset.add_new("PixelData", "OW" if syntax.encode is None else "OB", value)
    file = io.BytesIO()
    dataset.save_as(file, enforce_file_format=True)
    return file.getvalue().replace(listed.encode().ljust(22, b"\0"), syntax.uid.encode().ljust(22, b"\0"), 1)
