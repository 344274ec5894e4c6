"""Look-up tables of DICOM headers: Modality LUT and VOI LUT, as they stand in real files."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pydicom
from pydicom.multival import MultiValue

Values = npt.NDArray[np.floating[Any]]
Entries = npt.NDArray[np.uint16]

_WORD = 2**16
_SIGNED_FROM = 2**15
_DEPTHS = range(8, 17)
_FULL_DEPTH = 16


@dataclass(frozen=True, kw_only=True)
class Lut:
    """A table of PS3.3 C.11.1.1 or C.11.2.1.1."""

    first_input: int
    """The value that is mapped to the first entry; lower ones are too."""
    entries_L: Entries  # noqa: N815 - a shape suffix, as everywhere
    """uint16 (L,); values above the last input are mapped to the last entry."""
    top: float
    """The largest output: 2^n - 1 for entries of n bits."""

    def __call__(self, values: Values) -> Values:
        """The entry of each value, floats of the same shape; inputs are rounded to integers."""
        places = np.clip(np.rint(values) - self.first_input, 0, len(self.entries_L) - 1).astype(np.int64)
        return np.asarray(self.entries_L[places], np.float64)


def read_lut(
    dataset: pydicom.Dataset, sequence: str, *, lowest: float, is_little_endian: bool = True
) -> Lut | None:
    """The table of the first item of a LUT sequence.

    LUT Descriptor (0028,3002) holds the number of entries (0 stands for 65536), the first input and the bits
    of an entry, LUT Data (0028,3006) the entries (PS3.3 C.11.1.1.1, C.11.2.1.1). Real files also hold:

    - a descriptor whose first input has the wrong sign, for its VR (US or SS) is a guess of the writer;
    - 16 bits declared for entries of 10 or 12, from Agfa: the picture would be nearly black, so the bits that
      the entries need are taken (cornerstone3D does likewise in `getVOILut`);
    - entries of 8 bits, two in a word; fewer entries than declared.

    Args:
        dataset: the image.
        sequence: ModalityLUTSequence or VOILUTSequence.
        lowest: the lowest input that occurs; below 0, inputs are signed.
        is_little_endian: byte order of LUT Data that is stored as OW.

    Returns:
        The table; None when there is none that could be used.
    """
    items = dataset.get(sequence)
    if not items:
        return None
    try:
        size, first_input, bits = (int(value) for value in items[0].LUTDescriptor)
        size = size % _WORD or _WORD
        stored = items[0]["LUTData"].value
        is_packed = bits == 8 and isinstance(stored, bytes) and len(stored) <= size + size % 2 and size > 1
        entries_L = _entries(stored, "u1" if is_packed else "<u2" if is_little_endian else ">u2")[:size]
    except (AttributeError, KeyError, TypeError, ValueError):  # a table without its parts
        return None
    if not len(entries_L):
        return None
    first_input %= _WORD
    if lowest < 0 and first_input >= _SIGNED_FROM:
        first_input -= _WORD
    return Lut(first_input=first_input, entries_L=entries_L, top=2.0 ** _depth(bits, entries_L) - 1.0)


def _depth(declared_bits: int, entries_L: Entries) -> int:
    needed_bits = max(1, int(entries_L.max()).bit_length())
    is_true = declared_bits in _DEPTHS and needed_bits <= declared_bits < _FULL_DEPTH
    return declared_bits if is_true else needed_bits


def _entries(stored: Any, dtype: str) -> Entries:
    """LUT Data, which is OW (bytes) or US (integers)."""
    if isinstance(stored, bytes):
        itemsize = np.dtype(dtype).itemsize
        return np.frombuffer(stored, dtype, count=len(stored) // itemsize).astype(np.uint16)
    words = stored if isinstance(stored, MultiValue | list) else [stored]
    return np.array([int(word) % _WORD for word in words], np.uint16)
