"""Damage to JPEG, JPEG-LS and JPEG 2000 that keeps their markers, so that it reaches the decoder."""

from __future__ import annotations

import struct
from random import Random

from fuzz_bytes import anywhere, edge, packed, put, put_number

Segments = list[bytes]
"""Marker segments as they stand; the last one holds all that follows the first scan's header."""
_SOF = {*range(0xC0, 0xD0), 0xF7} - {0xC4, 0xC8, 0xCC}


def jpeg(rng: Random, content: bytes) -> bytes:
    """One mutation of a JPEG or JPEG-LS."""
    segments = _segments(content)
    change = rng.choice(
        (_field, _field, _field, _frame, _frame, _order, _smuggled, _filled, _scan, _scan, _extra)
    )
    return content[:2] + b"".join(change(rng, segments))


def _segments(content: bytes) -> Segments:
    """Split after SOI; a file that is damaged already has fewer."""
    segments, at = [], 2
    while at + 4 <= len(content) and content[at] == 0xFF:
        stop = at + 2 + max(2, int.from_bytes(content[at + 2 : at + 4]))
        segments.append(content[at:stop])
        at = stop
        if segments[-1][1] == 0xDA:
            break
    return [*segments, content[at:]]


def _find(segments: Segments, markers: set[int]) -> int:
    return next((number for number, one in enumerate(segments) if len(one) > 1 and one[1] in markers), 0)


def _frame(rng: Random, segments: Segments) -> Segments:
    """A field of the frame header: precision, rows, columns, components, factors, tables (T.81 B.2.2)."""
    number = _find(segments, _SOF)
    at, size = rng.choice(
        ((4, 1), (5, 2), (5, 2), (7, 2), (7, 2), (9, 1), (11, 1), (14, 1), (17, 1), (12, 1))
    )
    segments[number] = put_number(rng, segments[number], at, size)
    if rng.random() < 0.2:
        segments[number] = put(segments[number], 1, bytes((rng.choice(sorted(_SOF)),)))
    return segments


def _field(rng: Random, segments: Segments) -> Segments:
    """A length or any byte of a segment."""
    number = rng.randrange(len(segments))
    at, size = (2, 2) if rng.random() < 0.3 else (rng.randrange(max(1, len(segments[number]))), 1)
    segments[number] = put_number(rng, segments[number], at, size)
    return segments


def _order(rng: Random, segments: Segments) -> Segments:
    """A segment twice, elsewhere, or not at all."""
    number = rng.randrange(len(segments))
    match rng.randrange(3):
        case 0:
            segments.insert(rng.randrange(len(segments)), segments[number])
        case 1:
            segments.insert(rng.randrange(len(segments)), segments.pop(number))
        case _:
            segments.pop(number)
    return segments


def _smuggled(rng: Random, segments: Segments) -> Segments:
    """Another frame header, in what some readers skip and others do not."""
    other = bytearray(segments[_find(segments, _SOF)])
    other[5:9] = packed(rng, ">", "HH")
    marker = rng.choice((0x00, 0x01, 0xD0, 0xD7, 0xD8, 0xDC, 0xFE, 0x02, 0xF0, 0xFF))
    cover = bytes((0xFF, marker)) + struct.pack(">H", len(other) + 2) + bytes(other)
    segments.insert(rng.randrange(len(segments)), cover)
    return segments


def _filled(rng: Random, segments: Segments) -> Segments:
    """Fill bytes before a marker, many of them at times (T.81 B.1.1.2)."""
    number = rng.randrange(len(segments))
    segments[number] = b"\xff" * rng.choice((1, 2, 50, 5000)) + segments[number]
    return segments


def _scan(rng: Random, segments: Segments) -> Segments:
    """Entropy-coded data: restarts, ends, cuts, runs of 0xFF, or anything."""
    data = segments[-1]
    at = rng.randrange(len(data) + 1)
    match rng.randrange(5):
        case 0:
            data = (
                data[:at] + bytes((0xFF, rng.choice((0xD0, 0xD7, 0xD9, 0xDA, 0xC4, 0x00, 0x01)))) + data[at:]
            )
        case 1:
            data = data[:at] + b"\xff\xd9"
        case 2:
            data = (
                data[:at] + b"\xff" * rng.choice((3, 300, 20_000)) + rng.choice((b"\0", b"\xd9")) + data[at:]
            )
        case 3:
            data = data[:-2] + b"".join(segments[-2:]) * rng.choice((1, 5, 40))  # many scans
        case _:
            data = anywhere(rng, data)
    segments[-1] = data
    return segments


