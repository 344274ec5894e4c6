"""Compressed DICOM frames that the tests of decoding share: one of every transfer syntax."""

from __future__ import annotations

import zlib
from typing import Any

import drawing
import imagecodecs
import numpy as np
import numpy.typing as npt
import pydicom
from pydicom.encaps import encapsulate
from pydicom.pixels import get_encoder
from pydicom.uid import RLELossless

from batch_fracture.decode import dicom_object, frames
from batch_fracture.decode.codecs import DEFLATED_FRAME, ENCAPSULATED_UNCOMPRESSED
from batch_fracture.decode.image_pixel import ImagePixel

Stored = npt.NDArray[Any]

GREY = drawing.grey(160, 136)
TWELVE = GREY.astype(np.uint16) * 16 + (np.arange(136, dtype=np.uint16) % 16)
COLOUR = np.stack([GREY, 255 - GREY, GREY // 2], axis=2)
JPEG_8, JPEG_12, LOSSLESS = (f"1.2.840.10008.1.2.4.{number}" for number in (50, 51, 70))
JPEG_LS, JPEG_2000, HTJ2K = (f"1.2.840.10008.1.2.4.{number}" for number in (80, 90, 201))


def rle(stored: Stored) -> bytes:
    """A frame in RLE Lossless, by pydicom's own encoder."""
    samples = 1 if stored.ndim == 2 else 3
    return get_encoder(RLELossless).encode(
        stored.tobytes(),
        rows=stored.shape[0],
        columns=stored.shape[1],
        samples_per_pixel=samples,
        bits_allocated=8 * stored.itemsize,
        bits_stored=8 * stored.itemsize,
        pixel_representation=0,
        photometric_interpretation="RGB" if samples == 3 else "MONOCHROME2",
        number_of_frames=1,
        planar_configuration=0,
        encoding_plugin="pydicom",
    )


def deflated(stored: Stored) -> bytes:
    """A frame in raw deflate."""
    deflater = zlib.compressobj(wbits=-15)
    return deflater.compress(stored.tobytes()) + deflater.flush()


def one_of_each() -> dict[str, tuple[str, Stored, bytes]]:
    """Name -> transfer syntax, the frame's values, its codestream."""
    return {
        "jpeg-8": (JPEG_8, GREY, imagecodecs.jpeg8_encode(GREY, 90)),
        "jpeg-8-progressive": (JPEG_8, GREY, drawing.saved(GREY, "JPEG", progressive=True)),
        "jpeg-8-colour": (JPEG_8, COLOUR, drawing.saved(COLOUR, "JPEG", quality=95, subsampling=0)),
        "jpeg-12": (JPEG_12, TWELVE, imagecodecs.jpeg8_encode(TWELVE, 95, bitspersample=12)),
        "lossless": (LOSSLESS, TWELVE, imagecodecs.jpeg8_encode(TWELVE, lossless=True, bitspersample=16)),
        "lossless-8": (LOSSLESS, GREY, imagecodecs.jpeg8_encode(GREY, lossless=True)),
        "jpeg-ls": (JPEG_LS, TWELVE, imagecodecs.jpegls_encode(TWELVE)),
        "jpeg-ls-near": ("1.2.840.10008.1.2.4.81", GREY, imagecodecs.jpegls_encode(GREY, level=2)),
        "jpeg-2000": (JPEG_2000, TWELVE, imagecodecs.jpeg2k_encode(TWELVE, level=0, codecformat="J2K")),
        "jpeg-2000-lossy": (
            "1.2.840.10008.1.2.4.91",
            TWELVE,
            imagecodecs.jpeg2k_encode(TWELVE, level=80, reversible=False, codecformat="J2K"),
        ),
        "htj2k": (HTJ2K, TWELVE, imagecodecs.htj2k_encode(TWELVE, reversible=True)),
        "rle": (RLELossless, TWELVE, rle(TWELVE)),
        "rle-colour": (RLELossless, COLOUR, rle(COLOUR)),
        "deflated-frame": (DEFLATED_FRAME, TWELVE, deflated(TWELVE)),
        "uncompressed": (ENCAPSULATED_UNCOMPRESSED, TWELVE, TWELVE.tobytes()),
    }


def image_pixel(stored: Stored, **fields: Any) -> ImagePixel:
    """The Image Pixel module of such a frame."""
    bits = 8 * stored.itemsize
    rest = {
        "bits_allocated": bits,
        "bits_stored": bits,
        "high_bit": fields.get("bits_stored", bits) - 1,
        "samples": 1 if stored.ndim == 2 else 3,
        "photometric": "MONOCHROME2" if stored.ndim == 2 else "RGB",
        "is_signed": stored.dtype.kind == "i",
    }
    return ImagePixel(rows=stored.shape[0], columns=stored.shape[1], **{**rest, **fields})


def dicom(stored: Stored, codestreams: list[bytes], syntax: str, **tags: Any) -> bytes:
    """A DICOM object around codestreams, one fragment each."""
    photometric = tags.pop("photometric", "MONOCHROME2" if stored.ndim == 2 else "RGB")
    pixels = tags.pop("PixelData", None) or encapsulate(codestreams)
    known = JPEG_8 if syntax == DEFLATED_FRAME else syntax  # pydicom writes no syntax that it does not list
    content = drawing.dicom(stored, syntax=known, photometric=photometric, PixelData=pixels, **tags)
    return content if known == syntax else content.replace(known.encode(), syntax.encode() + b"\0")


def stored_frame(content: bytes, **options: Any) -> Stored:
    """`frames.stored_frame` of an object's bytes."""
    dataset: pydicom.Dataset = dicom_object.parse(content)
    return frames.stored_frame(content, dataset, dicom_object.transfer_syntax(content, dataset), **options)
