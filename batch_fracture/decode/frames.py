"""The stored values of a frame of a DICOM object, in whatever transfer syntax it was written (PS3.5 8 and A).

Nothing is copied that need not be: a plain grey frame is a view of the object's bytes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pydicom
from pydicom.pixels.processing import convert_color_space
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    HTJ2KLossless,
    HTJ2KLosslessRPCL,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)

from batch_fracture.codes import Code
from batch_fracture.decode.codecs import CODECS
from batch_fracture.decode.decoded import Decoded
from batch_fracture.decode.dicom_object import guard, plain_bytes
from batch_fracture.decode.encapsulated import PixelData, pixel_data, read_frame
from batch_fracture.decode.image_pixel import ImagePixel, read_image_pixel, unused_bits_cleared
from batch_fracture.errors import ImageError

Frame = npt.NDArray[Any]

UNCOMPRESSED = frozenset(
    {ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian}
)
LOSSLESS = frozenset(
    {
        HTJ2KLossless,
        HTJ2KLosslessRPCL,
        JPEG2000Lossless,
        JPEGLossless,
        JPEGLosslessSV1,
        JPEGLSLossless,
        RLELossless,
    }
)
"""Where what stands beside a value in its cell comes back as it was, and is to be cleared."""


def stored_frame(
    content: bytes,
    dataset: pydicom.Dataset,
    syntax: str | None,
    *,
    index: int = 0,
    min_long_side: int | None = None,
) -> Frame:
    """One frame's stored values, colour as RGB, signs as PixelRepresentation says.

    Args:
        content: the whole object.
        dataset: what `dicom_object.parse` gave for it.
        syntax: what `dicom_object.transfer_syntax` gave for it.
        index: which frame, from 0.
        min_long_side: a large JPEG or JPEG 2000 frame may come reduced, its longer side no smaller than this.

    Returns:
        Integers (rows, columns) or (rows, columns, 3) of Bits Allocated, native byte order; uint8 0 and 1 for
        single bits; float32 or float64 from Float or Double Float Pixel Data. Palette indices stay as they
        are. May be read-only.

    Raises:
        ImageError: `UNSUPPORTED`, `TRUNCATED`, `CORRUPT` or `TOO_LARGE`.
    """
    return guard(lambda: _stored_frame(content, dataset, syntax, index, min_long_side))


def _stored_frame(
    content: bytes, dataset: pydicom.Dataset, syntax: str | None, index: int, min_long_side: int | None
) -> Frame:
    codec = CODECS.get(syntax or "")
    if codec is None and syntax not in UNCOMPRESSED:
        raise ImageError(Code.UNSUPPORTED, "this transfer syntax is not supported")
    pixels = pixel_data(*plain_bytes(content, dataset), dataset)
    is_big = syntax == ExplicitVRBigEndian
    if pixels.floats is not None:
        return _float_frame(_plain_value(pixels), dataset, index, pixels.floats, is_big=is_big)
    pixel = read_image_pixel(dataset)
    if codec is None:
        return _native_frame(
            _plain_value(pixels), pixel, index, pixels.vr, is_big=syntax == ExplicitVRBigEndian
        )
    if pixels.length is not None:
        raise ImageError(Code.CORRUPT, "the pixel data is not compressed, as the transfer syntax says it is")
    codestream = read_frame(pixels, dataset, index=index, frames=pixel.frames)
    decoded = codec(codestream, pixel, min_long_side)
    if isinstance(decoded, memoryview):
        return _native_frame(decoded, pixel, 0, "OB", is_big=False)
    return _converted(_as_stored(decoded, pixel, is_lossless=syntax in LOSSLESS), is_ycc=decoded.is_ycc)


def _plain_value(pixels: PixelData) -> memoryview:
    if pixels.length is None:
        raise ImageError(
            Code.UNSUPPORTED, "the pixel data is compressed, but the transfer syntax does not say how"
        )
    return pixels.value[: pixels.length]


def _native_frame(value: memoryview, pixel: ImagePixel, index: int, vr: str, *, is_big: bool) -> Frame:
    """A frame of uncompressed pixel data (PS3.5 8.1.1, 8.2)."""
    start_bit = index * pixel.frame_bits
    start, stop = start_bit // 8, -(-(start_bit + pixel.frame_bits) // 8)
    if len(value) < stop:
        raise ImageError(Code.TRUNCATED, f"the pixel data holds {len(value)} of {stop} bytes")
    if pixel.bits_allocated == 1:
        bits = np.unpackbits(np.frombuffer(value[start:stop], np.uint8), bitorder="little")
        return bits[start_bit % 8 :][: pixel.rows * pixel.columns].reshape(pixel.rows, pixel.columns)
    if is_big and pixel.bits_allocated == 8 and vr == "OW":  # bytes in swapped pairs, PS3.5 A.3 and 8.1.2
        pairs = np.frombuffer(value[: len(value) // 2 * 2], np.uint16).byteswap().view(np.uint8)
        samples = pairs[start:stop].view(pixel.dtype)
        if len(samples) < stop - start:
            raise ImageError(Code.TRUNCATED, "the pixel data lacks its last byte")
    else:
        samples = np.frombuffer(value[start:stop], pixel.dtype.newbyteorder(">" if is_big else "<"))
        samples = samples.astype(pixel.dtype, copy=False)
    frame = unused_bits_cleared(_shaped(samples, pixel), pixel)
    return _converted(frame, is_ycc=pixel.photometric.startswith("YBR"))


def _float_frame(
    value: memoryview, dataset: pydicom.Dataset, index: int, dtype: np.dtype[np.floating], *, is_big: bool
) -> Frame:
    """A frame of Float or Double Float Pixel Data (PS3.3 C.7.6.24, C.7.6.25)."""
    rows, columns = int(dataset.Rows), int(dataset.Columns)
    size = rows * columns * dtype.itemsize
    if len(value) < (index + 1) * size:
        raise ImageError(Code.TRUNCATED, f"the pixel data holds {len(value)} of {(index + 1) * size} bytes")
    values = np.frombuffer(value[index * size :][:size], dtype.newbyteorder(">" if is_big else "<"))
    if not np.isfinite(values).all():
        raise ImageError(Code.UNSUPPORTED, "some floating-point pixels are no numbers")
    return values.astype(dtype, copy=False).reshape(rows, columns)


def _shaped(samples: Frame, pixel: ImagePixel) -> Frame:
    if pixel.photometric == "YBR_FULL_422":  # Y Y Cb Cr for two pixels, PS3.3 C.7.6.3.1.2
        if pixel.columns % 2:
            raise ImageError(Code.UNSUPPORTED, "an odd number of columns with halved colour is not supported")
        pairs_N4 = samples.reshape(-1, 4)
        luma_N2, chroma_N2 = pairs_N4[:, :2], pairs_N4[:, 2:]
        pixels_N23 = np.empty((len(pairs_N4), 2, 3), samples.dtype)
        pixels_N23[..., 0], pixels_N23[..., 1:] = luma_N2, chroma_N2[:, None, :]
        return pixels_N23.reshape(pixel.shape)
    if pixel.is_planar:
        return samples.reshape(pixel.samples, pixel.rows, pixel.columns).transpose(1, 2, 0)
    return samples.reshape(pixel.shape)


def _as_stored(decoded: Decoded, pixel: ImagePixel, *, is_lossless: bool) -> Frame:
    """Samples of a codec in the type that the header asks for; most codecs know no signs (PS3.5 8.2)."""
    samples = decoded.samples
    bits = min(decoded.precision, pixel.bits_stored)
    is_signed = samples.dtype.kind == "i"
    if pixel.is_signed and not is_signed:
        unused = 8 * samples.dtype.itemsize - bits
        samples = (samples << unused).view(f"i{samples.dtype.itemsize}") >> unused
    elif is_signed and not pixel.is_signed:
        samples = samples.view(f"u{samples.dtype.itemsize}") & ((1 << bits) - 1)
    samples = samples.astype(pixel.dtype, copy=False)
    if is_lossless and decoded.precision > pixel.bits_stored:
        return unused_bits_cleared(samples, pixel)
    return samples


def _converted(frame: Frame, *, is_ycc: bool) -> Frame:
    """RGB from luma and chroma (PS3.3 C.7.6.3.1.2)."""
    if not is_ycc:
        return frame
    if frame.dtype != np.uint8:
        raise ImageError(Code.UNSUPPORTED, "luma and chroma of more than 8 bits are not supported")
    return convert_color_space(frame, "YBR_FULL", "RGB")
