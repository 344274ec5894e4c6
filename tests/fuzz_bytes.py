"""Damage that knows nothing of a format, and the numbers that are worth a try anywhere."""

from __future__ import annotations

import struct
from collections.abc import Callable
from random import Random

Mutation = Callable[[Random, bytes], bytes]

EDGES = (
    *(0, 1, 2, 3, 4, 7, 8, 15, 16, 17, 31, 32, 63, 64, 65, 100, 127, 128, 129, 255, 256, 257, 512, 1000),
    *(4096, 9_000, 30_000, 0x7FFF, 0x8000, 60_000, 0xFFFE, 0xFFFF, 0x10000, 0xFFFFFF, 100_000_000),
    *(0x7FFFFFFE, 0x7FFFFFFF, 0x80000000, 0xFFFFFFF0, 0xFFFFFFFE, 0xFFFFFFFF, 2**40, 2**63 - 1, 2**64 - 1),
)
"""Numbers at which readers go wrong: of no size, odd, signed, huge, undefined."""


def edge(rng: Random, size: int) -> int:
    """An edge, or now and then any number, of so many bytes."""
    fits = [value for value in EDGES if value < 256**size]
    return rng.choice(fits) if rng.random() < 0.8 else rng.randrange(256**size)


def put(content: bytes, at: int, value: bytes) -> bytes:
    """`value` written over `content`."""
    return content[:at] + value + content[at + len(value) :]


def put_number(rng: Random, content: bytes, at: int, size: int, order: str = ">") -> bytes:
    """An edge written over a number."""
    return put(content, at, edge(rng, size).to_bytes(size, "big" if order == ">" else "little"))


def _place(rng: Random, content: bytes) -> int:
    """Headers are short and come first: half of the damage goes there."""
    return rng.randrange(min(len(content), 300) if rng.random() < 0.5 else len(content))


def truncate(rng: Random, content: bytes) -> bytes:
    return content[: _place(rng, content)]


def flip(rng: Random, content: bytes) -> bytes:
    damaged = bytearray(content)
    for _ in range(rng.choice((1, 1, 2, 4, 16, 64))):
        damaged[_place(rng, content)] ^= 1 << rng.randrange(8)
    return bytes(damaged)


def number(rng: Random, content: bytes) -> bytes:
    return put_number(rng, content, _place(rng, content), rng.choice((1, 2, 2, 4, 4, 8)), rng.choice("<>"))


def run(rng: Random, content: bytes) -> bytes:
    value = rng.choice((b"\0", b"\xff", rng.randbytes(1)))
    return put(content, _place(rng, content), value * rng.choice((2, 8, 100, 3000)))


def noise(rng: Random, content: bytes) -> bytes:
    return put(content, _place(rng, content), rng.randbytes(rng.choice((1, 4, 32, 300))))


def insert(rng: Random, content: bytes) -> bytes:
    at, size = _place(rng, content), rng.choice((1, 2, 8, 60, 1000))
    return content[:at] + rng.choice((bytes(size), rng.randbytes(size), b"\xff" * size)) + content[at:]


def delete(rng: Random, content: bytes) -> bytes:
    at = _place(rng, content)
    return content[:at] + content[at + rng.choice((1, 2, 4, 50, 1000)) :]


def duplicate(rng: Random, content: bytes) -> bytes:
    at = _place(rng, content)
    stop = at + rng.choice((1, 4, 12, 100, 2000))
    return content[:stop] + content[at:stop] * rng.choice((1, 1, 2, 20)) + content[stop:]


def move(rng: Random, content: bytes) -> bytes:
    at, size, to = _place(rng, content), rng.choice((2, 12, 100, 500)), _place(rng, content)
    rest = content[:at] + content[at + size :]
    return rest[:to] + content[at : at + size] + rest[to:]


ANYWHERE: tuple[Mutation, ...] = (
    *(truncate, flip, flip, number, number, number, run, noise, insert, delete, duplicate, move),
)


def splice(rng: Random, content: bytes, other: bytes) -> bytes:
    """The beginning of one file and a later part of another."""
    if rng.random() < 0.5:
        return content[: rng.randrange(len(content) + 1)] + other[rng.randrange(len(other) + 1) :]
    at, start = rng.randrange(len(content) + 1), rng.randrange(len(other) + 1)
    return content[:at] + other[start : start + rng.choice((8, 64, 500))] + content[at:]


def anywhere(rng: Random, content: bytes) -> bytes:
    """One of the above; nothing can be done to an empty file."""
    return rng.choice(ANYWHERE)(rng, content) if content else rng.randbytes(rng.choice((1, 4, 132, 200)))


def packed(rng: Random, order: str, sizes: str) -> bytes:
    """Edges as `struct` has them."""
    values = (edge(rng, struct.calcsize(f"<{size}")) for size in sizes)
    return b"".join(struct.pack(order + size, value) for size, value in zip(sizes, values, strict=True))
