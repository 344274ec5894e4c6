"""One compressed frame to samples, for each transfer syntax (PS3.5 8.2, A.4): strictly, or not at all.

The codestream's own size must be the header's before a decoder runs. What proves that a frame is whole:
simplejpeg's strict mode for JPEG of 8 bits; for 12 bits, that what is put behind the data changes nothing;
for lossless JPEG the count of its bits (`jpeg_lossless`); CharLS and OpenJPEG refuse short data themselves.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
from pydicom import uid

from batch_fracture.codes import Code
from batch_fracture.decode import jpeg_2000_stream, jpeg_lossless, jpeg_stream, run_length
from batch_fracture.decode.dicom_object import DEFLATED_FRAME
from batch_fracture.decode.image_pixel import ImagePixel
from batch_fracture.decode.inflate import inflate_frame
from batch_fracture.errors import ImageError

T = TypeVar("T")
Samples = npt.NDArray[Any]

ENCAPSULATED_UNCOMPRESSED = "1.2.840.10008.1.2.1.98"
_MAX_REDUCTIONS = 3
_SENTINEL = bytes(np.random.default_rng(0).integers(1, 255, 256, np.uint8))
"""No 0xFF in it, so that it reads as entropy-coded data."""
_ADOBE = b"\xff\xee\x00\x0eAdobe\x00\x64\0\0\0\0"
"""An APP14 segment without its last byte, the transform (T.872 6.5.3)."""


@dataclass(frozen=True, kw_only=True)
class Decoded:
    """Samples as a codec gives them."""

    samples: Samples
    """Integers (rows, columns[, 3]), right-aligned."""
    precision: int
    """Bits that the codestream says they have."""
    is_ycc: bool = False
    """Still luma and chroma."""


Codec = Callable[[memoryview, ImagePixel, int | None], "Decoded | memoryview"]
"""(codestream, layout, min_long_side) -> samples, or the bytes of an uncompressed frame."""


def jpeg(codestream: memoryview, pixel: ImagePixel, min_long_side: int | None) -> Decoded:
    """JPEG and JPEG-LS by what the codestream is, whichever of their transfer syntaxes was declared."""
    stream = jpeg_stream.read_stream(codestream)
    _agree(pixel, stream.rows, stream.columns, len(stream.components), stream.precision)
    whole = codestream[: stream.length]
    if stream.process == jpeg_stream.JPEG_LS:
        return _jpeg_ls(whole, pixel, stream)
    if stream.process == jpeg_stream.LOSSLESS:
        samples = _jpeg_raw(whole)
        jpeg_lossless.prove_complete(stream, whole, samples)
        return Decoded(samples=samples, precision=stream.precision, is_ycc=_is_ycc(stream, pixel))
    if stream.process > jpeg_stream.PROGRESSIVE or stream.precision not in (8, 12):
        raise ImageError(Code.UNSUPPORTED, "this JPEG process is not supported")
    if stream.precision == 12:
        return Decoded(samples=_jpeg_12(whole, stream), precision=12, is_ycc=_is_ycc(stream, pixel))
    return Decoded(samples=_jpeg_8(whole, stream, pixel, min_long_side), precision=8)


def _agree(pixel: ImagePixel, rows: int, columns: int, samples: int, precision: int) -> None:
    """The header and the codestream must speak of one picture, before memory is spent on it."""
    if (rows, columns, samples) != (pixel.rows, pixel.columns, pixel.samples):
        raise ImageError(Code.CORRUPT, "the compressed frame is not of the size that the header gives")
    if not 0 < precision <= max(8, pixel.bits_allocated):
        raise ImageError(Code.CORRUPT, "the compressed frame has more bits than the header gives room for")


def _is_ycc(stream: jpeg_stream.JpegStream, pixel: ImagePixel) -> bool:
    """Whether three components are luma and chroma: the codestream's word first, else the header's.

    A JFIF segment means YCbCr (T.871 6); an Adobe one says which (T.872 6.5.3); so do component names.
    """
    if len(stream.components) != 3:
        return False
    if stream.has_jfif:
        return True
    if stream.adobe_transform is not None:
        return stream.adobe_transform != 0
    return bytes(stream.components).upper() != b"RGB" and pixel.photometric != "RGB"


def _jpeg_8(
    whole: memoryview, stream: jpeg_stream.JpegStream, pixel: ImagePixel, min_long_side: int | None
) -> Samples:
    import simplejpeg  # noqa: PLC0415 - decoders load when a frame needs them

    is_ycc = _is_ycc(stream, pixel)
    source: bytes | memoryview = whole
    if pixel.samples == 3 and _libjpeg_guesses_ycc(stream) != is_ycc:  # it sees no DICOM header
        source = b"".join((whole[:2], _ADOBE, bytes((is_ycc,)), whole[2:]))
    factor = 2 ** _halvings(pixel, min_long_side)
    pixels_HWC: Samples = _strictly(
        lambda: simplejpeg.decode_jpeg(
            source,
            colorspace="GRAY" if pixel.samples == 1 else "RGB",
            min_height=-(-pixel.rows // factor),
            min_width=-(-pixel.columns // factor),
            min_factor=factor,
            strict=True,
        )
    )
    return pixels_HWC[..., 0] if pixel.samples == 1 else pixels_HWC


def _libjpeg_guesses_ycc(stream: jpeg_stream.JpegStream) -> bool:
    """What `default_decompress_parms` does (libjpeg, jdapimin.c)."""
    if stream.has_jfif or stream.adobe_transform is not None:
        return stream.has_jfif or stream.adobe_transform != 0
    return bytes(stream.components) != b"RGB"


def _jpeg_raw(whole: memoryview | bytes) -> Samples:
    """libjpeg-turbo without its colour conversion; it makes up what is missing."""
    import imagecodecs  # noqa: PLC0415 - as above

    return _strictly(lambda: imagecodecs.jpeg8_decode(whole, colorspace=0, outcolorspace=0))


def _jpeg_12(whole: memoryview, stream: jpeg_stream.JpegStream) -> Samples:
    """Decoded twice, once with other bits behind the last scan: if it is whole, they are never looked at."""
    samples = _jpeg_raw(whole)
    stop = stream.scans[-1].stop
    if not np.array_equal(samples, _jpeg_raw(b"".join((whole[:stop], _SENTINEL, whole[stop:])))):
        raise ImageError(Code.TRUNCATED, "the compressed frame's data ends early")
    return samples


def _jpeg_ls(whole: memoryview, pixel: ImagePixel, stream: jpeg_stream.JpegStream) -> Decoded:
    import imagecodecs  # noqa: PLC0415 - as above

    samples = _strictly(lambda: imagecodecs.jpegls_decode(whole))
    is_ycc = pixel.photometric in ("YBR_FULL", "YBR_FULL_422")
    return Decoded(samples=samples, precision=stream.precision, is_ycc=is_ycc)


def jpeg_2000(codestream: memoryview, pixel: ImagePixel, min_long_side: int | None) -> Decoded:
    """JPEG 2000 and HTJ2K by OpenJPEG, which refuses short data; reduced by Pillow's copy of it."""
    stream = jpeg_2000_stream.read_stream(codestream)
    precision = max(stream.precisions)
    _agree(pixel, stream.rows, stream.columns, len(stream.precisions), precision)
    if stream.is_subsampled:
        raise ImageError(Code.UNSUPPORTED, "subsampled JPEG 2000 is not supported")
    halvings = min(_halvings(pixel, min_long_side), stream.levels)
    if halvings and precision <= (16 if pixel.samples == 1 else 8):
        samples = _strictly(lambda: _jpeg_2000_reduced(stream, halvings))
    else:
        import imagecodecs  # noqa: PLC0415 - as above

        samples = _strictly(lambda: imagecodecs.jpeg2k_decode(stream.codestream))
    is_ycc = pixel.photometric in ("YBR_FULL", "YBR_FULL_422")  # RCT and ICT are undone by the codec
    return Decoded(samples=samples, precision=precision, is_ycc=is_ycc)


