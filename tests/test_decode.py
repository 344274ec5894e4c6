from __future__ import annotations

import subprocess
import sys
import tracemalloc
from collections import Counter
from dataclasses import asdict
from pathlib import Path

import drawing
import numpy as np
import pyarrow as pa
import pytest
from PIL import Image, PngImagePlugin

from batch_fracture import decode, schema
from batch_fracture.codes import Code
from batch_fracture.decode import ImageHeader
from batch_fracture.errors import ImageError
from batch_fracture.settings import ReadingSettings

FILES = drawing.one_of_each()
SETTINGS = ReadingSettings()
MUTATIONS = 200


def _decode(content: bytes) -> tuple[ImageHeader, drawing.Grey]:
    header = decode.read_header(content, SETTINGS)
    return header, decode.read_grey(content, header, min_long_side=32)


def _error(content: bytes, settings: ReadingSettings = SETTINGS) -> ImageError:
    with pytest.raises(ImageError) as caught:
        decode.read_grey(content, decode.read_header(content, settings), min_long_side=32)
    return caught.value


def _mutated(content: bytes, rng: np.random.Generator) -> bytes:
    """Some bytes changed, a length field blown up, a piece missing, or a tail of noise."""
    changed = bytearray(content)
    kind, at = int(rng.integers(5)), int(rng.integers(len(content)))
    if kind == 0:
        for place in rng.integers(len(changed), size=int(rng.integers(1, 6))):
            changed[place] = rng.integers(256)
    elif kind == 1:
        changed[at % 500 % len(changed)] = rng.choice([0x00, 0x01, 0x7F, 0x80, 0xFF])
    elif kind == 2:
        start = at % 700 % len(changed)
        changed[start : start + 4] = rng.bytes(4)
    elif kind == 3:
        del changed[at : at + int(rng.integers(1, 60))]
    else:
        changed[at:] = rng.bytes(int(rng.integers(1, 600)))
    return bytes(changed)


@pytest.mark.parametrize("name", FILES)
def test_every_kind_of_file_is_read(name: str) -> None:
    header, grey_HW = _decode(FILES[name])
    assert (header.rows, header.columns) == (48, 40)
    turned = name in (
        "jpeg-progressive",
        "png-alpha",
        "tiff-deflate",
        "webp-lossless",
    )  # these carry orientation 6
    assert grey_HW.shape == ((40, 48) if turned else (48, 40))
    assert grey_HW.dtype == np.uint8
    assert grey_HW.flags.c_contiguous


@pytest.mark.parametrize("name", FILES)
def test_mutated_files_end_in_pixels_or_a_code(name: str) -> None:
    rng = np.random.default_rng(list(name.encode()))
    outcomes: Counter[str] = Counter()
    for _ in range(MUTATIONS):
        try:
            header, grey_HW = _decode(_mutated(FILES[name], rng))
        except ImageError as error:
            assert error.code in Code
            assert error.message.isprintable()
            outcomes[error.code] += 1
        else:
            assert grey_HW.ndim == 2
            for column, value in asdict(header).items():
                assert pa.scalar(value, schema.READINGS.field(column).type).as_py() == value
            outcomes["read"] += 1
    assert outcomes.total() == MUTATIONS
    assert outcomes["read"] < MUTATIONS * 0.8


@pytest.mark.parametrize("name", FILES)
def test_cut_files_are_never_read(name: str) -> None:
    content = FILES[name]
    sizes = {*range(1, 132, 5), *range(132, len(content), 53), len(content) - 2, len(content) - 1}
    codes = {size: _error(content[:size]).code for size in sorted(sizes) if size < len(content)}
    assert set(codes.values()) <= {Code.NOT_AN_IMAGE, Code.TRUNCATED, Code.CORRUPT}
    assert codes[len(content) - 1] == Code.TRUNCATED
    late = {code for size, code in codes.items() if size >= 600}
    assert late <= {Code.TRUNCATED}


