from __future__ import annotations

import io
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


def _file(
    plain: bytes, *, head: bytes = b"head", cut: int = 0, max_bytes: int = 2**30
) -> inflate.InflatingFile:
    stream = _raw(plain)
    return inflate.InflatingFile(head, stream[: len(stream) - cut], max_bytes)


def test_a_file_that_inflates_reads_like_any_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inflate, "_PIECE_BYTES", 100)
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
    monkeypatch.setattr(inflate, "_PIECE_BYTES", 100)
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
    monkeypatch.setattr(inflate, "_PIECE_BYTES", 1000)
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