def _jpeg_2000_reduced(stream: jpeg_2000_stream.Jpeg2000Stream, halvings: int) -> Samples:
    from PIL import Image, Jpeg2KImagePlugin  # noqa: PLC0415 - as above

    with Image.open(io.BytesIO(stream.codestream), formats=("JPEG2000",)) as image:
        assert isinstance(image, Jpeg2KImagePlugin.Jpeg2KImageFile)  # noqa: S101 - the only format allowed
        image.reduce = halvings
        samples = np.asarray(image)
    precision = stream.precisions[0]
    samples = samples >> (8 * samples.dtype.itemsize - precision)  # Pillow left-aligns
    if stream.is_signed:  # and moves signed values up by half their range
        return samples.astype(np.int32) - (1 << (precision - 1))
    return samples


def run_length_encoded(codestream: memoryview, pixel: ImagePixel, _: int | None) -> Decoded | memoryview:
    """RLE Lossless (PS3.5 annex G)."""
    if pixel.bits_allocated == 1:
        return run_length.segment_bytes(codestream, 1, pixel.frame_bytes)[0].data
    samples = run_length.decode(codestream, pixel)
    is_ycc = pixel.photometric == "YBR_FULL"
    return Decoded(samples=samples, precision=pixel.bits_allocated, is_ycc=is_ycc)


