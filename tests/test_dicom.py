from __future__ import annotations

import drawing
import numpy as np
import pytest

from batch_fracture import decode
from batch_fracture.codes import Code
from batch_fracture.decode import ImageHeader
from batch_fracture.errors import ImageError
from batch_fracture.settings import ReadingSettings

GREY = drawing.grey()
TWELVE = GREY.astype(np.uint16) * 16
ANY = ReadingSettings(modalities=("all",))


def _header(content: bytes, settings: ReadingSettings = ANY) -> ImageHeader:
    return decode.read_header(content, settings)


def _read(content: bytes) -> drawing.Grey:
    return decode.read_grey(content, _header(content), min_long_side=10_000)


def _error(content: bytes, settings: ReadingSettings = ANY) -> ImageError:
    with pytest.raises(ImageError) as caught:
        decode.read_grey(content, _header(content, settings), min_long_side=10_000)
    return caught.value


def _row(values: list[int], dtype: type = np.uint16, **tags: object) -> list[int]:
    """What a one-row image of these stored values shows."""
    return _read(drawing.dicom(np.array([values], dtype), **tags))[0].tolist()


def _words(*values: int) -> bytes:
    return np.array(values, "<u2").tobytes()


def test_header_holds_the_allow_list() -> None:
    content = drawing.dicom(
        TWELVE,
        bits_stored=12,
        BodyPartExamined="HAND",
        ViewPosition="PA",
        ImageLaterality="L",
        Manufacturer="Synthetic",
        StudyInstanceUID="1.2.3",
        SeriesInstanceUID="1.2.3.1",
    )
    assert _header(content) == ImageHeader(
        media_type="application/dicom",
        rows=48,
        columns=40,
        bits_stored=12,
        photometric_interpretation="MONOCHROME2",
        transfer_syntax_uid="1.2.840.10008.1.2.1",
        modality="CR",
        body_part_examined="HAND",
        view_position="PA",
        laterality="L",
        manufacturer="Synthetic",
        study_instance_uid="1.2.3",
        series_instance_uid="1.2.3.1",
        sop_instance_uid="1.2.3.4",
    )


def test_laterality_of_the_series_stands_in_for_that_of_the_image() -> None:
    assert _header(drawing.dicom(GREY, Laterality="R")).laterality == "R"
    assert _header(drawing.dicom(GREY, Laterality="R", ImageLaterality="L")).laterality == "L"


@pytest.mark.parametrize("modality", ["CT", "MR", "SR", "", None])
def test_other_modalities_are_skipped(modality: str | None) -> None:
    error = _error(drawing.dicom(GREY, Modality=modality), ReadingSettings())
    assert error.code == Code.NOT_A_RADIOGRAPH
    assert error.message == "the modality is not one of CR, DX, RG (see --modalities)"
    assert _header(drawing.dicom(GREY, Modality=modality)).rows == 48


def test_objects_without_an_image() -> None:
    without = {"Rows": None, "Columns": None, "PixelData": None}
    report = drawing.dicom(GREY, SOPClassUID="1.2.840.10008.5.1.4.1.1.88.11", Modality="SR", **without)
    assert _error(report).code == Code.NOT_A_RADIOGRAPH
    directory = drawing.dicom(GREY, SOPClassUID="1.2.840.10008.1.3.10", Modality=None, **without)
    assert _error(directory, ReadingSettings()).code == Code.NOT_A_RADIOGRAPH
    radiograph = drawing.dicom(GREY, **without)
    assert _error(radiograph).message == "the DICOM object ends within its header"
    unknown = drawing.dicom(GREY, SOPClassUID="1.2.3", Modality=None, **without)
    assert _error(unknown).code == Code.CORRUPT


def test_what_is_refused_says_what_it_is_all_the_same() -> None:
    series = {"Modality": "CT", "StudyInstanceUID": "1.2.3"}
    expected = _header(drawing.dicom(GREY, **series))
    assert _error(drawing.dicom(GREY, **series), ReadingSettings()).header == expected
    several = _error(drawing.dicom(np.concatenate([GREY, GREY]), Rows=48, NumberOfFrames=2, **series))
    assert several.header == expected
    sizeless = _error(drawing.dicom(GREY, Rows=0, **series)).header
    assert sizeless is not None
    assert (sizeless.rows, sizeless.columns, sizeless.study_instance_uid) == (None, 40, "1.2.3")
    limited = _error(drawing.dicom(GREY, **series), ReadingSettings(modalities=("all",), max_pixels=100))
    assert (limited.code, limited.header) == (Code.TOO_LARGE, expected)


