from __future__ import annotations

import struct

import drawing
import numpy as np
import pytest

from batch_fracture.codes import Code
from batch_fracture.decode import tiff_directory
from batch_fracture.errors import ImageError


def _entries(num: int) -> bytes:
    body = struct.pack("<HHII", 256, 3, 1, 10) * num
    return b"II*\0\x08\0\0\0" + struct.pack("<H", num) + body + struct.pack("<I", 8)


@pytest.mark.parametrize("big_tiff", [False, True])
def test_tags_of_the_first_page(big_tiff: bool) -> None:
    content = drawing.saved(drawing.grey(48, 40), "TIFF", big_tiff=big_tiff)
    page = tiff_directory.first_directory(content)
    assert (page.first(tiff_directory.ROWS, 0), page.first(tiff_directory.COLUMNS, 0)) == (48, 40)
    assert (page.next_at, page.first(tiff_directory.TILE_ROWS, 7)) == (0, 7)
    assert tiff_directory.byte_order(content) == "little"


def test_big_endian_tags() -> None:
    page = tiff_directory.first_directory(drawing.one_of_each()["tiff-16-big-endian"])
    assert page.first(tiff_directory.BITS, 0) == 16
    assert page.tags[tiff_directory.ROWS].dtype.byteorder == np.dtype(">u4").byteorder


def test_a_directory_has_so_many_entries_and_no_more() -> None:
    assert tiff_directory.first_directory(_entries(4096)).next_at == 8
    with pytest.raises(ImageError) as caught:
        tiff_directory.first_directory(_entries(4097))
    assert (caught.value.code, caught.value.message) == (
        Code.CORRUPT,
        "a directory of the TIFF has 4097 entries",
    )


def test_a_directory_or_value_beyond_the_end_is_truncated() -> None:
    content = _entries(3)
    for cut in (content[:7], content[:9], content[:-1], content.replace(b"\1\0\0\0", b"\0\0\0\x80", 1)):
        with pytest.raises(ImageError) as caught:
            tiff_directory.first_directory(cut)
        assert caught.value.code == Code.TRUNCATED
