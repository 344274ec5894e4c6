"""JPEG and JPEG-LS frames of a DICOM object (PS3.5 8.2.1, 8.2.3), each with a proof that it is whole.

simplejpeg's strict mode for 8 bits; for 12 bits, that what is put behind the data changes nothing; for
lossless JPEG the count of its bits (`jpeg_lossless`); CharLS refuses JPEG-LS unless only bits are missing.
"""

from __future__ import annotations

import numpy as np

from batch_fracture.codes import Code
from batch_fracture.decode import jpeg_lossless, jpeg_stream
from batch_fracture.decode.decoded import Decoded, Samples, agree, halvings, strictly
from batch_fracture.decode.image_pixel import ImagePixel
from batch_fracture.errors import ImageError

_SENTINEL = bytes((0xAA, *np.random.default_rng(0).integers(1, 255, 255, np.uint8)))
"""Entropy-coded bits, without 0xFF. The first is a one: where bits are missing, libjpeg goes on with zeros,
and so the first code or value that is cut comes out another."""
_ADOBE = b"\xff\xee\x00\x0eAdobe\x00\x64\0\0\0\0"
"""An APP14 segment without its last byte, the transform (T.872 6.5.3)."""


def jpeg(codestream: memoryview, pixel: ImagePixel, min_long_side: int | None) -> Decoded:
    """JPEG and JPEG-LS by what the codestream is, whichever of their transfer syntaxes was declared."""
    stream = jpeg_stream.read_stream(codestream)
    agree(pixel, stream.rows, stream.columns, len(stream.components), stream.precision)
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
    factor = 2 ** halvings(pixel, min_long_side)
    pixels_HWC: Samples = strictly(
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

    return strictly(lambda: imagecodecs.jpeg8_decode(whole, colorspace=0, outcolorspace=0))


def _jpeg_12(whole: memoryview, stream: jpeg_stream.JpegStream) -> Samples:
    """Decoded twice, once with other bits behind the last scan: if it is whole, they are never looked at."""
    samples = _jpeg_raw(whole)
    if not np.array_equal(samples, _jpeg_raw(_with_more(whole, stream, _SENTINEL))):
        raise ImageError(Code.TRUNCATED, "the compressed frame's data ends early")
    return samples


def _jpeg_ls(whole: memoryview, pixel: ImagePixel, stream: jpeg_stream.JpegStream) -> Decoded:
    """CharLS refuses all short data but one: a few bits that are missing at the end it reads as zeros.

    So it decodes once more, with a one behind the last scan, which it refuses where nothing is missing.
    """
    import imagecodecs  # noqa: PLC0415 - as above

    samples = strictly(lambda: imagecodecs.jpegls_decode(whole))
    try:
        others = imagecodecs.jpegls_decode(_with_more(whole, stream, b"\x80"))
    except imagecodecs.JpeglsError:
        others = samples
    if not np.array_equal(samples, others):
        raise ImageError(Code.TRUNCATED, "the compressed frame's data ends early")
    is_ycc = pixel.photometric in ("YBR_FULL", "YBR_FULL_422")
    return Decoded(samples=samples, precision=stream.precision, is_ycc=is_ycc)


def _with_more(whole: memoryview, stream: jpeg_stream.JpegStream, more: bytes) -> bytes:
    stop = stream.scans[-1].stop
    return b"".join((whole[:stop], more, whole[stop:]))
