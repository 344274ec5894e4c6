"""Damage to DICOM objects that keeps them parseable, so that it reaches what comes after the parser."""

from __future__ import annotations

import struct
from random import Random

from fuzz_bytes import EDGES, anywhere, edge, packed
from fuzz_dicom_parts import END, UNDEFINED, Parts, empty_elements, encoded, item_of, take_apart
from fuzz_rasters import bomb
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.uid import AllTransferSyntaxes

VRS = (
    b"AE AS AT CS DA DS DT FL FD IS LO LT OB OD OF OL OV OW PN SH SL SQ SS ST SV TM UC UI UL UN US UT UV ZZ"
).split()
_DECIMALS = (
    "0",
    "-1",
    "nan",
    "inf",
    "-inf",
    "1e308",
    "-1e308",
    "1e999",
    "1e-320",
    "",
    "abc",
    "1\\2\\3",
    "0.5",
    "9" * 64_000,
)
_COUNTS = ("0", "-1", "1", "2", "3", "99999999999", "1.5", "abc", "1\\2", "", "9" * 5000)
_TEXTS = {
    "PhotometricInterpretation": (
        "MONOCHROME1", "RGB", "PALETTE COLOR", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT", "ARGB",
        "CMYK", "YBR_PARTIAL_420", "XYB", "", "x" * 100,
    ),
    **dict.fromkeys(("WindowCenter", "WindowWidth", "RescaleSlope", "RescaleIntercept"), _DECIMALS),
    "PixelSpacing": ("1\\4", "4\\1", "0\\0", "1\\nan", "inf\\1", "1", "1e308\\1e-308", "a\\b", "-1\\1"),
    "PixelAspectRatio": ("1\\4", "0\\1", "1\\0", "99999999999\\1", "3\\1"),
    "NumberOfFrames": _COUNTS,
    "VOILUTFunction": ("SIGMOID", "LINEAR_EXACT", "LINEAR", "sigmoid", "x" * 70),
    "PresentationLUTShape": ("INVERSE", "IDENTITY", "x"),
    "SpecificCharacterSet": ("ISO_IR 192", "ISO 2022 IR 87", "\\ISO 2022 IR 149", "nonsense", "\\" * 50),
    "Modality": ("CT", "SR", "DX", "", "cr", "CR\\DX"),
    "SOPClassUID": ("1.2.840.10008.1.3.10", "1.2.840.10008.5.1.4.1.1.88.11", "1.2.840.10008.5.1.4.1.1.12.1"),
    "PixelDataProviderURL": ("http://x.invalid",),
    "Manufacturer": ("ACME", "\x01\x02", "x" * 70, "caf\xe9"),
}  # fmt: skip
_WORDS = {
    **dict.fromkeys(
        ("Rows", "Columns", "Rows", "Columns"), (0, 1, 2, 23, 24, 25, 1000, 9000, 32768, 60_000, 65535)
    ),
    **dict.fromkeys(("BitsAllocated", "BitsStored"), (0, 1, 7, 8, 12, 15, 16, 17, 24, 32, 64, 65535)),
    "HighBit": (0, 1, 7, 11, 15, 16, 31, 63, 65535),
    "SamplesPerPixel": (0, 1, 2, 3, 4, 60_000),
    "PlanarConfiguration": (0, 1, 2, 65535),
    "PixelRepresentation": (0, 1, 2, 65535),
    **dict.fromkeys(("PixelPaddingValue", "PixelPaddingRangeLimit"), (0, 1, 32767, 32768, 65535)),
}
_LUTS = ("ModalityLUTSequence", "VOILUTSequence")
_PALETTES = tuple(f"{colour}PaletteColorLookupTableDescriptor" for colour in ("Red", "Green", "Blue"))


def dicom(rng: Random, content: bytes) -> bytes:
    """One mutation of an object; a compressed frame's codestream is let be (see `fuzz_mutations`)."""
    parts = take_apart(content)
    if parts.deflated and rng.random() < 0.1:
        return parts.head + bomb(-15, 2**20) if rng.random() < 0.1 else _inflating(rng, parts)
    changes = (
        _length,
        _vr,
        _tag,
        _value,
        _text,
        _text,
        _word,
        _word,
        _word,
        _lut,
        _order,
        _nested,
        _pixels,
        _many,
    )
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        rng.choice(changes)(rng, parts)
    if rng.random() < 0.15:
        parts.head = _other_syntax(rng, parts.head)
    return parts.joined()


def _inflating(rng: Random, parts: Parts) -> bytes:
    """An element of zeros among the others."""
    size = rng.choice((2**18, 2**20))
    parts.elements.insert(rng.randrange(len(parts.elements)), (0x00091010, b"OB", size, bytes(size)))
    return parts.joined()


def _put(parts: Parts, keyword: str, value: bytes, vr: str = "") -> None:
    """Set an element, in the order of the tags."""
    tag = tag_for_keyword(keyword) or 0
    known = "" if parts.implicit else vr or dictionary_VR(tag).partition(" ")[0]
    kept = [element for element in parts.elements if element[0] != tag]
    kept.append((tag, known.encode(), len(value), value))
    parts.elements = sorted(kept, key=lambda element: element[0])


def _length(rng: Random, parts: Parts) -> None:
    number = rng.randrange(len(parts.elements))
    tag, vr, length, value = parts.elements[number]
    length = rng.choice((UNDEFINED, UNDEFINED - 1, length + 1, length - 1, edge(rng, 4), 0)) & UNDEFINED
    parts.elements[number] = (tag, vr, length, value)


