"""Damage to PNG, TIFF, GIF, BMP and WebP that keeps their structure, so that it reaches the decoder."""

from __future__ import annotations

import functools
import struct
import zlib
from random import Random

from drawing import png_chunk
from fuzz_bytes import anywhere, edge, packed, put, put_number

Chunks = list[tuple[bytes, bytes]]
BOMB_BYTES = 24 * 2**20


@functools.cache
def bomb(wbits: int = 15, size: int = BOMB_BYTES) -> bytes:
    """A deflate stream of zeros, a thousand times smaller than what it inflates to."""
    deflater = zlib.compressobj(9, wbits=wbits)
    return deflater.compress(bytes(size)) + deflater.flush()


def png(rng: Random, content: bytes) -> bytes:
    """One mutation of a PNG, its checksums put right in nine of ten."""
    chunks = _chunks(content)
    change = rng.choice(
        (_header, _header, _body, _body, _inflated, _order, _text_bomb, _picture_bomb, _extra)
    )
    changed = change(rng, chunks)
    mutated = b"".join(png_chunk(kind, body) for kind, body in changed)
    if rng.random() < 0.1:
        mutated = anywhere(rng, mutated)
    return content[:8] + mutated


def _chunks(content: bytes) -> Chunks:
    chunks, at = [], 8
    while at + 8 <= len(content):
        stop = at + 8 + int.from_bytes(content[at : at + 4])
        chunks.append((content[at + 4 : at + 8], content[at + 8 : stop]))
        at = stop + 4
    return chunks


def _header(rng: Random, chunks: Chunks) -> Chunks:
    """Columns, rows, bits, colour type, compression, filter, interlace (RFC 2083 4.1.1)."""
    kind, body = chunks[0]
    at, size = rng.choice(((0, 4), (0, 4), (4, 4), (4, 4), (8, 1), (9, 1), (10, 1), (11, 1), (12, 1)))
    value = rng.choice((1, 2, 3, 4, 6, 8, 16, edge(rng, 1))) if size == 1 else edge(rng, 4)
    return [(kind, put(body, at, value.to_bytes(size))), *chunks[1:]]


def _body(rng: Random, chunks: Chunks) -> Chunks:
    number = rng.randrange(len(chunks))
    kind, body = chunks[number]
    chunks[number] = (kind, anywhere(rng, body)[: len(body) + 99])
    return chunks


def _inflated(rng: Random, chunks: Chunks) -> Chunks:
    """The filtered rows: filter types above 4, too few bytes, too many."""
    stream = b"".join(body for kind, body in chunks if kind == b"IDAT")
    rows = anywhere(rng, zlib.decompress(stream)) if rng.random() < 0.9 else b""
    others = [chunk for chunk in chunks if chunk[0] != b"IDAT"]
    return [*others[:-1], (b"IDAT", zlib.compress(rows)), *others[-1:]]


def _order(rng: Random, chunks: Chunks) -> Chunks:
    number, to = rng.randrange(len(chunks)), rng.randrange(len(chunks))
    match rng.randrange(4):
        case 0:
            chunks.insert(to, chunks[number])
        case 1:
            chunks.insert(to, chunks.pop(number))
        case 2:
            chunks.pop(number)
        case _:
            kind, body = chunks[number]
            cut = rng.randrange(len(body) + 1)
            chunks[number : number + 1] = [(kind, body[:cut]), (kind, body[cut:])]
    return chunks


def _text_bomb(rng: Random, chunks: Chunks) -> Chunks:
    start = rng.choice(((b"zTXt", b"T\0\0"), (b"iCCP", b"p\0\0"), (b"iTXt", b"T\0\1\0\0\0")))
    return [chunks[0], *[(start[0], start[1] + bomb())] * rng.choice((1, 1, 5)), *chunks[1:]]


def _picture_bomb(rng: Random, chunks: Chunks) -> Chunks:
    """A picture that inflates to far more than its header says, or to what a large header says."""
    header = put(chunks[0][1], 0, packed(rng, ">", "II")) if rng.random() < 0.7 else chunks[0][1]
    return [(b"IHDR", header), (b"IDAT", bomb()), (b"IEND", b"")]


def _extra(rng: Random, chunks: Chunks) -> Chunks:
    kind = rng.choice(
        (b"PLTE", b"tRNS", b"acTL", b"fcTL", b"eXIf", b"gAMA", b"cHRM", b"sBIT", b"bKGD", b"hIST")
    )
    body = rng.choice((b"", rng.randbytes(rng.choice((1, 3, 8, 26, 768, 771))), packed(rng, ">", "II")))
    return [chunks[0], (kind, body), *chunks[1:]]


