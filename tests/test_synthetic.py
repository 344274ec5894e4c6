from __future__ import annotations

import csv
import hashlib
import io
from pathlib import Path

import numpy as np
import pydicom
import pytest
from PIL import Image

from batch_fracture import decode
from batch_fracture.codes import Code
from batch_fracture.errors import ImageError
from batch_fracture.settings import ReadingSettings
from batch_fracture.synthetic import SyntheticArchive, SyntheticFile, draw_archive, files, phantom
from batch_fracture.synthetic.anatomy import REGIONS

ODD = {
    "truncated": Code.TRUNCATED,
    "empty": Code.NOT_AN_IMAGE,
    "text": Code.NOT_AN_IMAGE,
    "corrupt": Code.CORRUPT,
    "animated": Code.ANIMATED,
    "multi-frame": Code.MULTI_FRAME,
    "ct": Code.NOT_A_RADIOGRAPH,
}


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> SyntheticArchive:
    return draw_archive(tmp_path_factory.mktemp("demo"), seed=3, num_images=20)


def _outcome(file: SyntheticFile) -> Code | None:
    content = file.path.read_bytes()
    try:
        decode.read_grey(content, decode.read_header(content, ReadingSettings()), min_long_side=512)
    except ImageError as error:
        return error.code
    return None


def _digests(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_every_kind_of_picture_and_every_oddity_is_drawn(archive: SyntheticArchive) -> None:
    assert set(archive.num_by_kind) == {*files.KINDS, *ODD}
    assert archive.num_by_outcome == {
        "read": 20,
        "TRUNCATED": 1,
        "NOT_AN_IMAGE": 2,
        "CORRUPT": 1,
        "ANIMATED": 1,
        "MULTI_FRAME": 1,
        "NOT_A_RADIOGRAPH": 1,
    }
    assert {file.fractured for file in archive.files if file.code is None} == {False, True}


def test_every_file_ends_as_the_archive_says(archive: SyntheticArchive) -> None:
    assert {file.path: _outcome(file) for file in archive.files} == {
        file.path: file.code for file in archive.files
    }


def test_the_images_folder_holds_the_listed_files_only(archive: SyntheticArchive) -> None:
    assert {path for path in archive.images.rglob("*") if path.is_file()} == {
        file.path for file in archive.files
    }


def test_the_same_seed_draws_the_same_bytes(archive: SyntheticArchive, tmp_path: Path) -> None:
    again = draw_archive(tmp_path, seed=3, num_images=20)
    assert _digests(again.images) == _digests(archive.images)


def test_another_seed_draws_other_pictures(archive: SyntheticArchive, tmp_path: Path) -> None:
    other = {
        file.path.read_bytes() for file in draw_archive(tmp_path, seed=4, num_images=4).files if not file.code
    }
    assert other.isdisjoint({file.path.read_bytes() for file in archive.files})


def test_drawing_again_leaves_the_files_alone(tmp_path: Path) -> None:
    first = draw_archive(tmp_path, num_images=3)
    written_at = {file.path: file.path.stat().st_mtime_ns for file in first.files}
    second = draw_archive(tmp_path, num_images=3)
    assert {file.path: file.path.stat().st_mtime_ns for file in second.files} == written_at


def test_a_larger_archive_begins_with_the_smaller_one(archive: SyntheticArchive, tmp_path: Path) -> None:
    smaller = _digests(draw_archive(tmp_path, seed=3, num_images=5).images)
    assert smaller.items() <= _digests(archive.images).items()


def test_reads_name_every_readable_picture_once(archive: SyntheticArchive) -> None:
    with archive.reads.open(newline="") as file:
        rows = list(csv.DictReader(file))
    readable = [file for file in archive.files if file.code is None]
    assert [row["image_uri"] for row in rows] == [str(file.path) for file in readable]
    assert {row["fracture"] for row in rows} == {"0", "1"}
    assert all(row["read_at"].endswith("+00:00") for row in rows)
    right = sum(
        row["fracture"] == str(int(bool(file.fractured))) for row, file in zip(rows, readable, strict=True)
    )
    assert 16 <= right <= 20


def test_dicom_objects_say_that_they_are_synthetic(archive: SyntheticArchive) -> None:
    for file in archive.files:
        if file.kind.startswith("dicom"):
            dataset = pydicom.dcmread(file.path)
            assert (dataset.PatientName, dataset.Manufacturer) == ("SYNTHETIC^PHANTOM", "Synthetic")
            for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"):
                assert dataset[keyword].value.startswith(f"{files.UID_ROOT}.3.")
            assert (dataset.BitsStored, dataset.BitsAllocated) == (12, 16)


def test_inverted_and_plain_radiographs_look_alike() -> None:
    shown_HW = phantom.draw(
        REGIONS[0],
        phantom.random_pose(np.random.default_rng(1), marker="R"),
        None,
        np.random.default_rng(1),
        pixels_per_mm=1,
    )
    tags = {"Modality": "CR", "SOPInstanceUID": "1.2.3"}
    greys = []
    for inverted in (False, True):
        content = files.radiograph(shown_HW, tags, inverted=inverted)
        greys.append(
            decode.read_grey(content, decode.read_header(content, ReadingSettings()), min_long_side=512)
        )
    assert np.abs(greys[0].astype(int) - greys[1].astype(int)).max() <= 1
    assert np.abs(greys[0] / 255.0 - shown_HW).max() < 0.005


def test_a_fracture_changes_the_picture_where_the_bone_is() -> None:
    region = REGIONS[4]
    pose = phantom.random_pose(np.random.default_rng(5), marker="R")
    fracture = phantom.random_fracture(np.random.default_rng(5), region)
    whole_HW, broken_HW = (
        phantom.draw(region, pose, broken, np.random.default_rng(5), pixels_per_mm=1)
        for broken in (None, fracture)
    )
    changed_HW = np.abs(whole_HW - broken_HW) > 0.1
    assert 0 < changed_HW.mean() < 0.2


def test_turned_jpeg_comes_upright(archive: SyntheticArchive) -> None:
    file = next(file for file in archive.files if file.kind == "jpeg-turned")
    content = file.path.read_bytes()
    stored = Image.open(io.BytesIO(content))
    grey_HW = decode.read_grey(content, decode.read_header(content, ReadingSettings()), min_long_side=10_000)
    assert stored.getexif()[0x0112] == 6
    assert grey_HW.shape == stored.size
    assert grey_HW.shape[0] > grey_HW.shape[1]