def _extra(rng: Random, segments: Segments) -> Segments:
    """A segment that changes how others are read: DRI, DNL, DHT, DQT, APP1, APP14, LSE with a size."""
    marker, body = rng.choice(
        (
            (0xDD, packed(rng, ">", "H")),
            (0xDC, packed(rng, ">", "H")),
            (0xC4, b"\0" + packed(rng, ">", "B" * 16) + bytes(20)),
            (0xDB, packed(rng, ">", "B") + bytes(64)),
            (0xE1, b"Exif\0\0MM\0*\0\0\0\x08" + packed(rng, ">", "HHHII")),
            (0xEE, b"Adobe\0\x64\0\0\0\0" + packed(rng, ">", "B")),
            (0xF8, b"\4" + rng.choice((b"\2", b"\4")) + packed(rng, ">", "II")),
            (0xF8, b"\1" + packed(rng, ">", "HHHHH")),
        )
    )
    segment = bytes((0xFF, marker)) + struct.pack(">H", len(body) + 2) + body
    segments.insert(rng.randrange(len(segments)), segment)
    return segments


def jpeg_2000(rng: Random, content: bytes) -> bytes:
    """One mutation of a JPEG 2000 codestream."""
    at = {marker: content.find(marker) for marker in (b"\xff\x51", b"\xff\x52", b"\xff\x5c", b"\xff\x90")}
    siz, cod, qcd, sot = at.values()
    places = [(siz + place, 4) for place in range(6, 38, 4)] * 2  # Xsiz to YTOsiz, T.800 A.5.1
    places += [(siz + 38, 2), (siz + 40, 1), (siz + 41, 1), (siz + 42, 1), (siz + 4, 2)]
    places += [(cod + place, 1) for place in (4, 5, 8, 9, 9, 10, 11, 12, 13)] + [(cod + 6, 2)]
    places += [(qcd + place, 1) for place in (4, 5, 7)]
    places += [(sot + 4, 2), (sot + 6, 4), (sot + 10, 1), (sot + 11, 1)]
    match rng.randrange(6):
        case 0:
            return anywhere(rng, content)
        case 1:
            return _precincts(rng, content, cod)
        case 2:
            return _tiled(rng, content, siz)
        case _:
            place, size = rng.choice(places)
            return put_number(rng, content, place, size)


def _precincts(rng: Random, content: bytes, cod: int) -> bytes:
    """Precinct sizes of each resolution, in COD or a COC of its own (T.800 A.6.1, A.6.2)."""
    levels = rng.choice((0, 1, 5, 32, content[cod + 9] if 0 <= cod < len(content) - 9 else 1))
    sizes = bytes(rng.choice((0x00, 0x11, 0x33, 0xFF, edge(rng, 1))) for _ in range(min(33, levels + 1)))
    style = (
        bytes((levels, rng.choice((0, 4, edge(rng, 1))), rng.choice((0, 4)), 0, rng.choice((0, 1)))) + sizes
    )
    if rng.random() < 0.5:
        body = b"\1" + content[cod + 5 : cod + 9] + style
        length = int.from_bytes(content[cod + 2 : cod + 4])
        return (
            content[:cod]
            + b"\xff\x52"
            + struct.pack(">H", len(body) + 2)
            + body
            + content[cod + 2 + length :]
        )
    component = b"\xff\x53" + struct.pack(">H", len(style) + 4) + b"\0\1" + style
    place = content.find(b"\xff\x93") if rng.random() < 0.5 else content.find(b"\xff\x90")
    return content[:place] + component + content[place:]


def _tiled(rng: Random, content: bytes, siz: int) -> bytes:
    """Many tiles, each with a tile-part that is as good as empty."""
    side = rng.choice((1, 2, 8, 16))
    content = put(content, siz + 22, struct.pack(">II", side, side))
    width, height = struct.unpack(">II", content[siz + 6 : siz + 14])
    tiles = min(3000, -(-width // side) * -(-height // side))
    sot = content.find(b"\xff\x90")
    part = b"\xff\x90\0\x0a%b\0\0\0\x0e\0\1\xff\x93"
    return content[:sot] + b"".join(part % struct.pack(">H", tile) for tile in range(tiles)) + b"\xff\xd9"