def deflated(codestream: memoryview, pixel: ImagePixel, _: int | None) -> memoryview:
    """Deflated Image Frame Compression (PS3.5 A.4.12)."""
    return memoryview(inflate_frame(codestream, pixel.frame_bytes))


def uncompressed(codestream: memoryview, _pixel: ImagePixel, _: int | None) -> memoryview:
    """Encapsulated Uncompressed Explicit VR Little Endian (PS3.5 A.4.11)."""
    return codestream


def _halvings(pixel: ImagePixel, min_long_side: int | None) -> int:
    """How often the longer side may be halved."""
    count = 0
    while (
        min_long_side
        and count < _MAX_REDUCTIONS
        and max(pixel.rows, pixel.columns) >= min_long_side << (count + 1)
    ):
        count += 1
    return count


def _strictly(decode: Callable[[], T]) -> T:
    """Run one decoder; its words quote offsets and values, and stay here."""
    try:
        return decode()
    except (ImageError, MemoryError):
        raise
    except Exception as error:
        is_short = "remature end" in str(error)
        code = Code.TRUNCATED if is_short else Code.CORRUPT
        raise ImageError(code, "the compressed frame's data is damaged or ends early") from error


_PROGRESSIVE = ("1.2.840.10008.1.2.4.53", "1.2.840.10008.1.2.4.55")
"""JPEG processes 6 to 8 and 10 to 12, retired; pydicom has no names for them."""
_JPEG = (*uid.JPEGTransferSyntaxes, *_PROGRESSIVE, *uid.JPEGLSTransferSyntaxes)
_JPEG_2000 = (
    uid.JPEG2000Lossless,
    uid.JPEG2000,
    uid.HTJ2KLossless,
    uid.HTJ2KLosslessRPCL,
    uid.HTJ2K,
)
CODECS: dict[str, Codec] = {
    **dict.fromkeys(_JPEG, jpeg),
    **dict.fromkeys(_JPEG_2000, jpeg_2000),
    uid.RLELossless: run_length_encoded,
    DEFLATED_FRAME: deflated,
    ENCAPSULATED_UNCOMPRESSED: uncompressed,
}
"""Transfer syntax -> how its frames are decoded."""
