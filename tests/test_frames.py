from __future__ import annotations

import io

import drawing
import encoding
import imagecodecs
import numpy as np
import pydicom
import pytest
from pydicom.encaps import encapsulate
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from batch_fracture.codes import Code
from batch_fracture.decode import dicom_object
from batch_fracture.errors import ImageError

EACH = encoding.one_of_each()
SIGNED = encoding.TWELVE.astype(np.int16) - 2000


def _error(content: bytes, **options: object) -> ImageError:
    with pytest.raises(ImageError) as caught:
        encoding.stored_frame(content, **options)
    return caught.value


def _as_pydicom(content: bytes) -> np.ndarray:
    return pydicom.dcmread(io.BytesIO(content)).pixel_array


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian])
@pytest.mark.parametrize("dtype", ["u1", "i1", "u2", "i2", "u4", "i4"])
def test_plain_values_come_as_pydicom_has_them(syntax: str, dtype: str) -> None:
    stored_HW = (
        np.random.default_rng(0).integers(0, 2**32, (7, 5), np.uint32).astype(f"u{dtype[1]}").view(dtype)
    )
    content = drawing.dicom(stored_HW, syntax=syntax)
    frame_HW = encoding.stored_frame(content)
    np.testing.assert_array_equal(frame_HW, stored_HW)
    np.testing.assert_array_equal(frame_HW, _as_pydicom(content))
    assert frame_HW.dtype == np.dtype(dtype)


def test_a_plain_grey_frame_is_a_view_of_the_object() -> None:
    content = drawing.dicom(encoding.TWELVE)
    frame_HW = encoding.stored_frame(content)
    owner = frame_HW
    while isinstance(owner, np.ndarray):
        owner = owner.base
    assert owner.obj is content
    assert not frame_HW.flags.writeable


@pytest.mark.parametrize("is_signed", [False, True])
@pytest.mark.parametrize("bits", range(1, 17))
def test_bits_beside_the_value_are_cleared(bits: int, is_signed: bool) -> None:
    lowest = -(1 << (bits - 1)) if is_signed else 0
    stored_HW = np.resize(np.arange(lowest, lowest + (1 << bits)), (5, 300)).astype(
        "i2" if is_signed else "u2"
    )
    mask = (1 << bits) - 1
    garbage_HW = (stored_HW.view(np.uint16) & mask) | (np.uint16(0xA5A5) & (0xFFFF ^ mask))
    content = drawing.dicom(garbage_HW.view(stored_HW.dtype), bits_stored=bits)
    np.testing.assert_array_equal(encoding.stored_frame(content), stored_HW)
    np.testing.assert_array_equal(_as_pydicom(content), stored_HW)
    left = drawing.dicom(
        (stored_HW.view(np.uint16) << (16 - bits)).view(stored_HW.dtype), bits_stored=bits, HighBit=15
    )
    np.testing.assert_array_equal(encoding.stored_frame(left), stored_HW)


@pytest.mark.parametrize("columns", [16, 13])
def test_single_bits(columns: int) -> None:
    mask_HW = np.random.default_rng(0).integers(0, 2, (9, columns), np.uint8)
    packed = np.packbits(mask_HW, bitorder="little").tobytes()
    tags = {
        "BitsAllocated": 1,
        "BitsStored": 1,
        "HighBit": 0,
        "PixelData": packed + b"\0" * (len(packed) % 2),
    }
    np.testing.assert_array_equal(encoding.stored_frame(drawing.dicom(mask_HW, **tags)), mask_HW)


def test_frames_by_number() -> None:
    frames_FHW = np.random.default_rng(0).integers(0, 2**16, (3, 4, 5), np.uint16)
    content = drawing.dicom(frames_FHW[0], PixelData=frames_FHW.tobytes(), NumberOfFrames=3)
    for index in range(3):
        np.testing.assert_array_equal(encoding.stored_frame(content, index=index), frames_FHW[index])
    assert _error(content, index=3).code == Code.TRUNCATED
    mask_FHW = np.random.default_rng(0).integers(0, 2, (3, 3, 5), np.uint8)
    packed = np.packbits(mask_FHW, bitorder="little").tobytes()
    tags = {"BitsAllocated": 1, "BitsStored": 1, "HighBit": 0, "PixelData": packed, "NumberOfFrames": 3}
    for index in range(3):
        content = drawing.dicom(mask_FHW[0], **tags)
        np.testing.assert_array_equal(encoding.stored_frame(content, index=index), mask_FHW[index])


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ExplicitVRBigEndian])
@pytest.mark.parametrize(
    ("photometric", "planar"), [("RGB", 0), ("RGB", 1), ("YBR_FULL", 0), ("YBR_FULL", 1), ("YBR_FULL_422", 0)]
)
def test_colours_come_as_pydicom_has_them(syntax: str, photometric: str, planar: int) -> None:
    colour_HW3 = encoding.COLOUR[:20, :18]
    pixels = colour_HW3
    if photometric == "YBR_FULL_422":
        flat = colour_HW3.reshape(-1, 2, 3)
        pixels = np.concatenate([flat[:, :, 0], flat[:, 0, 1:]], axis=1)
    elif planar:
        pixels = colour_HW3.transpose(2, 0, 1)
    content = drawing.dicom(
        colour_HW3,
        syntax=syntax,
        photometric=photometric,
        PixelData=pixels.tobytes(),
        PlanarConfiguration=planar,
    )
    frame_HW3 = encoding.stored_frame(content)
    np.testing.assert_array_equal(frame_HW3, _as_pydicom(content))
    assert photometric != "RGB" or (frame_HW3 == colour_HW3).all()


