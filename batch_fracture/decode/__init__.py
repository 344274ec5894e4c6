"""From the bytes of a file to its header, and to upright grey pixels.

Two calls, so that a header alone can decide: `read_header`, then `read_grey`.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from batch_fracture.codes import Code
from batch_fracture.decode import sniff
from batch_fracture.decode.header import ImageHeader
from batch_fracture.errors import ImageError
from batch_fracture.settings import ReadingSettings

__all__ = ["ImageHeader", "read_grey", "read_header", "sniff"]


def read_header(content: bytes, settings: ReadingSettings) -> ImageHeader:
    """What the header says of an image that is to be read.

    Args:
        content: the whole file.
        settings: limits and DICOM modalities.

    Raises:
        ImageError: the file is no image, no radiograph, too large, or cannot be read; the `header` of a
            DICOM object comes with it all the same.
    """
    media_type = sniff.media_type(content)
    if media_type in sniff.UNREADABLE_IMAGES:
        raise ImageError(Code.UNSUPPORTED, f"{media_type} is not supported")
    if media_type == sniff.DICOM:
        from batch_fracture.decode import dicom  # noqa: PLC0415 - pydicom costs 0.2 s; many archives hold none

        max_bytes = settings.max_inflated_bytes(len(content))
        header = dicom.read_header(content, settings.modalities, max_bytes=max_bytes)
    else:
        from batch_fracture.decode import raster  # noqa: PLC0415 - Pillow stays out of the driver

        if media_type not in raster.FORMATS:
            raise ImageError(Code.NOT_AN_IMAGE, f"the content is {media_type}")
        header = raster.read_header(content, media_type)
    pixels = (header.rows or 0) * (header.columns or 0)
    if pixels > settings.max_pixels:
        error = ImageError(
            Code.TOO_LARGE,
            f"{header.rows} x {header.columns} pixels are more than the limit of {settings.max_pixels:,}",
        )
        error.header = header
        raise error
    return header


def read_grey(content: bytes, header: ImageHeader, *, min_long_side: int) -> npt.NDArray[np.uint8]:
    """The pixels as a viewer shows them: windowed, right polarity, upright, grey, square.

    Args:
        content: the whole file.
        header: what `read_header` gave for it.
        min_long_side: an image may come reduced, its longer side no smaller than this.

    Returns:
        uint8 (rows, columns) of square pixels.

    Raises:
        ImageError: `TRUNCATED`, `CORRUPT` or `UNSUPPORTED`.
    """
    if header.media_type == sniff.DICOM:
        from batch_fracture.decode import dicom  # noqa: PLC0415 - as above

        return dicom.read_grey(content, min_long_side=min_long_side)
    from batch_fracture.decode import raster  # noqa: PLC0415 - as above

    return raster.read_grey(content, header.media_type, min_long_side=min_long_side)