def test_multi_frame_is_skipped() -> None:
    content = drawing.dicom(np.concatenate([GREY, GREY]), Rows=48, NumberOfFrames=2)
    assert _error(content).code == Code.MULTI_FRAME
    assert _read(drawing.dicom(GREY, NumberOfFrames=1)).shape == (48, 40)


@pytest.mark.parametrize(
    "tags", [{"Rows": 0}, {"Columns": 0}, {"BitsStored": 65}, {"BitsStored": None}, {"BitsAllocated": None}]
)
def test_impossible_headers(tags: dict[str, int | None]) -> None:
    assert _error(drawing.dicom(GREY, **tags)).code == Code.CORRUPT


def test_window_of_the_header() -> None:
    # PS3.3 C.11.2.1.2.1 with centre 2048, width 4096: y = ((x - 2047.5) / 4095 + 0.5) * 255
    assert _row([0, 1024, 2047, 2048, 4095], WindowCenter=2048, WindowWidth=4096) == [0, 64, 127, 128, 255]
    assert _row([0, 1024, 4095], WindowCenter=[2048, 40], WindowWidth=[4096, 400]) == [0, 64, 255]
    exact = {"WindowCenter": 100, "WindowWidth": 100, "VOILUTFunction": "LINEAR_EXACT"}
    assert _row([50, 75, 100, 150], **exact) == [0, 64, 128, 255]
    sigmoid = {"WindowCenter": 100, "WindowWidth": 40, "VOILUTFunction": "SIGMOID"}
    assert _row([90, 100, 110], **sigmoid) == [69, 128, 186]


def test_window_applies_to_rescaled_values() -> None:
    tags = {"RescaleSlope": 2, "RescaleIntercept": -1000, "WindowCenter": 0, "WindowWidth": 1001}
    # 2 x - 1000 for 250, 500, 750 is -500, 0, 500: (-500 + 0.5) / 1000 + 0.5 = 0.0005, 0.5005, 1.0005
    assert _row([250, 500, 750], **tags) == [0, 128, 255]


def test_falling_rescale_turns_the_picture_round() -> None:
    rising, falling = (
        _row(list(range(0, 4000, 7)), RescaleSlope=slope, RescaleIntercept=0) for slope in (1, -1)
    )
    assert np.abs(np.array(rising) + np.array(falling) - 255).max() <= 1


@pytest.mark.parametrize("window", [{}, {"WindowCenter": 1}, {"WindowCenter": 9, "WindowWidth": 0}])
def test_without_a_window_the_percentiles_set_it(window: dict[str, int]) -> None:
    low, high = np.percentile(TWELVE, [0.5, 99.5])
    expected_HW = np.round(np.clip((TWELVE - low) / (high - low), 0, 1) * 255)
    np.testing.assert_array_equal(_read(drawing.dicom(TWELVE, bits_stored=12, **window)), expected_HW)


def test_monochrome1_is_monochrome2_turned_round() -> None:
    tags = {"bits_stored": 12, "WindowCenter": 2048, "WindowWidth": 4096}
    plain_HW = _read(drawing.dicom(TWELVE, **tags))
    np.testing.assert_array_equal(
        _read(drawing.dicom(TWELVE, photometric="MONOCHROME1", **tags)), 255 - plain_HW
    )
    inverted = drawing.dicom(4095 - TWELVE, photometric="MONOCHROME1", **tags)
    assert np.abs(_read(inverted).astype(int) - plain_HW.astype(int)).max() <= 1
    np.testing.assert_array_equal(
        _read(drawing.dicom(TWELVE, PresentationLUTShape="INVERSE", **tags)), 255 - plain_HW
    )
    both = drawing.dicom(TWELVE, photometric="MONOCHROME1", PresentationLUTShape="INVERSE", **tags)
    np.testing.assert_array_equal(_read(both), 255 - plain_HW)  # they say the same thing


