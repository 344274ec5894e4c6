"""Media types from content, never from a file's name."""

from __future__ import annotations

DICOM = "application/dicom"
EMPTY = "application/x-empty"
JPEG = "image/jpeg"
PNG = "image/png"
TIFF = "image/tiff"

UNREADABLE_IMAGES = frozenset({"image/heic", "image/avif", "image/jxl", "image/jls", "image/vnd.adobe.photoshop"})
"""Real images that no decoder here reads: `UNSUPPORTED`, not `NOT_AN_IMAGE`."""

_SIGNATURES: tuple[tuple[bytes, str], ...] = (
    (b"\xff\xd8\xff\xf7", "image/jls"),
    (b"\xff\xd8\xff", JPEG),
    (b"\x89PNG\r\n\x1a\n", PNG),
    (b"II*\0", TIFF),
    (b"MM\0*", TIFF),
    (b"II+\0", TIFF),
    (b"MM\0+", TIFF),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
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
# A data set without preamble begins with an element of group 0002 or 0008 (PS3.10 7.1 asks for the
# preamble; older archives lack it). Little endian, elements that stand first in practice.
_BARE_DICOM = tuple(
    group + element + b"\0"
    for group in (b"\x02\0", b"\x08\0")
    for element in (b"\0", b"\x01", b"\x05", b"\x08", b"\x16")
)


def media_type(content: bytes) -> str:
    """The media type of `content`, by its first bytes; `text/plain` or `application/octet-stream` at the least."""
    if not content:
        return EMPTY
    if content[128:132] == b"DICM" or content.startswith(_BARE_DICOM):
        return DICOM
    for signature, name in _SIGNATURES:
        if content.startswith(signature):
            return name
    if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        return "image/webp"
    if content[4:8] == b"ftyp" and content[8:12] in _ISO_BRANDS:
        return _ISO_BRANDS[content[8:12]]
    if content[:2] == b"BM" and int.from_bytes(content[14:18], "little") in _BMP_HEADER_SIZES:
        return "image/bmp"
    return _text_or_binary(content[:4096])


def _text_or_binary(head: bytes) -> str:
    if b"\0" in head:
        return "application/octet-stream"
    try:
        head[:-4].decode() if len(head) > 4 else head.decode()  # a cut multi-byte character at the end is fine
    except UnicodeDecodeError:
        return "application/octet-stream"
    return "text/plain"
