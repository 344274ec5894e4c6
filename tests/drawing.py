"""Small pictures and files that the tests of decoding share."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pydicom
from PIL import Image
from pydicom.dataset import FileMetaDataset
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

Grey = npt.NDArray[np.uint8]


def grey(rows: int = 48, columns: int = 40, seed: int = 0) -> Grey:
    """A ramp with noise and one bright corner: no two orientations look alike. uint8 (rows, columns)."""
    ramp_HW = np.add.outer(np.linspace(0, 90, rows), np.linspace(0, 60, columns))
    noise_HW = np.random.default_rng(seed).normal(0, 4, (rows, columns))
    ramp_HW[: rows // 4, : columns // 4] += 90
    return np.clip(ramp_HW + noise_HW, 0, 255).astype(np.uint8)


def picture(seed: int, rows: int = 90, columns: int = 70) -> Grey:
    """Patches of random grey, uint8 (rows, columns): pictures of two seeds look different."""
    patches = Image.fromarray(np.random.default_rng(seed).integers(0, 256, (24, 20), np.uint8))
    return np.asarray(patches.resize((columns, rows), Image.Resampling.BICUBIC))


def saved(image: Image.Image | npt.NDArray[Any], container: str, **options: Any) -> bytes:
    """The bytes of an image file."""
    file = io.BytesIO()
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(file, container, **options)
    return file.getvalue()


def dicom(
    stored: npt.NDArray[Any],
    *,
    syntax: str = ExplicitVRLittleEndian,
    preamble: bool = True,
    bits_stored: int | None = None,
    photometric: str = "MONOCHROME2",
    **tags: Any,
) -> bytes:
    """A DICOM object of these stored values; `tags` are keywords and values, None removes one."""
    dataset = pydicom.Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.1"
    dataset.file_meta.MediaStorageSOPInstanceUID = "1.2.3.4"
    dataset.SOPClassUID, dataset.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.1", "1.2.3.4"
    dataset.Modality = "CR"
    dataset.Rows, dataset.Columns = stored.shape[:2]
    dataset.SamplesPerPixel = 1 if stored.ndim == 2 else stored.shape[2]
    if stored.ndim == 3:
        dataset.PlanarConfiguration = 0
    dataset.PhotometricInterpretation = photometric
    dataset.BitsAllocated = 8 * stored.dtype.itemsize
    dataset.BitsStored = bits_stored or dataset.BitsAllocated
    dataset.HighBit = dataset.BitsStored - 1
    dataset.PixelRepresentation = int(stored.dtype.kind == "i")
    order = ">" if syntax == ExplicitVRBigEndian else "<"
    pixels = stored.astype(stored.dtype.newbyteorder(order)).tobytes()
    dataset.add_new(
        "PixelData", "OB" if dataset.BitsAllocated == 8 else "OW", pixels + b"\0" * (len(pixels) % 2)
    )
    for keyword, value in tags.items():
        if value is None:
            delattr(dataset, keyword)
        else:
            setattr(dataset, keyword, value)
    return _encoded(dataset, syntax, preamble=preamble)


def _encoded(dataset: pydicom.Dataset, syntax: str, *, preamble: bool) -> bytes:
    file = io.BytesIO()
    if preamble:
        dataset.save_as(file, enforce_file_format=True)
    else:
        bare = pydicom.Dataset({element.tag: element for element in dataset if element.tag.group != 2})
        bare.save_as(
            file, implicit_vr=syntax == ImplicitVRLittleEndian, little_endian=syntax != ExplicitVRBigEndian
        )
    return file.getvalue()


def png_chunk(kind: bytes, body: bytes) -> bytes:
    """One chunk of a PNG."""
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(rows: int, columns: int, *, raw: bytes = b"", extra: bytes = b"", interlaced: bool = False) -> bytes:
    """An 8-bit grey PNG with these filtered rows, whatever its header claims."""
    header = struct.pack(">IIBBBBB", columns, rows, 8, 0, 0, 0, int(interlaced))
    body = (
        png_chunk(b"IHDR", header) + extra + png_chunk(b"IDAT", zlib.compress(raw)) + png_chunk(b"IEND", b"")
    )
    return b"\x89PNG\r\n\x1a\n" + body


def frames(num: int) -> Sequence[Image.Image]:
    """Different pictures of one size."""
    return [Image.fromarray(grey(seed=seed)) for seed in range(num)]


def one_of_each() -> dict[str, bytes]:
    """A readable file of every container, encoding and depth that is decoded."""
    picture_HW = grey()
    deep_HW = picture_HW.astype(np.uint16) * 257
    colour = Image.fromarray(np.stack([picture_HW, 255 - picture_HW, picture_HW // 2], axis=2))
    exif = Image.Exif()
    exif[0x0112] = 6
    exif[0x010E] = "a description that is longer than its entry"
    return {
        "jpeg": saved(picture_HW, "JPEG"),
        "jpeg-progressive": saved(colour, "JPEG", progressive=True, exif=exif),
        "jpeg-restarts": saved(colour, "JPEG", restart_marker_rows=1),
        "jpeg-cmyk": saved(colour.convert("CMYK"), "JPEG"),
        "png": saved(picture_HW, "PNG"),
        "png-16": saved(deep_HW, "PNG"),
        "png-palette": saved(colour.quantize(16), "PNG", transparency=3),
        "png-alpha": saved(colour.convert("RGBA"), "PNG", exif=exif),
        "tiff": saved(picture_HW, "TIFF"),
        "tiff-16": saved(deep_HW, "TIFF"),
        "tiff-16-big-endian": saved(
            Image.frombytes("I;16B", (40, 48), deep_HW.astype(">u2").tobytes()), "TIFF"
        ),
        "tiff-float": saved(picture_HW.astype(np.float32), "TIFF"),
        "tiff-lzw": saved(colour, "TIFF", compression="tiff_lzw"),
        "tiff-deflate": saved(deep_HW, "TIFF", compression="tiff_adobe_deflate", exif=exif),
        "tiff-packbits": saved(picture_HW, "TIFF", compression="packbits"),
        "tiff-jpeg": saved(picture_HW, "TIFF", compression="jpeg"),
        "gif": saved(picture_HW, "GIF"),
        "webp": saved(colour, "WEBP"),
        "webp-lossless": saved(colour, "WEBP", lossless=True, exif=exif),
        "bmp": saved(picture_HW, "BMP"),
        "dicom": dicom(deep_HW),
        "dicom-implicit": dicom(deep_HW, syntax=ImplicitVRLittleEndian, WindowCenter=30000, WindowWidth=9000),
        "dicom-big-endian": dicom(deep_HW, syntax=ExplicitVRBigEndian),
        "dicom-deflated": dicom(deep_HW, syntax=DeflatedExplicitVRLittleEndian),
        "dicom-bare": dicom(deep_HW, syntax=ImplicitVRLittleEndian, preamble=False),
        "dicom-colour": dicom(np.asarray(colour), photometric="RGB"),
    }


def with_tiff_tag(content: bytes, tag: int, value: int) -> bytes:
    """A little-endian classic TIFF with the value of one single-number tag of its first page replaced."""
    at = struct.unpack("<I", content[4:8])[0]
    for entry in range(at + 2, at + 2 + 12 * struct.unpack("<H", content[at : at + 2])[0], 12):
        if struct.unpack("<H", content[entry : entry + 2])[0] == tag:
            return content[: entry + 8] + struct.pack("<I", value) + content[entry + 12 :]
    raise KeyError(tag)
