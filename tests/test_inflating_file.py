from __future__ import annotations

import io
import zlib

import numpy as np
import pytest

from batch_fracture.codes import Code
from batch_fracture.decode import inflating_file
from batch_fracture.errors import ImageError


def _file(
    plain: bytes, *, head: bytes = b"head", cut: int = 0, max_bytes: int = 2**30
) -> inflating_file.InflatingFile:
    deflater = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    stream = memoryview(deflater.compress(plain) + deflater.flush())
    return inflating_file.InflatingFile(head, stream[: len(stream) - cut], max_bytes)


def test_a_file_that_inflates_reads_like_any_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inflating_file, "_PIECE_BYTES", 100)
    rng = np.random.default_rng(0)
    plain = rng.integers(0, 20, 5000, np.uint8).tobytes()
    file, like = _file(plain), io.BytesIO(b"head" + plain)
    for place, size in rng.integers(0, 5200, (60, 2)).tolist():
        assert (file.seek(place), like.seek(place)) == (place, place)
        assert file.read(size // 40) == like.read(size // 40)
        assert file.tell() == like.tell()
    assert _file(plain).read() == b"head" + plain
    assert _file(plain).complete(len(plain) + 4) == b"head" + plain


def test_no_more_is_inflated_than_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inflating_file, "_PIECE_BYTES", 100)
    plain = np.random.default_rng(0).integers(0, 256, 5000, np.uint8).tobytes()
    damaged = _file(plain, cut=2000)
    assert damaged.read(1000) == (b"head" + plain)[:1000]
    for read in (lambda: damaged.read(4500), lambda: damaged.complete(1000)):
        with pytest.raises(ImageError) as caught:
            read()
        assert caught.value.code == Code.TRUNCATED


@pytest.mark.parametrize("cut", [1, 2, 3, 50])
def test_a_stream_without_its_end_is_truncated(cut: int) -> None:
    with pytest.raises(ImageError) as caught:
        _file(bytes(range(256)) * 9, cut=cut).complete(100)
    assert caught.value.code == Code.TRUNCATED


def test_what_follows_the_pixels_is_counted_and_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inflating_file, "_PIECE_BYTES", 1000)
    plain = bytes(1_000_000)
    assert len(_file(plain).complete(4000)) < 10_000
    assert len(_file(plain, max_bytes=1_000_004).complete(4000)) < 10_000
    for max_bytes in (1_000_003, 3000, 4, 1):
        with pytest.raises(ImageError) as caught:
            _file(plain, max_bytes=max_bytes).complete(4000)
        assert caught.value.code == Code.TOO_LARGE
    with pytest.raises(ImageError) as caught:
        _file(plain, max_bytes=1_000_003).read()
    assert caught.value.code == Code.TOO_LARGE
