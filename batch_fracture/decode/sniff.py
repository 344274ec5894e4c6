"""Media types from content, never from a file's name."""

from __future__ import annotations

from typing import Literal

DICOM = "application/dicom"
EMPTY = "application/x-empty"
JPEG = "image/jpeg"
PNG = "image/png"
TIFF = "image/tiff"
GIF = "image/gif"
BMP = "image/bmp"
WEBP = "image/webp"

UNREADABLE_IMAGES = frozenset(
    {
        "image/heic",
        "image/avif",
        "image/jp2",
        "image/jxl",
        "image/jls",
        "image/vnd.adobe.photoshop",
    }
)
"""Real images that no decoder here reads: `UNSUPPORTED`, not `NOT_AN_IMAGE`."""

_SIGNATURES: tuple[tuple[bytes, str], ...] = (
    (b"\xff\xd8\xff\xf7", "image/jls"),
    (b"\xff\xd8\xff", JPEG),
    (b"\x89PNG\r\n\x1a\n", PNG),
    (b"II*\0", TIFF),
    (b"MM\0*", TIFF),
    (b"II+\0", TIFF),
    (b"MM\0+", TIFF),
    (b"GIF87a", GIF),
    (b"GIF89a", GIF),
    (b"\0\0\0\x0cjP  \r\n\x87\n", "image/jp2"),
    (b"\xff\x4f\xff\x51", "image/jp2"),
    (b"\0\0\0\x0cJXL \r\n\x87\n", "image/jxl"),
    (b"\xff\x0a", "image/jxl"),
    (b"8BPS", "image/vnd.adobe.photoshop"),
    (b"%PDF-", "application/pdf"),
    (b"PK\x03\x04", "application/zip"),
    (b"\x1f\x8b", "application/gzip"),
)
_BMP_HEADER_SIZES = frozenset({12, 40, 52, 56, 64, 108, 124})
_ISO_BRANDS = {b"heic": "image/heic", b"heix": "image/heic", b"mif1": "image/heic", b"avif": "image/avif"}
_SHORT_VRS = frozenset(b"AE AS CS DA DS DT IS LO LT PN SH ST TM UI UL US".split())
"""Value representations with a 16-bit length (PS3.5 7.1.2) that occur in groups 0002 and 0008."""
_LONG_VRS = frozenset(b"OB SQ UN UT UC UR".split())
_MAX_FIRST_BYTES = 1024
"""Of the values that begin a data set: dates, UIDs, code strings; far fewer in practice."""
_Order = Literal["little", "big"]


def media_type(content: bytes) -> str:
    """The media type of `content`; `text/plain` or `application/octet-stream` at the least."""
    if not content:
        return EMPTY
    if content[128:132] == b"DICM":
        return DICOM
    signed = next((name for signature, name in _SIGNATURES if content.startswith(signature)), None)
    return signed or _by_structure(content) or _text_or_binary(content[:4096])


def _by_structure(content: bytes) -> str | None:
    """Kinds that one fixed signature does not tell."""
    if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        return WEBP
    if content[4:8] == b"ftyp" and content[8:12] in _ISO_BRANDS:
        return _ISO_BRANDS[content[8:12]]
    if content[:2] == b"BM" and int.from_bytes(content[14:18], "little") in _BMP_HEADER_SIZES:
        return BMP
    return DICOM if _is_bare_dicom(content) else None


def _is_bare_dicom(content: bytes) -> bool:
    """A data set without preamble (PS3.10 7.1 asks for one; older archives lack it): two elements in order.

    It begins with an element of group 0002 or 0008, explicit or implicit, in either byte order.
    """
    order: _Order
    for order in ("little", "big"):
        group, element = _tag(content, 0, order)
        second_at = _next_element(content, 0, order)
        if group not in (0x0002, 0x0008) or element > 0x0070 or second_at is None:
            continue
        second = _tag(content, second_at, order)
        rises = (group, element) < second and second[0] <= 0x0028
        if rises and _next_element(content, second_at, order) is not None:
            return True
    return False


def _tag(content: bytes, at: int, order: _Order) -> tuple[int, int]:
    return int.from_bytes(content[at : at + 2], order), int.from_bytes(content[at + 2 : at + 4], order)


def _next_element(content: bytes, at: int, order: _Order) -> int | None:
    """Where the element after the one at `at` begins; None when what stands there is no plausible element."""
    vr = content[at + 4 : at + 6]
    if vr in _SHORT_VRS:
        length, body = int.from_bytes(content[at + 6 : at + 8], order), at + 8
    elif vr in _LONG_VRS:
        length, body = int.from_bytes(content[at + 8 : at + 12], order), at + 12
    else:
        length, body = int.from_bytes(content[at + 4 : at + 8], order), at + 8
    return body + length if length <= _MAX_FIRST_BYTES and body + length <= len(content) else None


def _text_or_binary(head: bytes) -> str:
    if b"\0" in head:
        return "application/octet-stream"
    try:
        head[:-4].decode() if len(
            head
        ) > 4 else head.decode()  # a cut multi-byte character at the end is fine
    except UnicodeDecodeError:
        return "application/octet-stream"
    return "text/plain"