@pytest.mark.parametrize(
    ("content", "code", "message"),
    [
        (b"", Code.NOT_AN_IMAGE, "the content is application/x-empty"),
        (b"see the other disk\n", Code.NOT_AN_IMAGE, "the content is text/plain"),
        (b"%PDF-1.7\n", Code.NOT_AN_IMAGE, "the content is application/pdf"),
        (bytes(1000), Code.NOT_AN_IMAGE, "the content is application/octet-stream"),
        (b"\xff\x4f\xff\x51" + bytes(100), Code.UNSUPPORTED, "image/jp2 is not supported"),
        (b"\0\0\0\x20ftypavif" + bytes(100), Code.UNSUPPORTED, "image/avif is not supported"),
    ],
)
def test_what_is_no_image_here(content: bytes, code: Code, message: str) -> None:
    error = _error(content)
    assert (error.code, error.message) == (code, message)


def test_the_limit_of_pixels_is_a_setting() -> None:
    assert _decode(FILES["png"])[0].rows == 48
    error = _error(FILES["png"], ReadingSettings(max_pixels=48 * 40 - 1))
    assert (error.code, error.message) == (Code.TOO_LARGE, "48 x 40 pixels are more than the limit of 1,919")


HUGE = {
    "png": drawing.png(60_000, 60_000, raw=bytes(60_001 * 10)),
    "jpeg": FILES["jpeg"].replace(b"\x00\x30\x00\x28", b"\xea\x60\xea\x60"),
    "tiff": drawing.with_tiff_tag(
        drawing.with_tiff_tag(drawing.saved(drawing.grey(), "TIFF", compression="tiff_lzw"), 256, 60_000),
        278,
        60_000,
    ),
    "gif": FILES["gif"][:6] + b"\x60\xea\x60\xea" + FILES["gif"][10:],
    "webp": drawing.saved(Image.new("RGB", (16_383, 8_000)), "WEBP", method=0),
    "dicom": drawing.dicom(drawing.grey(), Rows=60_000, Columns=60_000),
}
HUGE["tiff"] = drawing.with_tiff_tag(HUGE["tiff"], 257, 60_000)


@pytest.mark.parametrize("name", HUGE)
def test_a_header_that_claims_too_much_costs_no_memory(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(HUGE[name])
    script = """
import sys
from pathlib import Path
from batch_fracture import decode
from batch_fracture.decode import dicom, raster
from batch_fracture.errors import ImageError
from batch_fracture.settings import ReadingSettings

def peak_kib():
    return int(next(line for line in open("/proc/self/status") if line.startswith("VmHWM")).split()[1])

content = Path(sys.argv[1]).read_bytes()
before = peak_kib()
try:
    decode.read_header(content, ReadingSettings())
except ImageError as error:
    print(error.code, peak_kib() - before < 30 * 1024)
"""
    answer = subprocess.run(
        [sys.executable, "-c", script, str(path)], capture_output=True, text=True, check=True
    )
    assert answer.stdout == "TOO_LARGE True\n"


def test_a_large_16_bit_image_costs_little_more_than_itself() -> None:
    stored_HW = np.add.outer(np.arange(3000), np.arange(2000)).astype(np.uint16)
    content = drawing.dicom(stored_HW)
    header = decode.read_header(content, SETTINGS)
    tracemalloc.start()
    decode.read_grey(content, header, min_long_side=640)
    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak_bytes < 4 * stored_HW.nbytes


def test_no_text_of_a_file_gets_into_header_or_message() -> None:
    exif = Image.Exif()
    exif[0x010E] = exif[0x013B] = "MARKER"
    notes = PngImagePlugin.PngInfo()
    notes.add_text("Comment", "MARKER" * 20)
    notes.add_itxt("XML:com.adobe.xmp", "<x>MARKER</x>")
    picture_HW = drawing.grey()
    contents = [
        drawing.saved(picture_HW, "JPEG", exif=exif, comment=b"MARKER"),
        drawing.saved(picture_HW, "PNG", pnginfo=notes, exif=exif),
        drawing.saved(picture_HW, "TIFF", tiffinfo={270: "MARKER MARKER", 315: "MARKER"}),
        drawing.saved(picture_HW, "GIF", comment=b"MARKER"),
        drawing.saved(picture_HW, "WEBP", exif=exif, xmp=b"MARKER"),
    ]
    rng = np.random.default_rng(0)
    for content in contents:
        assert b"MARKER" in content
        assert "MARKER" not in repr(_decode(content)[0])
        for _ in range(150):
            try:
                header = _decode(_mutated(content, rng))[0]
                assert "MARKER" not in repr(header)
            except ImageError as error:
                assert "MARKER" not in error.message
