"""A DICOM object taken apart into its top-level elements, and put together again, however wrong they are."""

from __future__ import annotations

import functools
import struct
import zlib
from dataclasses import dataclass, field

from canary_dicom import LONG_VRS

Element = tuple[int, bytes, int, bytes]
"""Tag, VR (empty when implicit), stated length, value."""
LONG = frozenset(vr.encode() for vr in LONG_VRS) | {b"OD", b"OF", b"OL", b"OV", b"SV", b"UV"}
UNDEFINED = 0xFFFFFFFF
END = b"\xfe\xff\xdd\xe0\0\0\0\0"
MAX_ELEMENTS = 500


@dataclass(kw_only=True)
class Parts:
    """An object taken apart."""

    head: bytes
    """Preamble and file header."""
    order: str
    implicit: bool
    deflated: bool
    elements: list[Element] = field(default_factory=list)
    rest: bytes = b""
    """What is no element."""

    def joined(self) -> bytes:
        """The object again."""
        body = b"".join(encoded(element, self) for element in self.elements) + self.rest
        if self.deflated:
            deflater = zlib.compressobj(1, wbits=-15)
            body = deflater.compress(body) + deflater.flush()
        return self.head + body


def take_apart(content: bytes) -> Parts:
    """The top-level elements of an object, as far as they can be followed."""
    at, syntax = 0, ""
    if content[128:132] == b"DICM":
        at = 144 + int.from_bytes(content[140:144], "little")
        found = content.find(b"\x02\0\x10\0UI", 132, at)
        size = int.from_bytes(content[found + 6 : found + 8], "little")
        syntax = (
            content[found + 8 : found + 8 + size].decode("ascii", "replace").rstrip("\0") if found > 0 else ""
        )
    body, deflated = content[at:], syntax.endswith("1.2.1.99")
    if deflated:
        body = zlib.decompressobj(-15).decompress(body, 2**22)
    order = ">" if syntax == "1.2.840.10008.1.2.2" or (not syntax and body[:1] == b"\0") else "<"
    parts = Parts(head=content[:at], order=order, implicit=not body[4:6].isupper(), deflated=deflated)
    _walk(body, parts)
    return parts


def _walk(body: bytes, parts: Parts) -> None:
    at = 0
    while at + 8 <= len(body) and len(parts.elements) < MAX_ELEMENTS:
        group, element = struct.unpack(parts.order + "HH", body[at : at + 4])
        vr = b"" if parts.implicit else body[at + 4 : at + 6]
        length_at, width = (at + 4, 4) if parts.implicit else (at + 8, 4) if vr in LONG else (at + 6, 2)
        length = int.from_bytes(
            body[length_at : length_at + width], "little" if parts.order == "<" else "big"
        )
        start = length_at + width
        end = body.find(END, start) + 8 if length == UNDEFINED else start + length
        if end < start or end > len(body):
            break
        parts.elements.append((group << 16 | element, vr, length, body[start:end]))
        at = end
    parts.rest = body[at:]


def encoded(element: Element, parts: Parts) -> bytes:
    """An element, with the length that it states."""
    tag, vr, length, value = element
    start = struct.pack(parts.order + "HH", tag >> 16 & 0xFFFF, tag & 0xFFFF)
    if parts.implicit:
        return start + struct.pack(parts.order + "I", length) + value
    if vr in LONG:
        return start + vr + b"\0\0" + struct.pack(parts.order + "I", length) + value
    return start + vr[:2].ljust(2, b"\0") + struct.pack(parts.order + "H", length & 0xFFFF) + value


@functools.lru_cache
def empty_elements(num: int, order: str, implicit: bool) -> bytes:
    """So many elements of a private group, without values."""
    parts = Parts(head=b"", order=order, implicit=implicit, deflated=False)
    return b"".join(encoded((0x00090001 + number, b"LO", 0, b""), parts) for number in range(num))


def item_of(body: bytes, order: str, length: int | None = None) -> bytes:
    """An item around encoded elements (PS3.5 7.5)."""
    return struct.pack(order + "HHI", 0xFFFE, 0xE000, len(body) if length is None else length) + body
