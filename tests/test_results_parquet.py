from __future__ import annotations

import pyarrow as pa
import pytest

from batch_fracture.results.parquet import decode, encode


def test_rows_survive_and_columns_can_be_chosen() -> None:
    rows = pa.table({"a": [1, 2], "b": ["x", None]})
    assert decode(encode(rows)).equals(rows)
    assert decode(encode(rows), ["b"]).column_names == ["b"]


def test_damage_is_never_read() -> None:
    content = encode(pa.table({"a": list(range(1000))}))
    flipped = bytearray(content)
    flipped[len(content) // 3] ^= 0x10
    for damaged in (bytes(flipped), content[:-1], b""):
        with pytest.raises((OSError, pa.ArrowInvalid)):
            decode(damaged)