def _vr(rng: Random, parts: Parts) -> None:
    number = rng.randrange(len(parts.elements))
    tag, _, length, value = parts.elements[number]
    parts.elements[number] = (tag, rng.choice(VRS), length, value)


def _tag(rng: Random, parts: Parts) -> None:
    number = rng.randrange(len(parts.elements))
    tags = (
        edge(rng, 4),
        0x7FE00010,
        0x7FE00008,
        0x7FE00009,
        0xFFFEE000,
        0xFFFEE00D,
        0xFFFEE0DD,
        0x00020010,
        0xFFFCFFFC,
    )
    parts.elements[number] = (rng.choice(tags), *parts.elements[number][1:])


def _value(rng: Random, parts: Parts) -> None:
    number = rng.randrange(len(parts.elements))
    tag, vr, length, value = parts.elements[number]
    value = anywhere(rng, value)
    parts.elements[number] = (tag, vr, len(value) if length != UNDEFINED else length, value)


def _text(rng: Random, parts: Parts) -> None:
    keyword = rng.choice(sorted(_TEXTS))
    value = rng.choice(_TEXTS[keyword]).encode("latin-1")
    _put(parts, keyword, value + b" " * (len(value) % 2), rng.choice(("", "", "", "UT", "LO")))


def _word(rng: Random, parts: Parts) -> None:
    for _ in range(rng.choice((1, 1, 2, 3))):
        keyword = rng.choice(sorted(_WORDS))
        _put(
            parts,
            keyword,
            struct.pack(parts.order + "H", rng.choice(_WORDS[keyword])),
            rng.choice(("US", "US", "SS")),
        )


def _lut(rng: Random, parts: Parts) -> None:
    """A table with a descriptor of edges (PS3.3 C.11.1.1.1, C.7.6.3.1.5)."""
    descriptor = packed(rng, parts.order, "HHH")
    if rng.random() < 0.3:
        _put(parts, rng.choice(_PALETTES), descriptor, "US")
        return
    table = rng.choice((b"", rng.randbytes(2), rng.randbytes(512), bytes(131_072)))
    item = Parts(head=b"", order=parts.order, implicit=parts.implicit, deflated=False)
    _put(item, "LUTDescriptor", descriptor, "US")
    _put(item, "LUTData", table, rng.choice(("OW", "OW", "UN")))
    _put(parts, rng.choice(_LUTS), item_of(item.joined(), parts.order), "SQ")


def _order(rng: Random, parts: Parts) -> None:
    number, to = rng.randrange(len(parts.elements)), rng.randrange(len(parts.elements))
    element = parts.elements.pop(number)
    if rng.random() < 0.6:
        parts.elements.insert(to, element)
        if rng.random() < 0.5:
            parts.elements.insert(number, element)


def _nested(rng: Random, parts: Parts) -> None:
    """Sequences within sequences, with lengths or without."""
    is_open, closed = rng.random() < 0.7, rng.random() < 0.5
    start = encoded((0x00081140, b"SQ", UNDEFINED, item_of(b"", parts.order, UNDEFINED)), parts)
    depth = rng.choice((3, 50, 400, 3000))
    body = start * depth + (
        struct.pack(parts.order + "HHIHHI", 0xFFFE, 0xE00D, 0, 0xFFFE, 0xE0DD, 0) * depth if closed else b""
    )
    parts.elements.insert(
        rng.randrange(len(parts.elements)), (0x00081140, b"SQ", UNDEFINED if is_open else len(body), body)
    )


def _many(rng: Random, parts: Parts) -> None:
    """Thousands of empty items or elements."""
    num = rng.choice((100, 1000, 4000))
    if rng.random() < 0.5:
        _put(parts, "ReferencedImageSequence", item_of(b"", parts.order) * num, "SQ")
    else:
        parts.elements.insert(1, (0x00090000, b"LO", 0, empty_elements(num, parts.order, parts.implicit)))


def _pixels(rng: Random, parts: Parts) -> None:
    """The lengths and tags of fragments, or the pixel data's own."""
    number = next(
        (place for place, one in enumerate(parts.elements) if one[0] >> 16 == 0x7FE0), len(parts.elements) - 1
    )
    tag, vr, length, value = parts.elements[number]
    if length != UNDEFINED:
        value = rng.choice(
            (value[: rng.randrange(len(value) + 1)], value * 2, item_of(b"", "<") + item_of(value, "<"))
        )
        parts.elements[number] = (tag, vr, rng.choice((len(value), length, UNDEFINED)), value)
        return
    starts = [at for at in range(0, len(value) - 7, 2) if value[at : at + 4] in (b"\xfe\xff\0\xe0", END[:4])]
    at = rng.choice(starts or [0])
    change = rng.choice(EDGES[:36]) & UNDEFINED
    item = rng.choice((value[at : at + 4], value[at : at + 4], END[:4], b"\xfe\xff\x0d\xe0")) + struct.pack(
        "<I", change
    )
    parts.elements[number] = (
        tag,
        vr,
        length,
        value[:at] + rng.choice((item, item + value[at:][:8])) + value[at + 8 :],
    )


def _other_syntax(rng: Random, head: bytes) -> bytes:
    """Another transfer syntax, of the same length within the padding."""
    found = head.find(b"\x02\0\x10\0UI")
    if found < 0:
        return head
    size = int.from_bytes(head[found + 6 : found + 8], "little")
    fitting = [
        str(one) for one in (*AllTransferSyntaxes, "1.2.840.10008.1.2.1.98", "1.2.840.10008.1.2.8.1", "1.2.3")
    ]
    syntax = rng.choice([one for one in fitting if len(one) <= size]).encode().ljust(size, b"\0")
    return head[: found + 8] + syntax + head[found + 8 + size :]