def test_bytes_in_swapped_pairs() -> None:
    content = drawing.dicom(encoding.GREY, syntax=ExplicitVRBigEndian)
    swapped = np.frombuffer(encoding.GREY.tobytes(), np.uint16).byteswap().tobytes()
    words = content.replace(encoding.GREY.tobytes(), swapped).replace(
        b"\x7f\xe0\0\x10OB", b"\x7f\xe0\0\x10OW"
    )
    np.testing.assert_array_equal(encoding.stored_frame(words), encoding.GREY)
    np.testing.assert_array_equal(_as_pydicom(words), encoding.GREY)


@pytest.mark.parametrize(
    "name", [name for name in EACH if "lossy" not in name and not name.startswith("jpeg-8")]
)
def test_every_compressed_syntax_comes_through_the_door(name: str) -> None:
    syntax, stored, codestream = EACH[name]
    frame = encoding.stored_frame(encoding.dicom(stored, [codestream], syntax))
    if name not in ("jpeg-12", "jpeg-ls-near"):
        np.testing.assert_array_equal(frame, stored)
    assert (frame.shape, frame.dtype) == (stored.shape, stored.dtype)


@pytest.mark.parametrize(("bits", "precision"), [(16, 16), (13, 16), (13, 13)])
@pytest.mark.parametrize("syntax", [encoding.LOSSLESS, encoding.JPEG_LS, encoding.JPEG_2000])
def test_signs_come_back_from_codecs_that_know_none(syntax: str, bits: int, precision: int) -> None:
    unsigned_HW = SIGNED.view(np.uint16) & ((1 << precision) - 1)
    encode = {
        encoding.LOSSLESS: lambda: imagecodecs.jpeg8_encode(
            unsigned_HW, lossless=True, bitspersample=precision
        ),
        encoding.JPEG_LS: lambda: imagecodecs.jpegls_encode(unsigned_HW),
        encoding.JPEG_2000: lambda: imagecodecs.jpeg2k_encode(
            unsigned_HW, level=0, codecformat="J2K", bitspersample=precision
        ),
    }
    content = encoding.dicom(SIGNED, [encode[syntax]()], syntax, bits_stored=bits)
    frame_HW = encoding.stored_frame(content)
    np.testing.assert_array_equal(frame_HW, SIGNED)
    assert frame_HW.dtype == np.int16


def test_a_signed_codestream_under_an_unsigned_header() -> None:
    codestream = imagecodecs.jpeg2k_encode(SIGNED, level=0, codecformat="J2K")
    content = encoding.dicom(encoding.TWELVE, [codestream], encoding.JPEG_2000)
    np.testing.assert_array_equal(encoding.stored_frame(content), SIGNED.view(np.uint16))


def test_bits_beside_the_value_are_cleared_in_lossless_frames() -> None:
    codestream = imagecodecs.jpegls_encode(encoding.TWELVE | 0x8000)
    content = encoding.dicom(encoding.TWELVE, [codestream], encoding.JPEG_LS, bits_stored=12)
    np.testing.assert_array_equal(encoding.stored_frame(content), encoding.TWELVE)


def test_floats() -> None:
    values_HW = np.random.default_rng(0).normal(size=(6, 4)).astype(np.float32)
    tags = {"PixelData": None, "BitsStored": None}
    for dtype, keyword in ((np.float32, "FloatPixelData"), (np.float64, "DoubleFloatPixelData")):
        values = values_HW.astype(dtype)
        content = drawing.dicom(values_HW.view(np.uint32), **tags, **{keyword: values.tobytes()})
        np.testing.assert_array_equal(encoding.stored_frame(content), values)
        assert encoding.stored_frame(content).dtype == dtype
    values_HW[0, 0] = np.nan
    nan = drawing.dicom(values_HW.view(np.uint32), **tags, FloatPixelData=values_HW.tobytes())
    assert _error(nan).code == Code.UNSUPPORTED
    short = drawing.dicom(values_HW.view(np.uint32), **tags, FloatPixelData=values_HW.tobytes()[:-4])
    assert _error(short).code == Code.TRUNCATED


def test_what_the_transfer_syntax_does_not_say() -> None:
    video = drawing.dicom(encoding.GREY, syntax="1.2.840.10008.1.2.4.102", PixelData=encapsulate([b"1"]))
    assert _error(video).code == Code.UNSUPPORTED
    other = drawing.dicom(encoding.GREY, syntax=encoding.JPEG_8, PixelData=encapsulate([b"1"]))
    assert _error(other).code == Code.CORRUPT
    mislabelled = drawing.dicom(encoding.GREY).replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.2.5\0")
    assert (
        _error(mislabelled).message == "the pixel data is not compressed, as the transfer syntax says it is"
    )


def test_odd_columns_of_halved_colour_and_deep_luma_are_unsupported() -> None:
    odd = encoding.COLOUR[:4, :5]
    assert _error(drawing.dicom(odd, photometric="YBR_FULL_422")).code == Code.UNSUPPORTED
    deep = drawing.dicom(odd.astype(np.uint16), photometric="YBR_FULL")
    assert _error(deep).code == Code.UNSUPPORTED


def test_messages_hold_nothing_of_the_file() -> None:
    content = encoding.dicom(encoding.GREY, [b"DOE^JANE" * 9], encoding.JPEG_8, PatientName="DOE^JANE")
    assert "DOE" not in _error(content).message
    assert dicom_object.parse(content).PatientName == "DOE^JANE"
