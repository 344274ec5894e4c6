from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from pathlib import Path

import drawing
import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.sequence import Sequence
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEGBaseline8Bit,
)

from batch_fracture import decode
from batch_fracture.codes import Code
from batch_fracture.decode import ImageHeader, dicom_object
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


def test_values_that_are_no_short_text_are_left_out() -> None:
    said = "a report that somebody typed into the wrong field, at great length"
    content = drawing.dicom(GREY, BodyPartExamined="HAND\\WRIST", ViewPosition=" ", Manufacturer=said[:64])
    assert _header(content).body_part_examined == "HAND\\WRIST"
    assert _header(content).view_position is None
    assert _header(content).manufacturer == said[:64]
    longer = content.replace(b"LO\x40\0" + said[:64].encode(), b"LO\x42\0" + said.encode())
    assert _header(longer).manufacturer is None
    assert _header(content.replace(b"a report", b"a\nreport")).manufacturer is None


def test_a_uid_that_is_none_is_left_out() -> None:
    content = drawing.dicom(GREY, StudyInstanceUID="1.23.4567.8")
    assert _header(content).study_instance_uid == "1.23.4567.8"
    assert _header(content.replace(b"1.23.4567.8", b"DOE^JANE^^^")).study_instance_uid is None


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


def test_multi_frame_is_skipped() -> None:
    content = drawing.dicom(np.concatenate([GREY, GREY]), Rows=48, NumberOfFrames=2)
    assert _error(content).code == Code.MULTI_FRAME
    assert _read(drawing.dicom(GREY, NumberOfFrames=1)).shape == (48, 40)


@pytest.mark.parametrize(
    "tags", [{"Rows": 0}, {"Columns": 0}, {"BitsStored": 65}, {"BitsStored": None}, {"BitsAllocated": None}]
)
def test_impossible_headers(tags: dict[str, int | None]) -> None:
    assert _error(drawing.dicom(GREY, **tags)).code == Code.CORRUPT


@pytest.mark.parametrize(
    ("syntax", "preamble"),
    [
        (ImplicitVRLittleEndian, True),
        (ExplicitVRLittleEndian, True),
        (ExplicitVRBigEndian, True),
        (DeflatedExplicitVRLittleEndian, True),
        (ImplicitVRLittleEndian, False),
        (ExplicitVRLittleEndian, False),
        (ExplicitVRBigEndian, False),
    ],
)
@pytest.mark.parametrize("stored_HW", [GREY, TWELVE, TWELVE.astype(np.int16) - 1000])
def test_every_uncompressed_encoding_gives_the_same_pixels(
    syntax: str, preamble: bool, stored_HW: np.ndarray
) -> None:
    tags = {"WindowCenter": 1000, "WindowWidth": 3000}
    expected_HW = np.round(np.clip((stored_HW - 999.5) / 2999 + 0.5, 0, 1) * 255)
    content = drawing.dicom(stored_HW, syntax=syntax, preamble=preamble, **tags)
    np.testing.assert_array_equal(_read(content), expected_HW)
    assert _header(content).transfer_syntax_uid == syntax


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


def test_modality_lut() -> None:
    table = Dataset()
    table.LUTDescriptor, table.LUTData, table.ModalityLUTType = [4, 10, 16], _words(0, 10, 40, 90), "US"
    tags = {"ModalityLUTSequence": Sequence([table]), "WindowCenter": 45.5, "WindowWidth": 91}
    # below 10 the first entry, above 13 the last; then (x - 45) / 90 + 0.5
    assert _row([3, 10, 11, 12, 13, 20], **tags) == [0, 0, 28, 113, 255, 255]


def test_voi_lut_goes_before_the_window() -> None:
    table = Dataset()
    table.LUTDescriptor, table.LUTData = [4, 10, 8], _words(0, 100, 200, 255)
    tags = {"VOILUTSequence": Sequence([table]), "WindowCenter": 1, "WindowWidth": 2}
    assert _row([3, 10, 11, 12, 13, 20], **tags) == [0, 0, 100, 200, 255, 255]


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


def test_compressed_syntaxes_are_unsupported() -> None:
    frames = encapsulate([drawing.saved(GREY, "JPEG")])
    content = drawing.dicom(GREY, syntax=JPEGBaseline8Bit, PixelData=frames)
    assert _header(content).transfer_syntax_uid == "1.2.840.10008.1.2.4.50"
    assert _error(content).code == Code.UNSUPPORTED
    mislabelled = content.replace(b"1.2.840.10008.1.2.4.50", b"1.2.840.10008.1.2.1\0\0\0")
    assert (
        _error(mislabelled).message
        == "the pixel data is compressed, but the transfer syntax does not say how"
    )


def test_float_pixels_are_unsupported() -> None:
    floats = GREY.astype(np.float32).tobytes()
    content = drawing.dicom(GREY.astype(np.uint32), PixelData=None, FloatPixelData=floats)
    assert _error(content).code == Code.UNSUPPORTED


