"""One compressed frame to samples, for each transfer syntax (PS3.5 8.2, A.4): strictly, or not at all.

The codestream's own size must be the header's before a decoder runs, and each has a proof that it is whole.
"""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from pydicom import uid

from batch_fracture.codes import Code
from batch_fracture.decode import jpeg_2000_stream, run_length
from batch_fracture.decode.decoded import Decoded, Samples, agree, halvings, strictly
from batch_fracture.decode.dicom_object import DEFLATED_FRAME
from batch_fracture.decode.image_pixel import ImagePixel
from batch_fracture.decode.inflate import inflate_frame
from batch_fracture.decode.jpeg_frame import jpeg
from batch_fracture.errors import ImageError

ENCAPSULATED_UNCOMPRESSED = "1.2.840.10008.1.2.1.98"
Codec = Callable[[memoryview, ImagePixel, int | None], "Decoded | memoryview"]
"""(codestream, layout, min_long_side) -> samples, or the bytes of an uncompressed frame."""


def jpeg_2000(codestream: memoryview, pixel: ImagePixel, min_long_side: int | None) -> Decoded:
    """JPEG 2000 and HTJ2K by OpenJPEG, which refuses short data; reduced by Pillow's copy of it."""
    stream = jpeg_2000_stream.read_stream(codestream)
    precision = max(stream.precisions)
    agree(pixel, stream.rows, stream.columns, len(stream.precisions), precision)
    if stream.is_subsampled:
        raise ImageError(Code.UNSUPPORTED, "subsampled JPEG 2000 is not supported")
    times = min(halvings(pixel, min_long_side), stream.levels)
    if times and precision <= (16 if pixel.samples == 1 else 8):
        samples = strictly(lambda: _jpeg_2000_reduced(stream, times))
    else:
        import imagecodecs  # noqa: PLC0415 - decoders load when a frame needs them

        samples = strictly(lambda: imagecodecs.jpeg2k_decode(stream.codestream))
    is_ycc = pixel.photometric in ("YBR_FULL", "YBR_FULL_422")  # RCT and ICT are undone by the codec
    return Decoded(samples=samples, precision=precision, is_ycc=is_ycc)


def _jpeg_2000_reduced(stream: jpeg_2000_stream.Jpeg2000Stream, times: int) -> Samples:
    from PIL import Image, Jpeg2KImagePlugin  # noqa: PLC0415 - as above

    Image.MAX_IMAGE_PIXELS = None  # as in raster: the header's size is checked already
    with Image.open(io.BytesIO(stream.codestream), formats=("JPEG2000",)) as image:
        assert isinstance(image, Jpeg2KImagePlugin.Jpeg2KImageFile)  # noqa: S101 - the only format allowed
        image.reduce = times
        samples = np.asarray(image)
    precision = stream.precisions[0]
    samples = samples.astype(np.int32) >> (8 * samples.dtype.itemsize - precision)  # Pillow left-aligns
    if stream.is_signed:  # and moves signed values up by half their range
        samples -= 1 << (precision - 1)
    return _centred(samples, times).astype(f"{'i' if stream.is_signed else 'u'}{-(-precision // 8)}")


def _centred(samples: npt.NDArray[np.int32], times: int) -> npt.NDArray[np.int32]:
    """Move each sample to the middle of the pixels that it stands for.

    A wavelet's low-pass samples stand at the first of 2^times pixels (T.800 F.3), everybody else's in the
    middle of them; unmoved, they shift the picture and the model's scores with it.
    """
    weight = (2**times - 1) << (3 - times)  # of the next sample, in sixteenths
    for _ in range(2):
        moved = samples * (16 - weight)
        moved[:-1] += samples[1:] * weight
        moved[-1] += samples[-1] * weight
        moved += 8
        moved >>= 4
        samples = moved.swapaxes(0, 1)
    return samples


def run_length_encoded(codestream: memoryview, pixel: ImagePixel, _: int | None) -> Decoded | memoryview:
    """RLE Lossless (PS3.5 annex G)."""
    if pixel.bits_allocated == 1:
        return run_length.segment_bytes(codestream, 1, pixel.frame_bytes)[0].data
    samples = run_length.decode(codestream, pixel)
    is_ycc = pixel.photometric == "YBR_FULL"
    return Decoded(samples=samples, precision=pixel.bits_allocated, is_ycc=is_ycc)


def deflated(codestream: memoryview, pixel: ImagePixel, _: int | None) -> memoryview:
    """Deflated Image Frame Compression: raw deflate (PS3.5 8.2.16, A.4.13)."""
    return memoryview(inflate_frame(codestream, pixel.frame_bytes))


def uncompressed(codestream: memoryview, _pixel: ImagePixel, _: int | None) -> memoryview:
    """Encapsulated Uncompressed Explicit VR Little Endian (PS3.5 A.4)."""
    return codestream


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
