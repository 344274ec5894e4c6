"""Every file of ../shared/dicom against its manifest; writes the table of docs/dicom.md when told to.

BATCH_FRACTURE_WRITE_DOCS=1 python -m pytest tests/test_dicom_manifest.py
"""

from __future__ import annotations

import csv
import hashlib
import json
import os
from collections import Counter
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from conftest import SHARED
from pydicom.uid import UID

from batch_fracture import decode
from batch_fracture.codes import Code
from batch_fracture.decode import dicom_object, encapsulated, frames, image_pixel
from batch_fracture.decode.codecs import CODECS
from batch_fracture.errors import ImageError
from batch_fracture.settings import ReadingSettings

MANIFEST = SHARED / "dicom" / "manifest.csv"
ROWS = list(csv.DictReader(MANIFEST.read_text().splitlines())) if MANIFEST.is_file() else []
PATHS = [row["path"] for row in ROWS]
BY_PATH = {row["path"]: row for row in ROWS}
DOCUMENT = Path(__file__).parents[1] / "docs" / "dicom.md"
BEGIN, END = "<!-- coverage: begin -->\n", "<!-- coverage: end -->"
ANY = ReadingSettings(modalities=("all",))
LOSSY_JPEG = {f"1.2.840.10008.1.2.4.{number}" for number in (50, 51, 53, 55)}
GREY_TOLERANCE, COLOUR_TOLERANCE = 1, 4
"""In stored values, against another decoder (pylibjpeg): rounding of the cosine transform; and of chroma."""
MEANS = json.loads((Path(__file__).parent / "lossy_means.json").read_text())
"""Of a lossy JPEG's first frame by pylibjpeg: means of 4 x 4 fields, by channel."""
NOT_LISTED = {"": "no file header", "1.2.840.10008.1.2.8.1": "Deflated Image Frame Compression"}
HOW = {
    "1.2": "view of the bytes",
    "1.2.1": "view of the bytes",
    "1.2.1.99": "zlib, then a view",
    "1.2.2": "bytes swapped",
    "1.2.4.201": "OpenJPEG",
    "1.2.4.203": "OpenJPEG",
    "1.2.4.50": "libjpeg-turbo, strict",
    "1.2.4.51": "libjpeg-turbo, strict or twice",
    "1.2.4.53": "libjpeg-turbo, twice",
    "1.2.4.55": "libjpeg-turbo, twice",
    "1.2.4.57": "libjpeg-turbo, bits counted",
    "1.2.4.70": "libjpeg-turbo, bits counted",
    "1.2.4.80": "CharLS, twice",
    "1.2.4.81": "CharLS, twice",
    "1.2.4.90": "OpenJPEG",
    "1.2.4.91": "OpenJPEG",
    "1.2.5": "PackBits",
    "1.2.8.1": "zlib, then a view",
    "": "as its elements show",
}


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of a file: frames, or why not."""

    frames: tuple[np.ndarray, ...] = ()
    code: Code | None = None


@cache
def _outcome(path: str) -> Outcome:
    content = (SHARED / "dicom" / path).read_bytes()
    try:
        decode.read_header(content, ANY)
    except ImageError as error:
        if error.code != Code.MULTI_FRAME:
            return Outcome(code=error.code)
    try:
        dataset = dicom_object.parse(content)
        syntax = dicom_object.transfer_syntax(content, dataset)
        num = dicom_object.guard(lambda: dicom_object.number(dataset, "NumberOfFrames")) or 1
        return Outcome(
            frames=tuple(frames.stored_frame(content, dataset, syntax, index=index) for index in range(num))
        )
    except ImageError as error:
        return Outcome(code=error.code)


def _digest(outcome: Outcome) -> str:
    return hashlib.sha256(b"".join(np.ascontiguousarray(frame) for frame in outcome.frames)).hexdigest()


def _is_equal(row: dict[str, str]) -> bool:
    return _digest(_outcome(row["path"])) == row["decoded_sha256"]


def _means(frame: np.ndarray) -> list[float]:
    parts = min(4, frame.shape[0])
    bands = np.array_split(frame.astype(np.float64), parts, axis=0)
    fields = [field for band in bands for field in np.array_split(band, parts, axis=1)]
    return [float(mean) for field in fields for mean in np.atleast_1d(field.mean(axis=(0, 1)))]


@pytest.mark.parametrize("path", PATHS)
def test_the_frames_are_those_of_the_manifest(path: str) -> None:
    row, outcome = BY_PATH[path], _outcome(path)
    if row["expected"] == "should be rejected":
        assert outcome.code in {Code.NOT_A_RADIOGRAPH, Code.NOT_AN_IMAGE, Code.TRUNCATED, Code.CORRUPT}
        return
    if row["expected"] == "decoder-dependent":
        assert outcome.frames or outcome.code in {Code.TRUNCATED, Code.CORRUPT, Code.UNSUPPORTED}
        return
    shape = [int(side) for side in row["decoded_shape"].split("x")]
    stacked = np.stack(outcome.frames) if int(row["frames"]) > 1 else outcome.frames[0]
    assert (list(stacked.shape), stacked.dtype) == (shape, np.dtype(row["decoded_dtype"]).newbyteorder("="))
    if row["transfer_syntax_uid"] not in LOSSY_JPEG:
        assert _is_equal(row)
        return
    tolerance = GREY_TOLERANCE if row["samples_per_pixel"] == "1" else COLOUR_TOLERANCE
    assert abs(int(stacked.min()) - int(row["decoded_min"])) <= tolerance
    assert abs(int(stacked.max()) - int(row["decoded_max"])) <= tolerance
    np.testing.assert_allclose(_means(outcome.frames[0]), MEANS[path], rtol=0, atol=tolerance / 4)


def test_the_manifest_is_whole(shared: Path) -> None:
    assert Counter(row["expected"] for row in ROWS) == {
        "decodes": 110,
        "decoder-dependent": 14,
        "should be rejected": 18,
    }
    assert {row["path"] for row in ROWS if row["transfer_syntax_uid"] in LOSSY_JPEG} >= set(MEANS)


def _codestreams() -> list[tuple[str, str]]:
    return [
        (row["path"], row["transfer_syntax_uid"])
        for row in ROWS
        if row["transfer_syntax_uid"] in CODECS
        and _outcome(row["path"]).frames
        and int(row["rows"]) * int(row["cols"]) <= 1_100_000
    ]


def _first(path: str) -> tuple[bytes, image_pixel.ImagePixel]:
    content = (SHARED / "dicom" / path).read_bytes()
    dataset = dicom_object.parse(content)
    pixel = image_pixel.read_image_pixel(dataset)
    element = encapsulated.pixel_data(*dicom_object.plain_bytes(content, dataset), dataset)
    return bytes(encapsulated.read_frame(element, dataset, index=0, frames=pixel.frames)), pixel


@pytest.mark.parametrize(("path", "syntax"), _codestreams())
def test_a_real_frame_cut_at_ten_places_is_never_read(path: str, syntax: str) -> None:
    codestream, pixel = _first(path)
    has_marker = CODECS[syntax].__name__ in ("jpeg", "jpeg_2000")
    for tenth in range(10):
        size = len(codestream) * (tenth + 0.5) / 10
        for closing in (b"", b"\xff\xd9") if has_marker else (b"",):
            with pytest.raises(ImageError) as caught:
                CODECS[syntax](memoryview(codestream[: int(size)] + closing), pixel, None)
            assert caught.value.code in (Code.TRUNCATED, Code.CORRUPT)


def _name(syntax: str) -> str:
    return NOT_LISTED.get(syntax) or UID(syntax).name.partition(" (")[0]


def _table() -> str:
    lines = [
        "| transfer syntax | decoded by | files | equal | near | refused | open: read | open: refused |",
        "|---|---|--:|--:|--:|--:|--:|--:|",
    ]
    totals: Counter[str] = Counter()
    for syntax in sorted({row["transfer_syntax_uid"] for row in ROWS}):
        counts: Counter[str] = Counter()
        for row in (row for row in ROWS if row["transfer_syntax_uid"] == syntax):
            counts["files"] += 1
            is_read = bool(_outcome(row["path"]).frames)
            if row["expected"] == "decodes":
                counts["equal" if _is_equal(row) else "near"] += 1
            elif row["expected"] == "should be rejected":
                counts["refused"] += not is_read
            else:
                counts["open read" if is_read else "open refused"] += 1
        totals += counts
        short = syntax.removeprefix("1.2.840.10008.")
        shown = f"{_name(syntax)}, `{syntax}`" if syntax else _name(syntax)
        lines.append(f"| {shown} | {HOW[short]} | {_cells(counts)} |")
    lines.append(f"| **all** | | {_cells(totals)} |")
    return "\n".join(lines) + "\n"


def _cells(counts: Counter[str]) -> str:
    columns = ("files", "equal", "near", "refused", "open read", "open refused")
    return " | ".join(str(counts[column] or "") for column in columns)


def test_the_table_in_the_document_is_this_one(shared: Path) -> None:
    text = DOCUMENT.read_text()
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    expected = before + BEGIN + _table() + END + after
    if os.environ.get("BATCH_FRACTURE_WRITE_DOCS"):
        DOCUMENT.write_text(expected)
    assert text == expected or os.environ.get("BATCH_FRACTURE_WRITE_DOCS"), (
        "docs/dicom.md is stale: BATCH_FRACTURE_WRITE_DOCS=1 python -m pytest tests/test_dicom_manifest.py"
    )
