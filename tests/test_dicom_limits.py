from __future__ import annotations

import canary_dicom as written
import drawing
import pydicom
import pytest

from batch_fracture import decode
from batch_fracture.codes import Code
from batch_fracture.decode import dicom_limits, dicom_object
from batch_fracture.errors import ImageError
from batch_fracture.settings import ReadingSettings

WINDOW, VOI_LUT, GROUPS = 0x00281050, 0x00283010, 0x52009229
EMPTY_ITEM = b"\xfe\xff\x00\xe0\0\0\0\0"


def _object(elements: written.Elements, *, implicit: bool = False) -> bytes:
    whole = written.plain(Modality="CR", SOPClassUID=written.CR)
    whole |= {0x00280103: ("US", b"\0\0"), 0x00283002: ("US", b"\1\0\0\0\x10\0")} | elements
    body = written.encode(whole, implicit=implicit)
    return written.part10(body, written.IMPLICIT if implicit else written.EXPLICIT)


def _error(content: bytes, keyword: str = "") -> ImageError:
    with pytest.raises(ImageError) as caught:
        dataset = dicom_object.parse(content)
        dicom_object.guard(lambda: dataset.get(keyword))
    return caught.value


def test_a_header_of_very_many_elements_is_too_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dicom_limits, "MAX_READS", 5000)
    content = drawing.dicom(drawing.grey())
    at = content.find(b"\xe0\x7f\x10\x00")
    zeros = content[:at] + bytes(8 * dicom_limits.MAX_READS)
    error = _error(zeros)
    assert (error.code, error.message) == (
        Code.TOO_LARGE,
        "the DICOM header has too many elements, or too long ones",
    )
    with pytest.raises(ImageError) as caught:
        decode.read_header(zeros, ReadingSettings())
    assert caught.value.code == Code.TOO_LARGE


@pytest.mark.parametrize("most", range(5000, 5004))
def test_items_of_a_sequence_without_length_count_too(most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dicom_limits, "MAX_READS", most)
    items = EMPTY_ITEM * dicom_limits.MAX_READS
    content = _object({})
    assert _error(content + b"\x08\0\x40\x11SQ\0\0\xff\xff\xff\xff" + items).code == Code.TOO_LARGE


def test_values_longer_than_a_header_may_be_are_too_large(monkeypatch: pytest.MonkeyPatch) -> None:
    content = _object({0x00291010: ("OB", bytes(100_000))})
    assert len(dicom_object.parse(content)[0x00291010].value) == 100_000
    monkeypatch.setattr(dicom_limits, "MAX_HEADER_BYTES", 100_000)
    assert _error(content).code == Code.TOO_LARGE


@pytest.mark.parametrize(
    ("tag", "vr", "unit", "most"),
    [
        (WINDOW, "DS", b"1\\", dicom_limits.MAX_VALUE_BYTES),
        (0x00283006, "US", b"\1\0", dicom_limits.MAX_LUT_BYTES),
        (0x00280120, "US", b"\1\0", dicom_limits.MAX_VALUE_BYTES),
        (VOI_LUT, "SQ", EMPTY_ITEM, dicom_limits.MAX_SEQUENCE_BYTES),
        (0x00280010, "SQ", EMPTY_ITEM, dicom_limits.MAX_VALUE_BYTES),
    ],
)
def test_a_value_out_of_proportion_is_not_taken_apart(tag: int, vr: str, unit: bytes, most: int) -> None:
    keyword = pydicom.datadict.keyword_for_tag(tag)
    implicit = vr in ("DS", "US")
    fits = _object({tag: (vr, unit * (most // len(unit)))}, implicit=implicit)
    assert dicom_object.parse(fits).get(keyword) is not None
    error = _error(_object({tag: (vr, unit * (most // len(unit) + 1))}, implicit=implicit), keyword)
    assert (error.code, error.message) == (
        Code.CORRUPT,
        "an element of the DICOM header is longer than any of its kind",
    )


def test_bytes_may_be_as_long_as_they_are() -> None:
    content = _object({0x00283006: ("OW", bytes(2**20))})
    assert len(dicom_object.parse(content).LUTData) == 2**20
