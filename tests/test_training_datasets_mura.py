"""MURA: an image has its study's label, its patient's group, and its region."""

from pathlib import Path

import pytest

from training.datasets import mura
from training.problems import LabelsError

STUDIES = {
    "train": {"XR_ELBOW/patient00011/study1_negative/": 0, "XR_WRIST/patient00011/study1_positive/": 1},
    "valid": {"XR_HAND/patient11185/study2_positive/": 1},
}


def published(folder: Path, top: str = "MURA-v1.1/") -> Path:
    for split, studies in STUDIES.items():
        (folder / f"{split}_labeled_studies.csv").write_text(
            "".join(f"{top}{split}/{study},{label}\n" for study, label in studies.items())
        )
        (folder / f"{split}_image_paths.csv").write_text(
            "".join(f"{top}{split}/{study}image{number}.png\n" for study in studies for number in (1, 2))
        )
    return folder


@pytest.mark.parametrize("top", ["MURA-v1.1/", ""])
def test_rows(tmp_path: Path, top: str) -> None:
    rows = mura.read(published(tmp_path, top))
    assert [(r.row, r.name, r.label, r.group, r.split, r.region) for r in rows] == [
        (2, "train/XR_ELBOW/patient00011/study1_negative/image1.png", 0, "patient00011", "train", "elbow"),
        (3, "train/XR_ELBOW/patient00011/study1_negative/image2.png", 0, "patient00011", "train", "elbow"),
        (4, "train/XR_WRIST/patient00011/study1_positive/image1.png", 1, "patient00011", "train", "wrist"),
        (5, "train/XR_WRIST/patient00011/study1_positive/image2.png", 1, "patient00011", "train", "wrist"),
        (6, "valid/XR_HAND/patient11185/study2_positive/image1.png", 1, "patient11185", "val", "hand"),
        (7, "valid/XR_HAND/patient11185/study2_positive/image2.png", 1, "patient11185", "val", "hand"),
    ]
    assert rows[0].path == tmp_path / rows[0].name


@pytest.mark.parametrize(
    ("name", "line", "message"),
    [
        (
            "train_image_paths.csv",
            "MURA-v1.1/train/XR_HAND/patient00012/study1_negative/image1.png",
            "row 5: train/XR_HAND/patient00012/study1_negative/ is not among train_labeled_studies.csv",
        ),
        (
            "valid_image_paths.csv",
            "image1.png",
            "row 3: 'image1.png' is not as in train/XR_ELBOW/patient00011/study1_negative/",
        ),
        (
            "train_labeled_studies.csv",
            "MURA-v1.1/train/XR_HAND/patient00012/study1_negative/,no",
            "row 3: label 'no' is neither 0 nor 1",
        ),
        (
            "train_labeled_studies.csv",
            "MURA-v1.1/train/XR_HAND/patient00012/study1_negative/",
            "row 3: fewer values than columns",
        ),
    ],
)
def test_values_that_mean_nothing(tmp_path: Path, name: str, line: str, message: str) -> None:
    published(tmp_path)
    with (tmp_path / name).open("a") as file:
        file.write(f"{line}\n")
    with pytest.raises(LabelsError) as refused:
        mura.read(tmp_path)
    assert str(refused.value) == f"labels {tmp_path}/{name}: {message}"


def test_what_the_label_means_is_said() -> None:
    assert "STUDY IS ABNORMAL, fractured or not" in mura.LAYOUT.about
