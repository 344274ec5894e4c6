from __future__ import annotations

import drawing
import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from batch_fracture import decode
from batch_fracture.settings import ReadingSettings

GREY = drawing.grey()
TWELVE = GREY.astype(np.uint16) * 16
ANY = ReadingSettings(modalities=("all",))
IDENTITY = {"WindowCenter": 128, "WindowWidth": 256}
"""For 8 bits."""


def _read(content: bytes) -> drawing.Grey:
    return decode.read_grey(content, decode.read_header(content, ANY), min_long_side=10_000)


def _row(values: list[int], dtype: type = np.uint16, **tags: object) -> list[int]:
    """What a one-row image of these stored values shows."""
    return _read(drawing.dicom(np.array([values], dtype), **tags))[0].tolist()


def _table(descriptor: list[int], *entries: int) -> Sequence:
    item = Dataset()
    item.LUTDescriptor, item.LUTData, item.ModalityLUTType = (
        descriptor,
        np.array(entries, "<u2").tobytes(),
        "US",
    )
    return Sequence([item])


def _item(**tags: object) -> Sequence:
    item = Dataset()
    for keyword, value in tags.items():
        setattr(item, keyword, value)
    return Sequence([item])


def test_modality_lut() -> None:
    tags = {
        "ModalityLUTSequence": _table([4, 10, 16], 0, 10, 40, 90),
        "WindowCenter": 45.5,
        "WindowWidth": 91,
    }
    # below 10 the first entry, above 13 the last; then (x - 45) / 90 + 0.5
    assert _row([3, 10, 11, 12, 13, 20], **tags) == [0, 0, 28, 113, 255, 255]


def test_voi_lut_goes_before_the_window() -> None:
    tags = {"VOILUTSequence": _table([4, 10, 8], 0, 100, 200, 255), "WindowCenter": 1, "WindowWidth": 2}
    assert _row([3, 10, 11, 12, 13, 20], **tags) == [0, 0, 100, 200, 255, 255]


def test_the_first_of_several_tables_and_windows_wins() -> None:
    tables = Sequence([*_table([2, 0, 8], 0, 255), *_table([2, 0, 8], 255, 0)])
    assert _row([0, 1], VOILUTSequence=tables, WindowCenter=1, WindowWidth=1) == [0, 255]
    windows = {"WindowCenter": [128, 5], "WindowWidth": [256, 2], "VOILUTFunction": "LINEAR"}
    assert _row([0, 100, 255], **windows) == [0, 100, 255]


def test_a_table_without_its_parts_leaves_it_to_the_window() -> None:
    assert _row([0, 100, 255], VOILUTSequence=_item(LUTExplanation="NORMAL"), **IDENTITY) == [0, 100, 255]
    assert _row([0, 50, 100], VOILUTSequence=_item(LUTExplanation="NORMAL")) == [0, 128, 255]


def test_tables_take_rescaled_values() -> None:
    tags = {"RescaleSlope": 1, "RescaleIntercept": -100, "VOILUTSequence": _table([3, 65535, 8], 10, 20, 255)}
    assert _row([0, 98, 99, 100, 101, 102], **tags) == [10, 10, 10, 20, 255, 255]
    lut = {
        "ModalityLUTSequence": _table([3, 0, 16], 5, 7, 9),
        "VOILUTSequence": _table([5, 5, 8], 0, 1, 50, 3, 255),
    }
    assert _row([0, 1, 2, 3], **lut) == [0, 50, 255, 255]


def test_a_modality_table_stands_before_slope_and_intercept() -> None:
    tags = {"ModalityLUTSequence": _table([2, 0, 8], 0, 255), "RescaleSlope": -9, "RescaleIntercept": 9}
    assert _row([0, 1], **IDENTITY, **tags) == [0, 255]


@pytest.mark.parametrize("suffix", ["1", "2", "3"])
def test_modality_tables_of_angiography_are_for_measuring(suffix: str) -> None:
    tags = {
        "ModalityLUTSequence": _table([2, 0, 8], 255, 0),
        "SOPClassUID": f"1.2.840.10008.5.1.4.1.1.12.{suffix}",
    }
    assert _row([0, 100, 255], **IDENTITY, **tags) == [0, 100, 255]


@pytest.mark.parametrize(
    "tags", [{"RescaleSlope": 0, "RescaleIntercept": 0}, {"RescaleIntercept": 0}, {"RescaleSlope": 1}]
)
def test_half_a_rescale_and_a_slope_of_nothing(tags: dict[str, float]) -> None:
    assert _row([0, 100, 255], **IDENTITY, **tags) == [0, 100, 255]


@pytest.mark.parametrize("dtype", [np.int8, np.int16, np.int32])
def test_signed_values(dtype: type) -> None:
    window = {"WindowCenter": 0, "WindowWidth": 201}  # y = ((x + 0.5) / 200 + 0.5) * 255
    assert _row([-120, -100, -50, 0, 99, 120], dtype, **window) == [0, 1, 64, 128, 254, 255]
    table = {"VOILUTSequence": _table([3, -1, 8], 10, 20, 255)}
    assert _row([-5, -1, 0, 1, 5], dtype, **table) == [10, 10, 20, 255, 255]


def test_signed_values_of_fewer_bits() -> None:
    assert _row([-2048, 0, 2047], np.int16, bits_stored=12, WindowCenter=0, WindowWidth=4096) == [0, 128, 255]


def test_a_function_is_known_in_any_case() -> None:
    content = drawing.dicom(
        np.array([[90, 100, 110]], np.uint16), WindowCenter=100, WindowWidth=40, VOILUTFunction="SIGMOID"
    )
    assert _read(content.replace(b"SIGMOID", b"Sigmoid"))[0].tolist() == [69, 128, 186]


