from __future__ import annotations

from pathlib import Path

import drawing
import numpy as np
import pytest
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from batch_fracture.decode import sniff

GREY = drawing.grey(8, 6)


@pytest.mark.parametrize(
    ("content", "media_type"),
    [
        (b"", "application/x-empty"),
        (b"\xff\xd8\xff\xe0\0\x10JFIF", "image/jpeg"),
        (b"\xff\xd8\xff\xf7", "image/jls"),
        (b"\x89PNG\r\n\x1a\n", "image/png"),
        (b"II*\0\x08\0\0\0", "image/tiff"),
        (b"MM\0*\0\0\0\x08", "image/tiff"),
        (b"II+\0\x08\0\0\0", "image/tiff"),
        (b"MM\0+\0\x08\0\0", "image/tiff"),
        (b"GIF87a", "image/gif"),
        (b"GIF89a", "image/gif"),
        (b"RIFF\x10\0\0\0WEBPVP8 ", "image/webp"),
        (b"RIFF\x10\0\0\0WAVEfmt ", "application/octet-stream"),
        (b"BM" + bytes(12) + b"\x28\0\0\0", "image/bmp"),
        (b"BM25 is a ranking function", "text/plain"),
        (b"\0\0\0\x0cjP  \r\n\x87\n", "image/jp2"),
        (b"\xff\x4f\xff\x51", "image/jp2"),
        (b"\0\0\0\x20ftypheic", "image/heic"),
        (b"\0\0\0\x20ftypavif", "image/avif"),
        (b"\0\0\0\x20ftypmp42", "application/octet-stream"),
        (b"\xff\x0a", "image/jxl"),
        (b"8BPS", "image/vnd.adobe.photoshop"),
        (b"%PDF-1.7", "application/pdf"),
        (b"PK\x03\x04", "application/zip"),
        (b"\x1f\x8b\x08", "application/gzip"),
        (b"accession,report\n1,normal\n", "text/plain"),
        ("Röntgen".encode(), "text/plain"),
        ("Röntgen".encode("latin-1") + b" of the hand", "application/octet-stream"),
        (b"\x00\x01\x02\x03" * 64, "application/octet-stream"),
        (bytes(4096), "application/octet-stream"),
    ],
)
def test_media_type_comes_from_content(content: bytes, media_type: str) -> None:
    assert sniff.media_type(content) == media_type


def test_a_long_text_cut_within_a_character_is_text() -> None:
    assert sniff.media_type("ä".encode() * 4000) == "text/plain"


def test_dicom_with_preamble() -> None:
    assert sniff.media_type(drawing.dicom(GREY)) == "application/dicom"
    assert sniff.media_type(b"II*\0" + bytes(124) + b"DICM") == "application/dicom"  # a dual-personality file


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian])
def test_dicom_without_preamble(syntax: str) -> None:
    assert sniff.media_type(drawing.dicom(GREY, syntax=syntax, preamble=False)) == "application/dicom"


def test_file_header_without_preamble() -> None:
    assert sniff.media_type(drawing.dicom(GREY)[132:]) == "application/dicom"


@pytest.mark.parametrize(
    "content",
    [
        b"\x08\0\x05\0 is how this binary file happens to begin" + bytes(200),
        b"\x08\0\x05\0CS\x0a\0ISO_IR 100",  # one element proves nothing
        b"\x08\0\x05\0CS\x0a\0ISO_IR 100\x08\0\x04\0CS\x02\0CR",  # not in order
        b"\x02\0\0\0\x02\0\0\0ab",
        np.arange(8, 4096, 2, dtype="<u2").tobytes(),
    ],
)
def test_binary_that_resembles_bare_dicom(content: bytes) -> None:
    assert sniff.media_type(content) == "application/octet-stream"


def test_every_shared_dicom_file_is_recognised(shared: Path) -> None:
    others = [
        path.name
        for path in sorted((shared / "dicom").rglob("*.dcm"))
        if sniff.media_type(path.read_bytes()) != "application/dicom"
    ]
    assert others == ["ADT_A47-ChangePatientID.hl7.dcm"]


def test_every_shared_radiograph_is_a_jpeg(shared: Path) -> None:
    folders = (shared / "radiographs", shared / "radiographs_damaged")
    kinds = {
        sniff.media_type(path.read_bytes()[:4096]) for folder in folders for path in folder.rglob("*.jpg")
    }
    assert kinds == {"image/jpeg"}
