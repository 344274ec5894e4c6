"""JPEG, PNG, TIFF and the other raster formats that Pillow opens, upright and in grey."""

from __future__ import annotations

import io
import struct
import warnings
import zlib
from collections.abc import Callable
from typing import TypeVar

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, TiffImagePlugin, UnidentifiedImageError

from batch_fracture.codes import Code
from batch_fracture.decode import jpeg, sniff
from batch_fracture.decode.header import ImageHeader
from batch_fracture.decode.window import percentile_window
from batch_fracture.errors import ImageError

T = TypeVar("T")

FORMATS = {
    sniff.JPEG: "JPEG",
    sniff.PNG: "PNG",
    sniff.TIFF: "TIFF",
    "image/gif": "GIF",
    "image/bmp": "BMP",
    "image/webp": "WEBP",
    "image/jp2": "JPEG2000",
}
Image.MAX_IMAGE_PIXELS = None  # ReadingSettings.max_pixels is checked on the header instead, and gives a row

_DECODE_ERRORS = (OSError, SyntaxError, ValueError, EOFError, IndexError, KeyError, TypeError, struct.error, zlib.error)
"""What Pillow's plugins raise on damaged files."""
_PNG_END = b"IEND\xaeB`\x82"
_ORIENTATION = 0x0112
_BITS_PER_SAMPLE = 258


def read_header(content: bytes, media_type: str) -> ImageHeader:
    """Size and depth as stored, before any orientation is applied.

    Raises:
        ImageError: `TRUNCATED`, `CORRUPT`, `UNSUPPORTED`, `ANIMATED` or `MULTI_FRAME`.
    """
    if media_type == sniff.JPEG:
        frame = jpeg.read_frame(content)
        return ImageHeader(media_type=media_type, rows=frame.rows, columns=frame.columns, bits_stored=frame.bits)
    image = _open(content, media_type)
    frames = _guard(lambda: getattr(image, "n_frames", 1), content, media_type)
    if frames > 1:
        code = Code.MULTI_FRAME if media_type == sniff.TIFF else Code.ANIMATED
        raise ImageError(code, f"the file holds {frames} frames; only single radiographs are read")
    return ImageHeader(
        media_type=media_type, rows=image.height, columns=image.width, bits_stored=_bits(image, content)
    )


def read_grey(content: bytes, media_type: str, *, min_long_side: int) -> npt.NDArray[np.uint8]:
    """Decode to grey, turned upright by the EXIF or TIFF orientation.

    Colours become ITU-R 601 luma, transparent parts black; more than 8 bits go through a percentile window.

    Args:
        content: the whole file.
        media_type: one of `FORMATS`.
        min_long_side: a JPEG may come reduced, its longer side no smaller than this.

    Returns:
        uint8 (rows, columns) of the upright image.

    Raises:
        ImageError: `TRUNCATED`, `CORRUPT` or `UNSUPPORTED`.
    """
    image = _open(content, media_type)
    if media_type == sniff.JPEG:
        grey_HW = jpeg.read_grey(content, jpeg.read_frame(content), min_long_side=min_long_side)
        if grey_HW is not None:
            orientation = _guard(lambda: image.getexif().get(_ORIENTATION, 1), content, media_type)
            return _upright(grey_HW, orientation)
    if media_type == sniff.PNG and _PNG_END not in content:
        raise ImageError(Code.TRUNCATED, "the PNG has no end chunk")
    return _guard(lambda: _to_grey(ImageOps.exif_transpose(image)), content, media_type)


def _upright(grey_HW: npt.NDArray[np.uint8], orientation: int) -> npt.NDArray[np.uint8]:
    """Undo the EXIF orientation (Exif 2.32, tag 0x0112): 2 to 8 are the mirrored and turned storages."""
    if orientation in (5, 6, 7, 8):
        grey_HW = grey_HW.T
    if orientation in (2, 3, 6, 7):
        grey_HW = grey_HW[:, ::-1]
    if orientation in (3, 4, 7, 8):
        grey_HW = grey_HW[::-1]
    return np.ascontiguousarray(grey_HW)


def _to_grey(image: Image.Image) -> npt.NDArray[np.uint8]:
    image.load()
    if image.mode.startswith("I") or image.mode == "F":
        values_HW = np.asarray(image, dtype=np.float32)
        if not np.isfinite(values_HW).all():
            raise ImageError(Code.CORRUPT, "the image holds values that are not finite")
        return percentile_window(values_HW)
    if image.has_transparency_data:
        colour = image.convert("RGBA")
        image = Image.new("RGBA", colour.size, (0, 0, 0, 255))
        image.alpha_composite(colour)
    if image.mode not in ("1", "L", "RGB"):
        image = image.convert("RGB")
    return np.asarray(image.convert("L"))


def _open(content: bytes, media_type: str) -> Image.Image:
    image = _guard(
        lambda: Image.open(io.BytesIO(content), formats=[FORMATS[media_type]]), content, media_type
    )
    if media_type == sniff.TIFF and _tiff_end(image) > len(content):
        raise ImageError(Code.TRUNCATED, "the TIFF's image data lies beyond its end")
    return image


def _bits(image: Image.Image, content: bytes) -> int:
    """Bits per sample as stored: PNG's IHDR (RFC 2083 4.1.1), TIFF's BitsPerSample, else 8."""
    if image.format == "PNG":
        return content[24]
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        return int(image.tag_v2.get(_BITS_PER_SAMPLE, (1,))[0])
    return 8


def _tiff_end(image: Image.Image) -> int:
    """The byte after the last strip or tile (TIFF 6.0, tags 273/279 and 324/325)."""
    if not isinstance(image, TiffImagePlugin.TiffImageFile):
        return 0
    ends = [
        offset + size
        for offsets, sizes in ((273, 279), (324, 325))
        for offset, size in zip(image.tag_v2.get(offsets, ()), image.tag_v2.get(sizes, ()), strict=False)
    ]
    return max(ends, default=0)


def _guard(read: Callable[[], T], content: bytes, media_type: str) -> T:
    """Run one call into Pillow; what it raises becomes a code and our own words."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow warns of odd metadata and quotes it
            return read()
    except _DECODE_ERRORS as error:
        kind = media_type.removeprefix("image/").upper()
        if _is_cut(content, media_type) or "truncated" in str(error).lower():
            raise ImageError(Code.TRUNCATED, f"the {kind} file ends early") from error
        if _is_unsupported(error, media_type):
            raise ImageError(Code.UNSUPPORTED, f"this kind of {kind} is not supported") from error
        raise ImageError(Code.CORRUPT, f"the {kind} file is damaged ({type(error).__name__})") from error


def _is_unsupported(error: Exception, media_type: str) -> bool:
    unknown_layout = isinstance(error, UnidentifiedImageError) and media_type == sniff.TIFF
    return unknown_layout or "unsupported" in str(error).lower()


def _is_cut(content: bytes, media_type: str) -> bool:
    """Whether the container itself says that bytes are missing."""
    if media_type == sniff.PNG:
        return _PNG_END not in content
    if media_type == sniff.TIFF:
        order = "little" if content[:1] == b"I" else "big"
        first_ifd = int.from_bytes(content[4:8], order)
        return len(content) < 8 or (content[2:4] in (b"*\0", b"\0*") and first_ifd + 2 > len(content))
    if media_type == "image/webp":
        return int.from_bytes(content[4:8], "little") + 8 > len(content)
    if media_type == "image/bmp":
        return int.from_bytes(content[2:6], "little") > len(content)
    return media_type == "image/gif" and not content.rstrip(b"\0").endswith(b";")
