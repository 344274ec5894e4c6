"""DICOM objects full of markers, written byte by byte: pydicom would refuse to write much of this."""

from __future__ import annotations

import itertools
import struct
from collections.abc import Iterator

from canary import UID, Canary
from pydicom.datadict import DicomDictionary, dictionary_VR, tag_for_keyword

TEXT_VRS = frozenset({"AE", "CS", "LO", "LT", "PN", "SH", "ST", "UC", "UR", "UT"})
LONG_VRS = frozenset({"OB", "OW", "SQ", "UC", "UN", "UR", "UT"})
"""With a 32-bit length (PS3.5 7.1.2)."""
EXPLICIT, IMPLICIT = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2"
CR, SR, ECG = "1.2.840.10008.5.1.4.1.1.1", "1.2.840.10008.5.1.4.1.1.88.11", "1.2.840.10008.5.1.4.1.1.9.1.1"
TAGS_PER_FILE = 200
STEERING = frozenset({"SpecificCharacterSet", "VOILUTFunction"})
"""Nonsense in these makes an image unreadable; they have files of their own."""
Elements = dict[int, tuple[str, bytes]]
"""Tag -> VR and value."""


def encode(elements: Elements, *, implicit: bool = False) -> bytes:
    """A data set, in the order of its tags (PS3.5 7.1)."""
    parts = []
    for tag, (vr, value) in sorted(elements.items()):
        padded = value + (b"\0" if vr in LONG_VRS | {"UI"} else b" ") * (len(value) % 2)
        head = struct.pack("<HH", tag >> 16, tag & 0xFFFF)
        if implicit:
            head += struct.pack("<I", len(padded))
        elif vr in LONG_VRS:
            head += vr.encode() + b"\0\0" + struct.pack("<I", len(padded))
        else:
            head += vr.encode() + struct.pack("<H", len(padded))
        parts.append(head + padded)
    return b"".join(parts)


def sequence(items: list[Elements], *, implicit: bool = False) -> tuple[str, bytes]:
    """A sequence of items with explicit lengths (PS3.5 7.5)."""
    encoded = (encode(item, implicit=implicit) for item in items)
    return "SQ", b"".join(b"\xfe\xff\x00\xe0" + struct.pack("<I", len(item)) + item for item in encoded)


def part10(body: bytes, syntax: str = EXPLICIT, *, preamble: bytes = bytes(128), **meta: str) -> bytes:
    """A file (PS3.10 7.1) around a data set; `meta`: further keywords of its header."""
    header: Elements = {0x00020001: ("OB", b"\0\1"), 0x00020002: ("UI", CR.encode())}
    header[0x00020010] = ("UI", syntax.encode())
    header |= plain(**meta)
    encoded = encode(header)
    return preamble + b"DICM" + encode({0x00020000: ("UL", struct.pack("<I", len(encoded)))}) + encoded + body


def plain(**values: str) -> Elements:
    """Elements by keyword."""
    return {
        tag: (dictionary_VR(tag), value.encode())
        for tag, value in ((tag_for_keyword(keyword) or 0, value) for keyword, value in values.items())
    }


def picture(canary: Canary, place: str, **values: str) -> Elements:
    """A radiograph of 16 x 16 pixels; allow-listed elements hold what they should, UIDs hold markers."""
    elements = plain(
        SOPClassUID=CR, Modality="CR", Manufacturer="ACME", BodyPartExamined="HAND", ViewPosition="PA",
        ImageLaterality="L", PhotometricInterpretation="MONOCHROME2",
    )  # fmt: skip
    for keyword in {"SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID"} - set(values):
        elements |= plain(**{keyword: f"1.2.{canary.mark(UID, f'{keyword} of {place}')}.3"})
    sizes = {0x0002: 1, 0x0010: 16, 0x0011: 16, 0x0100: 8, 0x0101: 8, 0x0102: 7, 0x0103: 0}
    elements |= {0x00280000 | tag: ("US", struct.pack("<H", value)) for tag, value in sizes.items()}
    elements[0x7FE00010] = ("OW", bytes(range(256)))
    return elements | plain(**values)


def text_elements(canary: Canary, place: str) -> Iterator[tuple[int, str, bytes]]:
    """Every element of the standard that holds text, a UID or a decimal string, with a marker each."""
    taken = picture(Canary(rng=canary.rng), "").keys() | {tag_for_keyword(keyword) for keyword in STEERING}
    for tag, (vr, _, _, _, keyword) in DicomDictionary.items():
        group, where = tag >> 16, f"{keyword or hex(tag)} ({vr}) {place}"
        if group < 8 or tag in taken or (vr == "DS" and group == 0x28):
            continue
        if vr in TEXT_VRS:
            yield tag, vr, canary.text(where).encode()
        elif vr == "UI":
            yield tag, vr, f"1.2.{canary.number(where)}".encode()
        elif vr == "DS":
            yield tag, vr, canary.number(where).encode()


