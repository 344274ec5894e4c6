from __future__ import annotations

import re
import time

import drawing
import encoding
import imagecodecs
import numpy as np
import pytest

from batch_fracture.codes import Code
from batch_fracture.decode import jpeg_stream
from batch_fracture.errors import ImageError

BASELINE = imagecodecs.jpeg8_encode(encoding.GREY, 90)
PROGRESSIVE = drawing.saved(encoding.COLOUR, "JPEG", progressive=True)


def _error(stream: bytes) -> ImageError:
    with pytest.raises(ImageError) as caught:
        jpeg_stream.read_stream(memoryview(stream))
    return caught.value


def test_what_the_markers_say() -> None:
    stream = jpeg_stream.read_stream(memoryview(BASELINE + b"\0"))
    assert (stream.process, stream.precision, stream.rows, stream.columns) == (0xC0, 8, 160, 136)
    assert (stream.components, len(stream.scans), stream.length) == ((1,), 1, len(BASELINE))
    assert stream.has_jfif
    assert BASELINE[stream.scans[0].stop :] == b"\xff\xd9"


def test_progressive_and_lossless_scans() -> None:
    stream = jpeg_stream.read_stream(memoryview(PROGRESSIVE))
    assert stream.process == jpeg_stream.PROGRESSIVE
    assert len(stream.scans) > 6
    lossless = jpeg_stream.read_stream(memoryview(encoding.one_of_each()["lossless"][2]))
    assert (lossless.process, lossless.precision, lossless.scans[0].first) == (0xC3, 16, 1)
    lengths = lossless.scans[0].tables[0, lossless.scans[0].dc_tables[0]]
    assert sum(2.0**-bits for bits in lengths.values()) <= 1  # Kraft


def test_an_adobe_segment_tells_the_colours() -> None:
    rgb = drawing.saved(drawing.frames(1)[0].convert("CMYK"), "JPEG")
    assert jpeg_stream.read_stream(memoryview(rgb)).adobe_transform == 0
    short = rgb.replace(b"\xff\xee\x00\x0eAdobe", b"\xff\xee\x00\x0eAdobX")
    assert jpeg_stream.read_stream(memoryview(short)).adobe_transform is None


def test_a_progressive_frame_closed_between_scans_is_truncated() -> None:
    stream = jpeg_stream.read_stream(memoryview(PROGRESSIVE))
    for scan in stream.scans[:-1]:
        error = _error(PROGRESSIVE[: scan.stop] + b"\xff\xd9")
        assert (error.code, error.message) == (Code.TRUNCATED, "the compressed frame lacks scans")


def test_every_cut_lacks_its_end() -> None:
    for size in (*range(2, 700), len(BASELINE) // 2, len(BASELINE) - 1):
        assert _error(BASELINE[:size]).code == Code.TRUNCATED


@pytest.mark.parametrize(
    "stream",
    [
        b"",
        b"\x89PNG\r\n",
        b"\xff\xd8\xff\xd9",
        b"\xff\xd8\0\0\0\0",
        b"\xff\xd8\xff\xe0\0\0\0\0",
        b"\xff\xd8\xff\xda\0\x08\x01\x01\0\0\x3f\0" + BASELINE[-200:],
        BASELINE[:2] + BASELINE[2 : BASELINE.find(b"\xff\xda")] * 2 + BASELINE[-2:],
    ],
)
def test_what_is_no_jpeg_is_corrupt(stream: bytes) -> None:
    assert _error(stream).code == Code.CORRUPT


@pytest.mark.parametrize("block_bytes", [1, 2, 3, 64, 2**16])
@pytest.mark.parametrize(
    ("no_markers", "pattern"),
    [
        (jpeg_stream._NO_MARKERS, rb"\xff+[\x01-\xcf\xd8-\xfe]"),
        (jpeg_stream._NO_MARKERS_LS, rb"\xff+[\x80-\xfe]"),
    ],
)
def test_a_scan_ends_at_the_first_marker(
    block_bytes: int, no_markers: np.ndarray, pattern: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jpeg_stream, "_BLOCK_BYTES", block_bytes)
    rng = np.random.default_rng(0)
    likely = np.array([0xFF, 0xFF, 0x00, 0x7F, 0xD0, 0xD7, 0x80, 0xD9, 0x01, 0x11, 0x33, 0x00], np.uint8)
    for length in (0, 1, 2, *range(3, 60)):
        stream = memoryview(rng.choice(likely[: 5 + length % 8], length).tobytes())
        start = int(rng.integers(0, length + 1))
        found = re.compile(pattern, re.DOTALL).search(stream, start)
        expected = None if found is None else found.start()
        assert jpeg_stream._end_of_scan(stream, start, no_markers) == expected


def test_pairs_are_counted() -> None:
    entropy = b"\xff\x00\xff\xff\x00\xff\xd0\x00\xff\xd7\xff\xd8\xff"
    assert jpeg_stream.count_pairs(memoryview(entropy), 0x00, 0x00) == 2
    assert jpeg_stream.count_pairs(memoryview(entropy), 0xD0, 0xD7) == 2
    assert jpeg_stream.count_pairs(memoryview(b""), 0x00, 0x00) == 0


@pytest.mark.parametrize("end", [b"\0", b"\xd9"])
def test_a_long_run_of_fill_bytes_takes_no_time(end: bytes) -> None:
    scan = BASELINE.rfind(b"\xff\xd9")
    filled = BASELINE[:scan] + b"\xff" * 200_000 + end + BASELINE[scan:]
    began = time.process_time()
    stream = jpeg_stream.read_stream(memoryview(filled))
    assert time.process_time() - began < 1
    assert stream.scans[0].stop == (scan if end == b"\xd9" else scan + 200_001)


@pytest.mark.parametrize("marker", [0x00, 0x01, 0xD0, 0xD7])
def test_no_frame_header_hides_behind_what_has_no_length(marker: int) -> None:
    at = BASELINE.find(b"\xff\xc0")
    hidden = b"\xff\xc0\x00\x0b\x08\x75\x30\x75\x30\x01\x01\x11\x00"
    smuggled = BASELINE[:at] + bytes((0xFF, marker, 0, 2 + len(hidden))) + hidden + BASELINE[at:]
    assert _error(smuggled).code == Code.CORRUPT


def test_restarts_and_tem_between_segments_are_passed_over() -> None:
    at = BASELINE.find(b"\xff\xc0")
    stream = jpeg_stream.read_stream(memoryview(BASELINE[:at] + b"\xff\x01\xff\xd3" + BASELINE[at:]))
    assert (stream.rows, stream.columns) == (160, 136)