def test_narrow_windows_of_small_values() -> None:
    tags = {"RescaleSlope": 0.001, "RescaleIntercept": 0, "WindowCenter": 0.5, "WindowWidth": 0.5}
    assert _row([250, 500, 750], **tags) == [0, 128, 255]


def test_a_window_that_is_no_number_is_none() -> None:
    content = drawing.dicom(TWELVE, bits_stored=12, WindowCenter="123456", WindowWidth="4096")
    np.testing.assert_array_equal(_read(content.replace(b"123456", b"about ")), _read(drawing.dicom(TWELVE)))


def test_padding_is_black_and_does_not_count() -> None:
    body = [1000 + 10 * step for step in range(101)]
    shown = _row(body)
    assert _row([0] * 50 + body, PixelPaddingValue=0) == [0] * 50 + shown
    assert _row([60000] * 50 + body, PixelPaddingValue=60000) == [0] * 50 + shown
    assert _row([3, 7, 9] * 20 + body, PixelPaddingValue=3, PixelPaddingRangeLimit=9) == [0] * 60 + shown
    white = _row(
        [4095] * 50 + body, PixelPaddingValue=4095, PixelPaddingRangeLimit=4000, photometric="MONOCHROME1"
    )
    assert white == [0] * 50 + [255 - grey for grey in shown]
    assert _row([4095] * 3, PixelPaddingValue=4095) == [0] * 3


def test_padding_is_black_under_a_window_too() -> None:
    assert _row([200, 100, 255], np.uint8, PixelPaddingValue=200, **IDENTITY) == [0, 100, 255]
    inverted = {"PixelPaddingValue": 0, "photometric": "MONOCHROME1", **IDENTITY}
    assert _row([0, 100, 255], np.uint8, **inverted) == [0, 155, 0]


@pytest.mark.parametrize("dtype", [np.int16, np.int32])
def test_padding_of_signed_pixels(dtype: type) -> None:
    body = [10 * step for step in range(101)]
    assert _row([-2000] * 50 + body, dtype, PixelPaddingValue=-2000) == [0] * 50 + _row(body, dtype)


def test_padding_in_the_other_sign_is_known_by_its_bits() -> None:
    body = [10 * step for step in range(101)]
    content = drawing.dicom(np.array([[-2000] * 50 + body], np.int16), PixelPaddingValue=-2000)
    wrong = content.replace(b"\x28\0\x20\x01SS", b"\x28\0\x20\x01US")
    assert wrong != content
    assert _read(wrong)[0].tolist() == _read(content)[0].tolist()


def test_presentation_shape_identity_does_not_undo_monochrome1() -> None:
    tags = {"photometric": "MONOCHROME1", "PresentationLUTShape": "IDENTITY"}
    assert _row([0, 100, 255], np.uint8, **tags, **IDENTITY) == [255, 155, 0]
    assert _row([0, 255], np.uint8, PresentationLUTShape="IDENTITY", **IDENTITY) == [0, 255]


def test_pixels_become_square() -> None:
    tall = {"PixelSpacing": [0.2, 0.1], **IDENTITY}
    assert _read(drawing.dicom(GREY, **tall)).shape == (48, 20)
    assert _read(drawing.dicom(GREY, PixelAspectRatio=[1, 2], **IDENTITY)).shape == (29, 48)
    colour_HWC = np.stack([GREY] * 3, axis=2)
    assert _read(drawing.dicom(colour_HWC, photometric="RGB", **tall)).shape == (48, 20)


def test_enhanced_objects_of_one_frame_look_like_plain_ones() -> None:
    shared = _item(
        FrameVOILUTSequence=_item(WindowCenter=1, WindowWidth=2),
        PixelMeasuresSequence=_item(PixelSpacing=[0.2, 0.1]),
    )
    own = _item(
        FrameVOILUTSequence=_item(WindowCenter=28, WindowWidth=256),
        PixelValueTransformationSequence=_item(RescaleSlope=1, RescaleIntercept=-100),
    )
    groups = {"SharedFunctionalGroupsSequence": shared, "PerFrameFunctionalGroupsSequence": own}
    plain = {"WindowCenter": 28, "WindowWidth": 256, "RescaleSlope": 1, "RescaleIntercept": -100}
    np.testing.assert_array_equal(
        _read(drawing.dicom(GREY, NumberOfFrames=1, **groups)),
        _read(drawing.dicom(GREY, PixelSpacing=[0.2, 0.1], **plain)),
    )


def _floats(values: list[float], **tags: object) -> list[int]:
    row_HW = np.array([values], np.float32)
    stored = {"PixelData": None, "FloatPixelData": row_HW.tobytes(), "BitsStored": None, "HighBit": None}
    return _read(drawing.dicom(row_HW.view(np.uint32), **stored, **tags))[0].tolist()


def test_floats_take_exact_windows() -> None:
    assert _floats([0, 0.25, 0.5, 1], WindowCenter=0.5, WindowWidth=1) == [0, 64, 128, 255]
    assert _floats([0, 0.25, 0.5, 1]) == [0, 64, 128, 255]
    assert _floats([0, 50, 100], photometric="MONOCHROME1") == [255, 127, 0]


def test_what_acr_nema_took_for_granted() -> None:
    bare = {"SamplesPerPixel": None, "PixelRepresentation": None, "PhotometricInterpretation": None}
    np.testing.assert_array_equal(_read(drawing.dicom(GREY, **IDENTITY, **bare)), GREY)
