from __future__ import annotations

import warnings
from collections import Counter
from dataclasses import asdict
from pathlib import Path

import drawing
import numpy as np
import pytest
from pydicom.encaps import encapsulate
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


def test_values_that_are_no_short_text_are_left_out() -> None:
    said = "a report that somebody typed into the wrong field, at great length"
    content = drawing.dicom(GREY, BodyPartExamined="HAND\\WRIST", ViewPosition=" ", Manufacturer=said[:64])
    assert _header(content).body_part_examined == "HAND\\WRIST"
    assert _header(content).view_position is None
    assert _header(content).manufacturer == said[:64]
    longer = content.replace(b"LO\x40\0" + said[:64].encode(), b"LO\x42\0" + said.encode())
    assert _header(longer).manufacturer is None
    assert _header(content.replace(b"a report", b"a\nreport")).manufacturer is None


@pytest.mark.parametrize(
    ("keyword", "column"),
    [
        ("Modality", "modality"),
        ("BodyPartExamined", "body_part_examined"),
        ("ViewPosition", "view_position"),
        ("ImageLaterality", "laterality"),
        ("Laterality", "laterality"),
        ("PhotometricInterpretation", "photometric_interpretation"),
    ],
)
@pytest.mark.parametrize(
    "typed", ["Hand of Mrs S.", "DOE^JANE", "HAND\\WRIST 4/1/31", "HAND OF MRS SMITH", "\u00c4"]
)
def test_free_text_in_the_place_of_a_code_is_left_out(keyword: str, column: str, typed: str) -> None:
    content = drawing.dicom(GREY, **{keyword: "TWELVE LONG\\X"})
    assert getattr(_header(content), column) == "TWELVE LONG\\X"
    assert getattr(_header(_with_value(keyword, typed)), column) is None


def _with_value(keyword: str, value: str) -> bytes:
    """An object with any value at all, which pydicom itself would not write without a warning."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return drawing.dicom(GREY, SpecificCharacterSet="ISO_IR 192", **{keyword: value})


def test_a_transfer_syntax_that_nobody_registered_is_left_out() -> None:
    content = drawing.dicom(GREY, syntax=JPEGBaseline8Bit, PixelData=encapsulate([b"1"]))
    mine = content.replace(b"1.2.840.10008.1.2.4.50", b"1.2.826.0.19310401.777")
    assert _header(mine).transfer_syntax_uid is None
    assert _error(mine).code == Code.UNSUPPORTED


def test_a_uid_that_is_none_is_left_out() -> None:
    content = drawing.dicom(GREY, StudyInstanceUID="1.23.4567.8")
    assert _header(content).study_instance_uid == "1.23.4567.8"
    assert _header(content.replace(b"1.23.4567.8", b"DOE^JANE^^^")).study_instance_uid is None


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


def test_a_compressed_frame_under_a_plain_transfer_syntax_is_unsupported() -> None:
    frames = encapsulate([drawing.saved(GREY, "JPEG")])
    content = drawing.dicom(GREY, syntax=JPEGBaseline8Bit, PixelData=frames)
    assert _header(content).transfer_syntax_uid == "1.2.840.10008.1.2.4.50"
    assert _read(content).shape == GREY.shape
    mislabelled = content.replace(b"1.2.840.10008.1.2.4.50", b"1.2.840.10008.1.2.1\0\0\0")
    assert (
        _error(mislabelled).message
        == "the pixel data is compressed, but the transfer syntax does not say how"
    )


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
    assert _error(content, ReadingSettings(max_bytes=100_000)).code == Code.TOO_LARGE
    monkeypatch.setattr(dicom_object, "MAX_INFLATED_BYTES", 100_000)
    with pytest.raises(ImageError, match="inflates to more than"):
        dicom_object.parse(content)


def test_a_deflated_header_is_inflated_within_bounds() -> None:
    long = {"RescaleType": "HU", "ICCProfile": bytes(300_000)}
    content = drawing.dicom(GREY, syntax=DeflatedExplicitVRLittleEndian, **long)
    assert _header(content).rows == 48
    assert _error(content, ReadingSettings(max_bytes=200_000)).code == Code.TOO_LARGE
    np.testing.assert_array_equal(_read(content), _read(drawing.dicom(GREY, **long)))


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
        "read": 88,
        "MULTI_FRAME": 32,
        "NOT_A_RADIOGRAPH": 12,
        "CORRUPT": 6,
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


def test_a_deflated_object_that_inflates_out_of_proportion_is_too_large() -> None:
    blank = drawing.dicom(np.zeros((6000, 6000), np.uint16), syntax=DeflatedExplicitVRLittleEndian)
    assert len(blank) < 100_000
    error = _error(blank)
    assert (error.code, error.message) == (
        Code.TOO_LARGE,
        "the DICOM object inflates to more than 67,108,864 bytes",
    )
    assert _header(blank, ReadingSettings(modalities=("all",), max_inflation=2000)).rows == 6000
    small = drawing.dicom(np.zeros((5000, 5000), np.uint16), syntax=DeflatedExplicitVRLittleEndian)
    assert _header(small).rows == 5000