def test_missing_pixels_are_truncated() -> None:
    assert (
        _error(drawing.dicom(TWELVE, PixelData=None)).message == "the DICOM object ends before its pixel data"
    )
    assert _error(drawing.dicom(TWELVE, PixelData=b"")).message == "the pixel data holds 0 of 3840 bytes"
    assert _error(drawing.dicom(TWELVE)[:-1]).message == "the pixel data holds 3839 of 3840 bytes"
    assert _error(drawing.dicom(TWELVE)[:-1]).code == Code.TRUNCATED


@pytest.mark.parametrize("name", [name for name in drawing.one_of_each() if name.startswith("dicom")])
def test_no_cut_is_read_or_skipped_as_something_else(name: str) -> None:
    content = drawing.one_of_each()[name]
    sizes = {*range(160, 700, 3), *range(700, len(content), 97), len(content) - 1}
    codes = Counter(_error(content[:size], ReadingSettings()).code for size in sizes if size < len(content))
    assert set(codes) <= {Code.TRUNCATED, Code.CORRUPT}
    assert codes[Code.TRUNCATED] > codes[Code.CORRUPT]


def test_a_deflated_object_is_inflated_within_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    content = drawing.dicom(np.zeros((500, 500), np.uint16), syntax=DeflatedExplicitVRLittleEndian)
    assert len(content) < 2000
    assert not _read(content).any()
    monkeypatch.setattr(dicom_object, "MAX_INFLATED_BYTES", 100_000)
    assert _error(content).code == Code.TOO_LARGE


def test_a_sequence_nested_without_end() -> None:
    nest = b"\x09\x00\x10\x10SQ\0\0\xff\xff\xff\xff\xfe\xff\x00\xe0\xff\xff\xff\xff" * 20_000
    content = drawing.dicom(GREY)
    pixels = content.find(b"\x28\x00\x02\x00US")
    assert _error(content[:pixels].replace(b"\x08\x00\x60\x00CS\x02\0CR", b"") + nest).code in Code


def test_nothing_of_the_header_but_the_allow_list_gets_out() -> None:
    planted = {
        "PatientName": "MARKER^NAME",
        "PatientID": "MARKER-ID",
        "PatientBirthDate": "19700101",
        "AccessionNumber": "MARKER-ACC",
        "InstitutionName": "MARKER HOSPITAL",
        "ReferringPhysicianName": "MARKER^DOC",
        "StudyDescription": "MARKER STUDY",
        "ImageComments": "MARKER COMMENT",
        "StationName": "MARKER STATION",
    }
    content = drawing.dicom(TWELVE, **planted)
    assert "MARKER" not in repr(asdict(_header(content)))
    assert content.count(b"MARKER") == len(planted) - 1
    said = set()
    rng = np.random.default_rng(0)
    for _ in range(400):
        changed = bytearray(content)
        for at in rng.integers(132, 800, 3):
            changed[at] = rng.integers(256)
        try:
            header = _header(bytes(changed[: rng.integers(600, len(changed) * 2)]))
            said.update(value for key, value in asdict(header).items() if key not in ("manufacturer",))
            decode.read_grey(bytes(changed), header, min_long_side=10_000)
        except ImageError as error:
            said.add(error.message)
    assert len(said) > 10
    assert not [words for words in said if "MARKER" in str(words) or "1970" in str(words)]


def test_a_bad_value_is_not_quoted() -> None:
    content = drawing.dicom(GREY, NumberOfFrames=1, InstanceNumber=1).replace(
        b"IS\x02\x001 ", b"IS\x02\x00ZQ"
    )
    error = _error(content)
    assert error.code == Code.CORRUPT
    assert "ZQ" not in error.message


def test_every_shared_dicom_file_gives_pixels_or_a_code(shared: Path) -> None:
    outcomes: Counter[str] = Counter()
    for path in sorted((shared / "dicom").rglob("*.dcm")):
        content = path.read_bytes()
        try:
            header = _header(content)
            grey_HW = decode.read_grey(content, header, min_long_side=10_000)
            assert grey_HW.shape == (header.rows, header.columns)
            outcomes["read"] += 1
        except ImageError as error:
            outcomes[error.code] += 1
    assert outcomes == {
        "read": 30,
        "UNSUPPORTED": 59,
        "MULTI_FRAME": 32,
        "NOT_A_RADIOGRAPH": 12,
        "CORRUPT": 5,
        "TRUNCATED": 3,
        "NOT_AN_IMAGE": 1,
    }


def test_an_old_radiograph_without_file_header_is_read(shared: Path) -> None:
    content = next((shared / "dicom").rglob("CR-MONO1-10-chest.dcm")).read_bytes()
    header = decode.read_header(content, ReadingSettings())
    assert (header.modality, header.body_part_examined, header.transfer_syntax_uid) == (
        "CR",
        "CHEST",
        "1.2.840.10008.1.2",
    )
    grey_HW = _read(content)
    assert grey_HW.shape == (440, 440)
    assert grey_HW[:20, :20].mean() < grey_HW[200:240, 200:240].mean()
