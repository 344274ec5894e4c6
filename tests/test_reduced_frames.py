"""Large frames are decoded at reduced resolution: what that does to scores."""

from __future__ import annotations

import csv
from pathlib import Path

import encoding
import imagecodecs
import numpy as np
import pytest
from PIL import Image

from batch_fracture import decode
from batch_fracture.bundle import open_bundle
from batch_fracture.decode.codecs import CODECS
from batch_fracture.decode.decoded import Decoded
from batch_fracture.engines import OPENVINO_FP32, open_engine
from batch_fracture.preprocess import letterbox, read_input
from batch_fracture.settings import ReadingSettings

MEAN_TOLERANCE = 0.03
"""Of the probability, over few radiographs; docs/dicom.md has 294. A shift by one pixel: 0.012."""


@pytest.mark.parametrize("times", [1, 2, 3])
def test_reduced_jpeg_2000_is_not_shifted(times: int) -> None:
    rows, columns = np.mgrid[0:512, 0:384]
    plane_HW = (5 * rows + 3 * columns).astype(np.uint16)
    codestream = imagecodecs.jpeg2k_encode(plane_HW, level=0, codecformat="J2K", bitspersample=12)
    decoded = CODECS[encoding.JPEG_2000](
        memoryview(codestream), encoding.image_pixel(plane_HW, bits_stored=12), 256 >> times
    )
    assert isinstance(decoded, Decoded)
    side = 2**times
    means_HW = plane_HW.reshape(512 // side, side, 384 // side, side).mean(axis=(1, 3))
    assert decoded.samples.shape == means_HW.shape
    assert abs((decoded.samples - means_HW)[4:-4, 4:-4]).max() <= 1.5


def _large_radiographs(shared: Path, count: int) -> list[np.ndarray]:
    with (shared / "radiographs" / "labels.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["split"] == "val"]
    pictures = []
    for row in rows[:: len(rows) // count][:count]:
        with Image.open(shared / "radiographs" / row["path"]) as image:
            grey = image.convert("L")
        scale = 2048 / max(grey.size)
        size = (round(grey.width * scale), round(grey.height * scale))
        pictures.append(np.asarray(grey.resize(size, Image.Resampling.LANCZOS)))
    return pictures


@pytest.mark.slow
@pytest.mark.parametrize("syntax", [encoding.JPEG_8, encoding.HTJ2K])
def test_scores_of_reduced_frames_agree(shared: Path, syntax: str) -> None:
    bundle = open_bundle("fracatlas-lite0")
    engine = open_engine(OPENVINO_FP32, bundle, num_threads=1)
    differences = []
    for picture_HW in _large_radiographs(shared, 16):
        encode = imagecodecs.jpeg8_encode if syntax == encoding.JPEG_8 else imagecodecs.htj2k_encode
        options = {"level": 92} if syntax == encoding.JPEG_8 else {"reversible": True}
        content = encoding.dicom(picture_HW, [encode(picture_HW, **options)], syntax)
        header = decode.read_header(content, ReadingSettings())
        reduced_SS = read_input(content, header, bundle.input)
        whole_SS = letterbox(decode.read_grey(content, header, min_long_side=10_000), bundle.input)
        first, second = bundle.calibration.probability(engine(np.stack([reduced_SS, whole_SS])))
        differences.append(abs(first - second))
    assert 0 < np.mean(differences) < MEAN_TOLERANCE
