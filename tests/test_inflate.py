from __future__ import annotations

import time
import zlib

import drawing
import numpy as np
import pytest
from PIL import Image

from batch_fracture.codes import Code
from batch_fracture.decode import inflate
from batch_fracture.errors import ImageError

ROWS = bytes(range(256)) * 4000
STREAM = zlib.compress(ROWS)


def _code(pieces: list[bytes], needed_bytes: int) -> Code:
    with pytest.raises(ImageError) as caught:
        inflate.prove_stream(pieces, needed_bytes)
    return caught.value.code


def test_a_whole_stream_in_one_or_many_pieces() -> None:
    inflate.prove_stream([STREAM], len(ROWS))
    inflate.prove_stream([STREAM[at : at + 7] for at in range(0, len(STREAM), 7)], len(ROWS))
    inflate.prove_stream([], 0)


def test_a_stream_that_ends_early() -> None:
    assert _code([STREAM], len(ROWS) + 1) == Code.TRUNCATED
    assert _code([STREAM[:-100]], len(ROWS)) == Code.TRUNCATED
    assert _code([], 1) == Code.TRUNCATED


def test_a_damaged_stream() -> None:
    assert _code([b"no zlib"], 1) == Code.CORRUPT
    assert _code([STREAM[:-4] + b"\0\0\0\0"], len(ROWS)) == Code.CORRUPT  # its checksum


def test_a_stream_without_end_is_left_where_the_picture_is_full() -> None:
    endless = [zlib.compress(bytes(64 * 2**20))]
    inflate.prove_stream(endless, 1000)


@pytest.mark.parametrize(
    "image",
    [
        Image.fromarray(drawing.grey(33, 21)),
        Image.fromarray(drawing.grey(33, 21)).convert("1"),
        Image.fromarray(drawing.grey(33, 21)).convert("P"),
        Image.fromarray(drawing.grey(33, 21)).convert("LA"),
        Image.fromarray(drawing.grey(33, 21)).convert("RGBA"),
        Image.fromarray(drawing.grey(33, 21).astype(np.uint16)),
        Image.fromarray(drawing.grey(33, 21)).quantize(4),
    ],
)
def test_rows_of_every_kind_of_png_are_counted(image: Image.Image) -> None:
    content = drawing.saved(image, "PNG")
    inflate.prove_png(content)
    taller = content[:20] + (34).to_bytes(4) + content[24:]
    with pytest.raises(ImageError) as caught:
        inflate.prove_png(taller)
    assert caught.value.code == Code.TRUNCATED


def _raw(plain: bytes) -> memoryview:
    deflater = zlib.compressobj(wbits=-15)
    return memoryview(deflater.compress(plain) + deflater.flush())


def test_a_deflated_frame_holds_its_bytes_and_no_more() -> None:
    plain = bytes(range(256)) * 20
    assert inflate.inflate_frame(_raw(plain), len(plain)) == plain
    assert inflate.inflate_frame(memoryview(bytes(_raw(plain)) + b"\0"), len(plain)) == plain
    assert inflate.inflate_frame(_raw(plain + b"\0"), len(plain)) == plain + b"\0"
    for size, code in ((len(plain) + 1, Code.TRUNCATED), (len(plain) - 2, Code.CORRUPT), (10, Code.CORRUPT)):
        with pytest.raises(ImageError) as caught:
            inflate.inflate_frame(_raw(plain), size)
        assert caught.value.code == code
    for stream in (_raw(plain)[:-1], _raw(plain)[:40], memoryview(b"")):
        with pytest.raises(ImageError) as caught:
            inflate.inflate_frame(stream, len(plain))
        assert caught.value.code == Code.TRUNCATED
    with pytest.raises(ImageError) as caught:
        inflate.inflate_frame(memoryview(b"\x07 no deflate"), 10)
    assert caught.value.code == Code.CORRUPT


def test_a_large_piece_is_fed_in_small_ones() -> None:
    noise = np.random.default_rng(0).bytes(48 * 2**20)
    stored = zlib.compress(noise, 0)
    began = time.process_time()
    inflate.prove_stream([stored], len(noise))
    assert time.process_time() - began < 1.5
    assert _code([memoryview(stored)[:-10]], len(noise) + 1) == Code.TRUNCATED
