from __future__ import annotations

import encoding
import imagecodecs
import numpy as np
import pytest

from batch_fracture.codes import Code
from batch_fracture.decode import jpeg_lossless, jpeg_stream
from batch_fracture.errors import ImageError

FLAT = np.full((40, 64), 1000, np.uint16)
WILD = np.random.default_rng(0).integers(0, 2**16, (33, 47), np.uint16)
SIGNED = (encoding.TWELVE.astype(np.int16) - 2000).view(np.uint16)


def _prove(codestream: bytes, samples: np.ndarray | None = None) -> None:
    whole = memoryview(codestream)
    decoded = imagecodecs.jpeg8_decode(codestream) if samples is None else samples
    jpeg_lossless.prove_complete(jpeg_stream.read_stream(whole), whole, decoded)


@pytest.mark.parametrize("predictor", range(1, 8))
@pytest.mark.parametrize("stored", [encoding.TWELVE, encoding.GREY, FLAT, WILD, SIGNED, encoding.COLOUR])
def test_the_bits_of_a_whole_frame_are_counted_exactly(
    predictor: int, stored: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    codestream = imagecodecs.jpeg8_encode(
        stored,
        lossless=True,
        predictor=predictor,
        bitspersample=8 * stored.itemsize,
        **({"colorspace": 2, "outcolorspace": 2} if stored.ndim == 3 else {}),
    )
    monkeypatch.setattr(jpeg_lossless, "_MAX_EXTRA_BYTES", 0)
    _prove(codestream)
    for missing in (1, 2, 3, 50):
        with pytest.raises(ImageError) as caught:
            _prove(codestream[: -2 - missing] + b"\xff\xd9")
        assert caught.value.code == Code.TRUNCATED
    with pytest.raises(ImageError) as caught:
        _prove(codestream[:-2] + b"\x11\xff\xd9")
    assert caught.value.code == Code.CORRUPT


def test_blocks_of_rows_make_no_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jpeg_lossless, "_BLOCK_PIXELS", 3 * encoding.TWELVE.shape[1])
    monkeypatch.setattr(jpeg_lossless, "_MAX_EXTRA_BYTES", 0)
    _prove(imagecodecs.jpeg8_encode(encoding.TWELVE, lossless=True, predictor=5, bitspersample=12))


def test_other_values_take_other_bits() -> None:
    codestream = imagecodecs.jpeg8_encode(encoding.TWELVE, lossless=True, bitspersample=12)
    with pytest.raises(ImageError) as caught:
        _prove(codestream, np.zeros_like(encoding.TWELVE))
    assert caught.value.code == Code.CORRUPT


def _with_restarts(rows: int, columns: int, interval_rows: int) -> bytes:
    """A frame of one value throughout: a zero difference is one bit, 0, whatever is predicted."""
    table = b"\xff\xc4\x00\x14\x00\x01" + bytes(15) + b"\x00"
    frame = b"\xff\xc3\x00\x0b\x08" + rows.to_bytes(2) + columns.to_bytes(2) + b"\x01\x01\x11\x00"
    restart = b"\xff\xdd\x00\x04" + (interval_rows * columns).to_bytes(2)
    piece = bytes(-(-interval_rows * columns // 8))
    pieces = [piece + bytes((0xFF, 0xD0 + number % 8)) for number in range(rows // interval_rows - 1)]
    scan = b"\xff\xda\x00\x08\x01\x01\x00\x01\x00\x00"
    return b"\xff\xd8" + table + frame + restart + scan + b"".join([*pieces, piece]) + b"\xff\xd9"


def test_restarts_begin_anew() -> None:
    codestream = _with_restarts(12, 10, 3)
    samples = np.full((12, 10), 128, np.uint8)
    _prove(codestream, samples)
    assert (imagecodecs.jpeg8_decode(codestream) == samples).all()
    cut = codestream.replace(b"\xff\xd1", b"", 1)
    with pytest.raises(ImageError) as caught:
        _prove(cut, samples)
    assert caught.value.code == Code.TRUNCATED
    with pytest.raises(ImageError) as caught:
        _prove(codestream.replace(b"\xff\xdd\x00\x04\x00\x1e", b"\xff\xdd\x00\x04\x00\x07"), samples)
    assert caught.value.code == Code.UNSUPPORTED


def test_a_scan_without_its_table_is_corrupt() -> None:
    codestream = _with_restarts(12, 10, 3).replace(b"\xff\xc4\x00\x14\x00", b"\xff\xc4\x00\x14\x01")
    with pytest.raises(ImageError) as caught:
        _prove(codestream, np.full((12, 10), 128, np.uint8))
    assert caught.value.code == Code.CORRUPT
