from __future__ import annotations

import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from batch_fracture.decode.lut import Lut, read_lut


def _dataset(descriptor: list[int], stored: object, vr: str = "OW") -> Dataset:
    item = Dataset()
    item.add_new("LUTDescriptor", "SS" if min(descriptor) < 0 else "US", descriptor)
    item.add_new("LUTData", vr, stored)
    dataset = Dataset()
    dataset.VOILUTSequence = Sequence([item])
    return dataset


def _lut(descriptor: list[int], stored: object, vr: str = "OW", lowest: float = 0.0) -> Lut | None:
    return read_lut(_dataset(descriptor, stored, vr), "VOILUTSequence", lowest=lowest)


def _mapped(lut: Lut | None, values: list[float]) -> list[float]:
    assert lut is not None
    return lut(np.array(values, np.float64)).tolist()


def _words(*values: int) -> bytes:
    return np.array(values, "<u2").tobytes()


@pytest.mark.parametrize(("vr", "stored"), [("OW", _words(0, 100, 200, 255)), ("US", [0, 100, 200, 255])])
def test_values_map_to_entries_and_the_ends_go_on(vr: str, stored: object) -> None:
    lut = _lut([4, 10, 8], stored, vr)
    assert _mapped(lut, [-1e9, 3, 10, 11, 12, 13, 20, 1e9]) == [0, 0, 0, 100, 200, 255, 255, 255]
    assert _mapped(lut, [10.4, 10.6]) == [0, 100]
    assert lut is not None
    assert lut.top == 255


def test_words_of_big_endian_objects() -> None:
    dataset = _dataset([2, 0, 16], np.array([256, 65535], ">u2").tobytes())
    lut = read_lut(dataset, "VOILUTSequence", lowest=0, is_little_endian=False)
    assert _mapped(lut, [0, 1]) == [256, 65535]


def test_no_entries_stands_for_all_of_them() -> None:
    entries = np.arange(65536, dtype="<u2")[::-1].astype("<u2")
    assert _mapped(_lut([0, 0, 16], entries.tobytes()), [0, 1, 65535]) == [65535, 65534, 0]


@pytest.mark.parametrize(
    ("first", "lowest", "values"),
    [
        (-2, -2, [-2, -1, 0]),
        (65534, -2, [-2, -1, 0]),  # SS written as US
        (65534, 0, [65534, 65535, 65536]),
        (-2, 0, [65534, 65535, 65536]),  # US written as SS
    ],
)
def test_the_sign_of_the_first_input_is_that_of_the_values(
    first: int, lowest: float, values: list[float]
) -> None:
    assert _mapped(_lut([3, first, 8], _words(1, 2, 3), lowest=lowest), values) == [1, 2, 3]


@pytest.mark.parametrize(
    ("bits", "highest", "top"),
    [
        (16, 65535, 65535),
        (16, 4095, 4095),
        (16, 1000, 1023),
        (12, 4095, 4095),
        (12, 900, 4095),
        (8, 4095, 4095),
        (0, 255, 255),
        (12, 0, 4095),
    ],
)
def test_declared_bits_and_the_bits_that_entries_need(bits: int, highest: int, top: float) -> None:
    lut = _lut([2, 0, bits], _words(0, highest))
    assert lut is not None
    assert lut.top == top


def test_bytes_that_are_packed_two_in_a_word() -> None:
    assert _mapped(_lut([4, 0, 8], bytes([5, 6, 7, 255])), [0, 1, 2, 3]) == [5, 6, 7, 255]
    assert _mapped(_lut([3, 0, 8], bytes([5, 6, 255, 0])), [0, 1, 2, 3]) == [5, 6, 255, 255]


def test_fewer_entries_than_declared() -> None:
    assert _mapped(_lut([3, 0, 12], _words(9, 4095)), [0, 1, 2]) == [9, 4095, 4095]
    assert _mapped(_lut([1, 7, 8], 200, "US"), [0, 7, 9]) == [200, 200, 200]


def test_no_table_that_could_be_used() -> None:
    assert read_lut(Dataset(), "VOILUTSequence", lowest=0) is None
    empty = Dataset()
    empty.VOILUTSequence = Sequence([])
    assert read_lut(empty, "VOILUTSequence", lowest=0) is None
    assert _lut([4, 0], _words(1, 2, 3, 4)) is None
    assert _lut([4, 0, 8], b"") is None
    for missing in ("LUTDescriptor", "LUTData"):
        dataset = _dataset([4, 0, 8], _words(1, 2, 3, 4))
        del dataset.VOILUTSequence[0][missing]
        assert read_lut(dataset, "VOILUTSequence", lowest=0) is None