def tiff(rng: Random, content: bytes) -> bytes:
    """One mutation of a field of some directory, or of the way from one to the next."""
    order = "<" if content[:2] == b"II" else ">"
    word, count, entry = (8, 8, 20) if content[2:4] in (b"+\0", b"\0+") else (4, 2, 12)
    start = _number(content, word, word, order)
    num = min(_number(content, start, count, order), 100)
    first = start + count
    match rng.randrange(10):
        case 0:  # the next directory: itself, the middle of it, anywhere
            after = rng.choice((start, first, edge(rng, 4), rng.randrange(len(content))))
            return put(
                content, first + num * entry, after.to_bytes(word, "little" if order == "<" else "big")
            )
        case 1:
            return put_number(rng, content, rng.choice((start, word)), count, order)
        case 2:
            return anywhere(rng, content)
        case _:
            return _entry(rng, content, first + rng.randrange(max(1, num)) * entry, word, order)


def _entry(rng: Random, content: bytes, at: int, word: int, order: str) -> bytes:
    """Tag, type, count or value of one entry (TIFF 6.0 section 2)."""
    endian = "little" if order == "<" else "big"
    match rng.randrange(8):
        case 0:
            tag = rng.choice(
                (254, 256, 257, 258, 259, 262, 273, 277, 278, 279, 284, 317, 322, 323, 324, 325, 339)
            )
            return put(content, at, tag.to_bytes(2, endian))
        case 1:
            return put(content, at + 2, rng.randrange(20).to_bytes(2, endian))
        case 2:
            return put_number(rng, content, at + 4, word, order)
        case _:
            tag = _number(content, at, 2, order)
            known = {
                259: (1, 2, 4, 5, 6, 7, 8, 32773, 32946, 34661, 34712, 34887, 34925, 50000),
                262: range(11),
            }
            known |= {258: (1, 2, 4, 8, 12, 16, 32, 64), 277: (0, 1, 2, 3, 4, 5, 60_000), 284: (0, 1, 2, 3)}
            known |= {322: (0, 1, 16, 60_000, 2**31), 323: (0, 1, 16, 60_000, 2**31), 339: range(1, 7)}
            value = rng.choice(known[tag]) if tag in known and rng.random() < 0.7 else edge(rng, word)
            size = 2 if _number(content, at + 2, 2, order) == 3 and value < 2**16 else word
            return put(content, at + 4 + word, value.to_bytes(size, endian))


def _number(content: bytes, at: int, size: int, order: str) -> int:
    return int.from_bytes(content[at : at + size], "little" if order == "<" else "big")


_PLACES = {
    b"GIF8": [(6, 2), (8, 2), (10, 1), (13, 1)],
    b"BM": [(2, 4), (10, 4), (14, 4), (18, 4), (18, 4), (22, 4), (22, 4), (26, 2), (28, 2), (30, 4), (46, 4)],
    b"RIFF": [(4, 4), (12, 4), (16, 4), (20, 4), (21, 4), (24, 3), (26, 2), (27, 3), (28, 2)],
}
"""Offsets and sizes of the numbers in their headers."""


def gif_bmp_webp(rng: Random, content: bytes) -> bytes:
    """A number of the header, a frame of the GIF, or anything."""
    places = next(places for start, places in _PLACES.items() if content.startswith(start))
    image = content.find(b"\x2c\0\0\0\0")
    if content[:4] == b"GIF8" and image > 0:
        places = [*places, (image + 5, 2), (image + 7, 2), (image + 9, 1), (image + 10, 1), (image + 11, 1)]
    if rng.random() < 0.3:
        return anywhere(rng, content)
    return put_number(rng, content, *rng.choice(places), "<")


def tiff_of_edges(rng: Random) -> bytes:
    """A directory drawn at random, whose strips or tiles lie within the file."""
    tags = {256: edge(rng, 4), 257: edge(rng, 4), 258: rng.choice((1, 8, 16, 32)), 262: rng.randrange(9)}
    tags |= {
        259: rng.choice((1, 5, 7, 8, 32773, 50000)),
        277: rng.choice((1, 3, 4, 100)),
        284: rng.choice((1, 2)),
    }
    tags |= {322: edge(rng, 4), 323: edge(rng, 4), 324: 8, 325: edge(rng, 1)} if rng.random() < 0.5 else {}
    tags |= {278: edge(rng, 4), 273: 8, 279: edge(rng, 1)} if 322 not in tags else {}
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in sorted(tags.items()))
    return b"II*\0\x08\0\0\0" + struct.pack("<H", len(tags)) + entries + bytes(4) + rng.randbytes(300)
