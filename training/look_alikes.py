"""Pictures that look the same although their files differ: a perceptual hash, and all near pairs.

The hash is the sign of the 16 x 16 lowest frequencies about their median, of the picture squeezed to 32 x 32:
the DCT hash of C. Zauner, "Implementation and Benchmarking of Perceptual Image Hash Functions" (2010), with
256 bits instead of 64. Radiographs of one region are so alike that 64 bits do not tell them apart;
docs/model.md has the figures.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

NUM_BITS = 256
MAX_DISTANCE = 20
"""Bits, up to which two pictures count as one. No two different pictures of 3,328 radiographs came closer
than 24; copies that were compressed anew or scaled stay within 14 in 99 of 100 cases."""
_SIDE, _KEPT, _BLOCK = 32, 16, 128
_WORDS = NUM_BITS // 64

Hash = npt.NDArray[np.uint64]


def hash_of(grey_HW: npt.NDArray[np.uint8]) -> Hash:
    """Perceptual hash of a decoded image, uint64 (4,).

    Args:
        grey_HW: uint8 (rows, columns) with a longer side of at least 128 pixels, unless the image is smaller.
    """
    from PIL import Image  # noqa: PLC0415 - --help does not wait for it

    small = Image.fromarray(grey_HW).resize((_SIDE, _SIDE), Image.Resampling.BILINEAR)
    frequencies = _COSINES @ np.asarray(small, np.float64) @ _COSINES.T
    low = frequencies.reshape(-1)
    # The mean grey is no feature: it takes part in neither the median nor the bits' balance.
    bits = low > np.median(low[1:])
    return np.packbits(bits).view(np.uint64)


def near_pairs(hash_NW: Hash, *, max_distance: int = MAX_DISTANCE) -> npt.NDArray[np.intp]:
    """All pairs of pictures whose hashes differ in few bits.

    Every pair is looked at, in blocks: the first word alone rules nearly all of them out, at some 15 seconds
    for 50,000 pictures on one core.

    Args:
        hash_NW: uint64 (N, 4).
        max_distance: bits.

    Returns:
        intp (pairs, 3): first index, second index, distance, with first < second, in order.
    """
    found = [np.empty((0, 3), np.intp)]
    first_word_N = np.ascontiguousarray(hash_NW[:, 0])
    for start in range(0, len(hash_NW), _BLOCK):
        block_B1 = first_word_N[start : start + _BLOCK, None]
        maybe = np.bitwise_count(block_B1 ^ first_word_N[None, start:]) <= max_distance
        one, other = (index + start for index in np.nonzero(maybe))
        one, other = one[one < other], other[one < other]
        distance = np.bitwise_count(hash_NW[one] ^ hash_NW[other]).sum(axis=1, dtype=np.intp)
        near = distance <= max_distance
        found.append(np.stack([one[near], other[near], distance[near]], axis=1))
    return np.concatenate(found)


def _cosines() -> npt.NDArray[np.float64]:
    """DCT-II's lowest rows, (16, 32); unscaled, because only order counts."""
    number = np.arange(_SIDE)
    return np.cos(np.pi * (2 * number[None, :] + 1) * number[:_KEPT, None] / (2 * _SIDE))


_COSINES = _cosines()
