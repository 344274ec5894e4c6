"""JPEG, PNG, TIFF and the other raster formats that Pillow opens, upright and in grey."""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Callable
from typing import TypeVar

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageChops, UnidentifiedImageError

from batch_fracture.codes import Code
from batch_fracture.decode import deep_colour, inflate, jpeg, sniff, tiff
from batch_fracture.decode.containers import LAYOUTS
from batch_fracture.decode.header import ImageHeader
from batch_fracture.decode.silence import silenced
from batch_fracture.decode.window import window_by_percentiles
from batch_fracture.errors import ImageError

T = TypeVar("T")

FORMATS = {
    sniff.JPEG: "JPEG",
    sniff.PNG: "PNG",
    sniff.TIFF: "TIFF",
    sniff.GIF: "GIF",
    sniff.BMP: "BMP",
    sniff.WEBP: "WEBP",
}
"""Media type -> Pillow's name."""
Image.MAX_IMAGE_PIXELS = None  # ReadingSettings.max_pixels is checked on the header instead, and gives a row

_ORIENTATION = 0x0112
_GREY_OR_COLOUR = frozenset({"1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr"})


def read_header(content: bytes, media_type: str) -> ImageHeader:
    """Size and depth as stored, before any orientation is applied; nothing is decoded.

    Raises:
        ImageError: `TRUNCATED`, `CORRUPT`, `ANIMATED` or `MULTI_FRAME`.
    """
    if media_type == sniff.JPEG:
        frame = jpeg.read_frame(content)
        return ImageHeader(
            media_type=media_type, rows=frame.rows, columns=frame.columns, bits_stored=frame.bits
        )
    layout = tiff.read_layout(content) if media_type == sniff.TIFF else LAYOUTS[media_type](content)
    if layout.frames > 1:
        code = Code.MULTI_FRAME if media_type == sniff.TIFF else Code.ANIMATED
        raise ImageError(code, "the file holds several frames; only single radiographs are read")
    return ImageHeader(
        media_type=media_type, rows=layout.rows, columns=layout.columns, bits_stored=layout.bits
    )


def read_grey(content: bytes, media_type: str, *, min_long_side: int) -> npt.NDArray[np.uint8]:
    """Decode to grey, turned upright by the Exif or TIFF orientation.

    Colours become ITU-R 601 luma, transparent parts black; more than 8 bits go through a percentile window.

    Args:
        content: the whole file, whose header `read_header` has accepted.
        media_type: one of `FORMATS`.
        min_long_side: a JPEG may come reduced, its longer side no smaller than this.

    Returns:
        uint8 (rows, columns) of the upright image.

    Raises:
        ImageError: `TRUNCATED`, `CORRUPT` or `UNSUPPORTED`.
    """
    if media_type == sniff.JPEG:
        frame = jpeg.read_frame(content)
        grey_HW = jpeg.read_grey(content, frame, min_long_side=min_long_side)
        if grey_HW is None:
            grey_HW = _guard(lambda: _to_grey(_open(content, media_type)), media_type)
        return _upright(grey_HW, frame.orientation)
    if media_type == sniff.TIFF:
        tiff.prove_inflates(content)
    if deep_colour.is_deep_colour(content, media_type):
        return _read_deep_colour(content, media_type)
    image = _guard(lambda: _open(content, media_type), media_type)
    if media_type == sniff.PNG and not _last_row_is_there(image):
        inflate.prove_png(content)
    grey_HW = _guard(lambda: _to_grey(image), media_type)
    if media_type == sniff.TIFF:  # Pillow has turned it already
        windowed = image.mode.startswith("I") or image.mode == "F"
        return 255 - grey_HW if windowed and tiff.is_white_zero(content) else grey_HW
    return _upright(grey_HW, _orientation(image))


def _read_deep_colour(content: bytes, media_type: str) -> npt.NDArray[np.uint8]:
    grey_HW = _guard(lambda: deep_colour.read_grey(content, media_type), media_type)
    if media_type == sniff.TIFF:
        return _upright(grey_HW, tiff.orientation(content))
    return _upright(grey_HW, _orientation(_guard(lambda: _open(content, media_type), media_type)))


def _open(content: bytes, media_type: str) -> Image.Image:
    with silenced() if media_type == sniff.TIFF else contextlib.nullcontext():
        image = Image.open(io.BytesIO(content), formats=[FORMATS[media_type]])
        image.load()
    return image


def _last_row_is_there(image: Image.Image) -> bool:
    """Whether a PNG was decoded to its end for certain: Pillow leaves rows that are missing at 0."""
    last_row = image.crop((0, image.height - 1, image.width, image.height))
    return not image.info.get("interlace") and bool(np.asarray(last_row).any())


def _orientation(image: Image.Image) -> int:
    """The Exif orientation; damaged metadata does not cost the picture."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return int(image.getexif().get(_ORIENTATION, 1))
    except Exception:  # noqa: BLE001 - Pillow raises many types on damaged Exif blocks
        return 1


def _upright(grey_HW: npt.NDArray[np.uint8], orientation: int) -> npt.NDArray[np.uint8]:
    """Undo the orientation (Exif 2.32, tag 0x0112): 2 to 8 are the mirrored and turned storages."""
    if orientation in (5, 6, 7, 8):
        grey_HW = grey_HW.T
    if orientation in (2, 3, 6, 7):
        grey_HW = grey_HW[:, ::-1]
    if orientation in (3, 4, 7, 8):
        grey_HW = grey_HW[::-1]
    return np.ascontiguousarray(grey_HW)


def _to_grey(image: Image.Image) -> npt.NDArray[np.uint8]:
    if image.mode.startswith("I") or image.mode == "F":
        values_HW = np.asarray(image)
        if values_HW.dtype.kind == "f" and not np.isfinite(values_HW).all():
            raise ImageError(Code.CORRUPT, "the image holds values that are not finite")
        return window_by_percentiles(values_HW)
    if image.mode not in _GREY_OR_COLOUR:
        raise ImageError(Code.UNSUPPORTED, "this colour space is not supported")
    if image.has_transparency_data:  # on black
        colour = image.convert("RGBA")
        return np.asarray(ImageChops.multiply(colour.convert("L"), colour.getchannel("A")))
    if image.mode not in ("1", "L", "RGB"):
        image = image.convert("RGB")
    return np.asarray(image.convert("L"))


def _guard(read: Callable[[], T], media_type: str) -> T:
    """Run one call into Pillow; what it raises becomes a code and our own words."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow warns of odd metadata and quotes it
            return read()
    except (ImageError, MemoryError):
        raise
    except Exception as error:  # Pillow's plugins raise nearly every built-in type on damaged files
        kind = media_type.removeprefix("image/").upper()
        if "truncated" in str(error).lower():
            raise ImageError(Code.TRUNCATED, f"the {kind} file ends early") from error
        if _is_unsupported(error, media_type):
            raise ImageError(Code.UNSUPPORTED, f"this kind of {kind} is not supported") from error
        raise ImageError(Code.CORRUPT, f"the {kind} file is damaged ({type(error).__name__})") from error


def _is_unsupported(error: Exception, media_type: str) -> bool:
    """An intact TIFF of a layout that Pillow does not know, or a decoder that says so."""
    unknown_layout = isinstance(error, UnidentifiedImageError) and media_type == sniff.TIFF
    return unknown_layout or "unsupported" in str(error).lower()