def dicom_files(canary: Canary) -> dict[str, bytes]:
    """All of them, by stem."""
    flat = list(text_elements(canary, "at the top"))
    nested = list(itertools.islice(text_elements(canary, "in nested items"), 2 * TAGS_PER_FILE))
    files = {}
    for number, at in enumerate(range(0, len(flat), TAGS_PER_FILE)):
        elements = picture(canary, f"text-{number}")
        elements |= {tag: (vr, value) for tag, vr, value in flat[at : at + TAGS_PER_FILE]}
        body = encode(elements, implicit=bool(number % 2))
        files[f"text-{number}"] = part10(body, IMPLICIT if number % 2 else EXPLICIT)
    for number, at in enumerate(range(0, len(nested), TAGS_PER_FILE)):
        inner = {tag: (vr, value) for tag, vr, value in nested[at : at + TAGS_PER_FILE]}
        for keyword in ("Modality", "BodyPartExamined", "ViewPosition", "Manufacturer"):
            inner |= plain(**{keyword: canary.text(f"{keyword} in nested items")})
        outer = {0x00400275: sequence([inner, plain(PatientComments=canary.text("second item"))])}
        elements = picture(canary, f"nested-{number}") | {0x00081140: sequence([outer])}
        files[f"nested-{number}"] = part10(encode(elements))
    return files | _wrapped(canary) | _wrong(canary) | _others(canary) | _broken(canary, files["text-0"])


def _wrapped(canary: Canary) -> dict[str, bytes]:
    """Private elements, file header, preamble, padding, an object without header."""
    private = picture(canary, "private")
    for group in (0x0009, 0x0019, 0x0029, 0x6001):
        private[group << 16 | 0x10] = ("LO", canary.text("private creator").encode())
        for number, vr in enumerate(sorted(TEXT_VRS | {"UN", "OB"})):
            marker = canary.text(f"private element ({group:04x},{0x1000 + number:04x}) {vr}")
            private[group << 16 | 0x1000 + number] = (vr, marker.encode())
    private[0xFFFCFFFC] = ("OB", canary.text("trailing padding").encode())
    private[0x60001500] = ("LO", canary.text("overlay label").encode())
    meta = {
        keyword: canary.text(f"file header {keyword}")
        for keyword in ("SourceApplicationEntityTitle", "SendingApplicationEntityTitle")
    }
    meta["ImplementationVersionName"] = canary.text("file header, version")
    meta["ImplementationClassUID"] = f"1.2.{canary.number('file header, class')}"
    meta["MediaStorageSOPInstanceUID"] = f"1.2.{canary.number('file header, instance')}"
    preamble = "".join(canary.text(f"preamble {number}") for number in range(8)).encode()
    bare = encode(picture(canary, "bare", PatientName=canary.text("PatientName of the bare one")))
    return {
        "private": part10(encode(private), preamble=preamble, **meta),
        "bare": bare,
        "unregistered": part10(encode(picture(canary, "unregistered")), f"1.2.{canary.number('syntax')}"),
    }


def _wrong(canary: Canary) -> dict[str, bytes]:
    """Values that their elements may not have: pydicom warns of them, or raises, and quotes them."""
    files = {}
    for keyword in (
        "SpecificCharacterSet", "VOILUTFunction", "PresentationLUTShape", "NumberOfFrames", "RescaleSlope",
        "WindowCenter", "PatientBirthDate", "StudyTime", "AcquisitionDateTime", "PatientAge", "PixelSpacing",
        "InstanceNumber", "SOPClassUID", "StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID",
        "Modality", "BodyPartExamined", "ViewPosition", "ImageLaterality", "Laterality",
        "PhotometricInterpretation",
    ):  # fmt: skip
        marker = canary.text(f"{keyword} with a wrong value")
        values = {"RescaleIntercept": "0", "RescaleSlope": "1", "WindowWidth": "9", "WindowCenter": "5"}
        values[keyword] = f"hand of mrs {marker}"
        files[f"wrong-{keyword}"] = part10(encode(picture(canary, f"wrong {keyword}", **values)))
    return files


def _others(canary: Canary) -> dict[str, bytes]:
    """Objects that are no single radiograph."""
    report = plain(SOPClassUID=SR, Modality="SR", PatientName=canary.text("PatientName of a report"))
    report |= {0x0040A730: sequence([plain(TextValue=canary.text("text of a report"))])}
    wave = plain(SOPClassUID=ECG, Modality="ECG", PatientID=canary.text("PatientID of an ECG"))
    several = picture(canary, "several", NumberOfFrames="2", PatientID=canary.text("ID of a multi-frame"))
    return {
        "report": part10(encode(report)),
        "wave": part10(encode(wave)),
        "several": part10(encode(several)),
        "folder": part10(encode(plain(FileSetID=canary.text("ID of a file set")))),
    }


def _broken(canary: Canary, whole: bytes) -> dict[str, bytes]:
    """Cut and damaged after, within and before markers."""
    named = plain(PatientName=canary.text("PatientName before damage"))
    start = encode(named | plain(SOPClassUID=CR, Modality="CR"))
    return {
        "cut-in-pixels": whole[:-100],
        "cut-in-header": whole[: len(whole) // 2],
        "cut-in-meta": whole[:180],
        "odd-vr": part10(encode(picture(canary, "odd VR") | named).replace(b"PN", b"ZZ")),
        "long-value": part10(start + b"\x10\x00\x40\x00LO\xff\xff" + canary.text("value too long").encode()),
        "endless": part10(start + b"\x40\x00\x75\x02SQ\0\0\xff\xff\xff\xff" + encode(named)),
        "not-deflated": part10(start, "1.2.840.10008.1.2.1.99"),
        "not-encapsulated": part10(encode(picture(canary, "JPEG") | named), "1.2.840.10008.1.2.4.50"),
    }
