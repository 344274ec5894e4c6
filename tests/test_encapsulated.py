from __future__ import annotations

import io
import struct

import encoding
import numpy as np
import pydicom
import pytest

from batch_fracture.codes import Code
from batch_fracture.decode import dicom_object, encapsulated
from batch_fracture.errors import ImageError

FRAMES = [b"\xff\xd8\xff\xe0first\0", b"\xff\xd8\xff\xe0the second frame", b"\xff\xd8\xff\xe03"]


def _item(body: bytes, tag: bytes = b"\xfe\xff\x00\xe0") -> bytes:
    return tag + struct.pack("<I", len(body)) + body


END = _item(b"", b"\xfe\xff\xdd\xe0")


def _element(value: bytes, *, length: int | None = None) -> encapsulated.PixelData:
    return encapsulated.PixelData(value=memoryview(value), vr="OB", length=length)


def _read(value: bytes, frames: int = 1, **tags: bytes) -> list[bytes]:
    dataset = pydicom.Dataset()
    for keyword, table in tags.items():
        setattr(dataset, keyword, table)
    element = _element(value)
    return [
        bytes(encapsulated.read_frame(element, dataset, index=index, frames=frames))
        for index in range(frames)
    ]


def _error(value: bytes, frames: int = 1) -> ImageError:
    with pytest.raises(ImageError) as caught:
        _read(value, frames)
    return caught.value


def _pieces(size: int) -> tuple[bytes, list[int]]:
    """The frames in fragments of at most so many bytes, and where each begins."""
    fragments, offsets = b"", []
    for frame in FRAMES:
        offsets.append(len(fragments))
        fragments += b"".join(_item(frame[at : at + size]) for at in range(0, len(frame), size))
    return fragments, offsets


def test_one_fragment_is_not_copied() -> None:
    value = _item(b"") + _item(FRAMES[1]) + END
    element = _element(value)
    frame = encapsulated.read_frame(element, pydicom.Dataset(), index=0, frames=1)
    assert bytes(frame) == FRAMES[1]
    assert frame.obj is element.value.obj


@pytest.mark.parametrize("size", [4, 6, 7, 100])
def test_all_fragments_of_a_single_frame_are_joined(size: int) -> None:
    assert _read(_item(b"") + _pieces(size)[0] + END) == [b"".join(FRAMES)]
    assert _read(_item(bytes(4)) + _pieces(size)[0] + END + b"next elements") == [b"".join(FRAMES)]


@pytest.mark.parametrize("size", [6, 7, 100])
def test_frames_by_either_offset_table_or_by_their_beginnings(size: int) -> None:
    fragments, offsets = _pieces(size)
    basic = _item(struct.pack("<3I", *offsets))
    assert _read(basic + fragments + END, 3) == FRAMES
    assert _read(_item(b"") + fragments + END, 3) == FRAMES
    wrong = _item(struct.pack("<3I", 0, 1, 2))
    assert _read(wrong + fragments + END, 3) == FRAMES
    extended = struct.pack("<3Q", *offsets)
    assert _read(_item(b"") + fragments + END, 3, ExtendedOffsetTable=extended) == FRAMES


def test_frames_that_cannot_be_told_apart() -> None:
    parts = b"".join(_item(part) for part in (b"one", b"two", b"three"))
    assert _error(_item(b"") + parts + END, 2).code == Code.CORRUPT
    assert _error(_item(b"") + _pieces(100)[0] + END, 2).code == Code.CORRUPT
    missing = _error(_item(b"") + _pieces(6)[0] + END, 4)
    assert (missing.code, missing.message) == (Code.TRUNCATED, "the pixel data holds 3 of 4 frames")


def test_bytes_that_look_like_a_delimiter_do_no_harm() -> None:
    frame = b"\xff\xd8" + END + b"more"
    assert _read(_item(b"") + _item(frame) + END) == [frame]


def test_every_cut_is_truncated() -> None:
    value = _item(b"") + _pieces(6)[0] + END
    for size in range(len(value) - 8):
        assert _error(value[:size]).code == Code.TRUNCATED


@pytest.mark.parametrize(
    ("value", "code"),
    [
        (END, Code.CORRUPT),
        (_item(b"") + END, Code.TRUNCATED),
        (_item(b"") + b"\xfe\xff\x00\xe0\xff\xff\xff\xff" + END, Code.CORRUPT),
        (_item(b"") + _item(b"1", b"\x08\x00\x16\x00") + END, Code.CORRUPT),
        (_item(b"") + b"\xfe\xff\x00\xe0\xff\xff\xff\x7f1234" + END, Code.TRUNCATED),
    ],
)
def test_what_is_no_sequence_of_fragments(value: bytes, code: Code) -> None:
    assert _error(value).code == code


def test_fragments_within_a_stated_length() -> None:
    value = _item(b"") + _item(FRAMES[0])
    element = _element(value + b"next", length=len(value))
    assert element.is_encapsulated
    assert bytes(encapsulated.read_frame(element, pydicom.Dataset(), index=0, frames=1)) == FRAMES[0]
    cut = _element(value[:-1], length=len(value))
    with pytest.raises(ImageError) as caught:
        encapsulated.read_frame(cut, pydicom.Dataset(), index=0, frames=1)
    assert caught.value.code == Code.TRUNCATED


def _found(content: bytes) -> encapsulated.PixelData:
    dataset = dicom_object.parse(content)
    return encapsulated.pixel_data(*dicom_object.plain_bytes(content, dataset), dataset)


@pytest.mark.parametrize(
    "syntax", ["1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2", "1.2.840.10008.1.2.1.99"]
)
def test_the_element_is_found_where_parsing_stopped(syntax: str) -> None:
    content = encoding.drawing.dicom(encoding.TWELVE, syntax=syntax)
    element = _found(content)
    assert (element.length, element.vr, element.is_encapsulated) == (encoding.TWELVE.nbytes, "OW", False)
    assert len(element.value) == encoding.TWELVE.nbytes
    if not syntax.endswith("99"):
        assert element.value.obj is content


def test_an_element_that_turned_implicit_is_found() -> None:
    content = encoding.dicom(encoding.GREY, [b"\xff\xd8"], encoding.JPEG_8)
    at = content.find(b"\xe0\x7f\x10\x00")
    implicit = content[: at + 4] + content[at + 8 :]
    assert _found(implicit).length is None
    assert bytes(_found(implicit).value[:4]) == b"\xfe\xff\x00\xe0"


def test_no_element_is_truncated_and_a_link_unsupported() -> None:
    content = encoding.drawing.dicom(encoding.GREY)
    at = content.find(b"\xe0\x7f\x10\x00")
    for size in range(at, at + 12):
        with pytest.raises(ImageError) as caught:
            _found(content[:size])
        assert caught.value.code == Code.TRUNCATED
    linked = encoding.drawing.dicom(encoding.GREY, PixelData=None, PixelDataProviderURL="http://pacs.invalid")
    with pytest.raises(ImageError) as caught:
        _found(linked)
    assert caught.value.code == Code.UNSUPPORTED


def test_a_real_object_of_several_fragments() -> None:
    codestream = encoding.one_of_each()["jpeg-ls"][2]
    fragments = pydicom.encaps.encapsulate([codestream], fragments_per_frame=5, has_bot=False)
    content = encoding.dicom(encoding.TWELVE, [], encoding.JPEG_LS, PixelData=fragments)
    np.testing.assert_array_equal(encoding.stored_frame(content), encoding.TWELVE)
    assert io.BytesIO(content).getvalue() is content