@pytest.mark.parametrize(("dtype", "marked"), [(np.uint16, 0x8000), (np.int16, -0x8000)])
def test_bits_beyond_those_stored_are_not_pixels(dtype: type, marked: int) -> None:
    tags = {"bits_stored": 12, "WindowCenter": 1000, "WindowWidth": 2000}
    clean_HW = (TWELVE // 2).astype(dtype)
    overlaid_HW = clean_HW.copy()
    overlaid_HW[10:20] |= dtype(marked)  # an overlay in the unused bits, as old machines wrote them
    np.testing.assert_array_equal(
        _read(drawing.dicom(overlaid_HW, **tags)), _read(drawing.dicom(clean_HW, **tags))
    )


def test_32_bits() -> None:
    deep_HW = TWELVE.astype(np.uint32) * 1000
    by_window_HW = _read(drawing.dicom(deep_HW, WindowCenter=2_000_000, WindowWidth=4_000_000))
    np.testing.assert_array_equal(
        by_window_HW, np.round(np.clip((deep_HW - 1_999_999.5) / 3_999_999 + 0.5, 0, 1) * 255)
    )
    by_percentile_HW = _read(drawing.dicom(deep_HW))
    assert np.abs(by_percentile_HW.astype(int) - _read(drawing.dicom(TWELVE)).astype(int)).max() <= 1


def test_colour_becomes_luma() -> None:
    colour_HWC = np.stack([GREY, 255 - GREY, GREY // 2], axis=2)
    expected_HW = np.round(colour_HWC @ np.array([0.299, 0.587, 0.114]))
    grey_HW = _read(drawing.dicom(colour_HWC, photometric="RGB"))
    assert np.abs(grey_HW - expected_HW).max() <= 1
    deep = drawing.dicom(colour_HWC.astype(np.uint16) * 16, bits_stored=12, photometric="RGB")
    assert np.abs(_read(deep) - expected_HW * (4080 / 4095)).max() <= 1
    neutral = np.stack([GREY, np.full_like(GREY, 128), np.full_like(GREY, 128)], axis=2)
    np.testing.assert_array_equal(_read(drawing.dicom(neutral, photometric="YBR_FULL")), GREY)


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("packed", [False, True])
def test_palette_colour(bits: int, packed: bool) -> None:
    top = 2**bits - 1
    tags: dict[str, object] = {"photometric": "PALETTE COLOR"}
    for colour, shown in (("Red", [0, top, 0, 0]), ("Green", [0, 0, top, 0]), ("Blue", [0, 0, 0, top])):
        tags[f"{colour}PaletteColorLookupTableDescriptor"] = [4, 0, bits]
        tags[f"{colour}PaletteColorLookupTableData"] = (
            bytes(shown) if packed and bits == 8 else _words(*shown)
        )
    assert _row([0, 1, 2, 3], np.uint8, **tags) == [0, 76, 150, 29]


@pytest.mark.parametrize("tags", [{"RescaleSlope": 1e308, "RescaleIntercept": 1e308}, {"RescaleSlope": "x"}])
def test_rescale_that_makes_no_sense(tags: dict[str, object]) -> None:
    content = drawing.dicom(TWELVE, RescaleSlope="1234567", RescaleIntercept="7654321")
    if tags["RescaleSlope"] == "x":
        assert _error(content.replace(b"1234567 ", b"no value")).code == Code.CORRUPT
    else:
        broken = content.replace(b"1234567 ", b"9e307   ").replace(b"7654321 ", b"9e307   ")
        assert _error(broken).message == "the rescale slope or intercept is not finite"


def test_float_pixels_are_shown() -> None:
    floats = np.linspace(-1, 1, 256, dtype=np.float32).tobytes()
    content = drawing.dicom(np.zeros((1, 256), np.uint32), PixelData=None, FloatPixelData=floats)
    grey_W = _read(content)[0].astype(int)
    assert (grey_W[0], grey_W[-1]) == (0, 255)
    assert (np.diff(grey_W) >= 0).all()


def test_missing_pixels_are_truncated() -> None:
    assert (
        _error(drawing.dicom(TWELVE, PixelData=None)).message == "the DICOM object ends before its pixel data"
    )
    assert _error(drawing.dicom(TWELVE, PixelData=b"")).message == "the pixel data holds 0 of 3840 bytes"
    assert _error(drawing.dicom(TWELVE)[:-1]).message == "the pixel data holds 3839 of 3840 bytes"
    assert _error(drawing.dicom(TWELVE)[:-1]).code == Code.TRUNCATED
