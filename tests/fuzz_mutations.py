"""The seeded mutator: seed and number of a file give its bytes, always the same."""

from __future__ import annotations

import functools
import struct
from collections.abc import Callable
from random import Random

import fuzz_bytes
import fuzz_dicom
import fuzz_jpegs
import fuzz_rasters
import fuzz_seeds_dicom
from fuzz_bytes import Mutation

_STARTS: tuple[tuple[bytes, Mutation], ...] = (
    (b"\xff\xd8", fuzz_jpegs.jpeg),
    (b"\x89PNG", fuzz_rasters.png),
    (b"II", fuzz_rasters.tiff),
    (b"MM", fuzz_rasters.tiff),
    (b"GIF8", fuzz_rasters.gif_bmp_webp),
    (b"BM", fuzz_rasters.gif_bmp_webp),
    (b"RIFF", fuzz_rasters.gif_bmp_webp),
    (b"\xff\x4f", fuzz_jpegs.jpeg_2000),
)
_FALLS = (IndexError, ValueError, KeyError, struct.error, OverflowError, fuzz_rasters.zlib.error)
"""What a structure-aware mutation of a file that is damaged already may end with."""


def broken(seed: int, number: int, *, with_shared: bool = False) -> tuple[str, bytes]:
    """One broken file.

    Args:
        seed: of the whole series.
        number: of the file within it.
        with_shared: whether the small files of ../shared are among those that are broken.

    Returns:
        The name of the whole file that it came from, and its bytes.
    """
    rng = Random(f"{seed}:{number}")
    files = fuzz_seeds_dicom.whole(with_shared=with_shared)
    if rng.random() < 0.01:
        return "tiff-of-edges", fuzz_rasters.tiff_of_edges(rng)
    name = rng.choice(_names(with_shared))
    content = files[name]
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        content = _mutated(rng, name, content, lambda: files[rng.choice(_names(with_shared))])
    return name, content


@functools.cache
def _names(with_shared: bool) -> list[str]:
    """Names of the seeds; the formats have about equal shares."""
    rasters, plain = list(fuzz_seeds_dicom.fuzz_seeds.rasters()), list(fuzz_seeds_dicom.dicoms())
    names = rasters * 2 + plain + list(fuzz_seeds_dicom.compressed()) * 4
    return names + (list(fuzz_seeds_dicom.shared()) if with_shared else [])


def _mutated(rng: Random, name: str, content: bytes, other: Callable[[], bytes]) -> bytes:
    kind = rng.random()
    if kind < 0.2 or not content:
        return fuzz_bytes.anywhere(rng, content)
    if kind < 0.25:
        return fuzz_bytes.splice(rng, content, other())
    try:
        if name in fuzz_seeds_dicom.compressed() and kind < 0.75:
            return _frame(rng, content, *fuzz_seeds_dicom.compressed()[name])
        for start, mutation in _STARTS:
            if content.startswith(start):
                return mutation(rng, content)
        if "dicom" in name or name.startswith("shared"):
            return fuzz_dicom.dicom(rng, content)
    except _FALLS:
        pass
    return fuzz_bytes.anywhere(rng, content)


def _frame(rng: Random, content: bytes, whole: bytes, codestream: bytes) -> bytes:
    """Damage to the compressed frame of an object, its fragments' lengths put right."""
    at = whole.find(codestream)
    if at < 0:  # it lies in several fragments
        return fuzz_dicom.dicom(rng, content)
    change = next((one for start, one in _STARTS if codestream.startswith(start)), fuzz_bytes.anywhere)
    damaged = change(rng, codestream)
    if rng.random() < 0.1:
        return fuzz_dicom.dicom(rng, content)
    damaged += b"\0" * (len(damaged) % 2)
    return whole[: at - 4] + struct.pack("<I", len(damaged)) + damaged + fuzz_dicom.END
