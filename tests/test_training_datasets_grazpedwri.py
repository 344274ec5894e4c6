"""GRAZPEDWRI-DX: 16-bit PNG files in four folders, groups by patient, fracture boxes out of nine classes."""

from pathlib import Path

import numpy as np
import pytest
from drawing import picture, saved

from training.contents import look
from training.datasets import grazpedwri
from training.problems import LabelsError

HEADER = (
    "filestem,patient_id,study_number,timehash,gender,age,laterality,projection,initial_exam,ao_classification,"
    "cast,diagnosis_uncertain,osteopenia,fracture_visible,metal,pixel_spacing,device_manufacturer\n"
)


def published(folder: Path, boxes: str = "yolov5/labels") -> Path:
    for number, part in ((1, "images_part1"), (2, "images_part4")):
        (folder / part).mkdir()
        deep_HW = picture(number).astype(np.uint16) * 200
        (folder / part / f"000{number}_1_01_WRI-L1_M011.png").write_bytes(saved(deep_HW, "PNG"))
    (folder / boxes).mkdir(parents=True)
    (folder / boxes / "0001_1_01_WRI-L1_M011.txt").write_text(
        "8 0.1 0.1 0.1 0.1\n3 0.5 0.6 0.2 0.1\n5 0.5 0.5 0.1 0.1\n"
    )
    (folder / "dataset.csv").write_text(
        HEADER
        + "0001_1_01_WRI-L1_M011,1,1,7,M,11.0,L,1,1.0,23r-M/2.1,,,,1.0,,0.144,Siemens\n"
        + "0002_1_01_WRI-L1_M011,2,1,7,M,11.0,L,1,1.0,,,,,,,0.144,Siemens\n"
        + "0003_1_01_WRI-L1_M011,2,1,7,M,11.0,L,1,1.0,,,,,,,0.144,Siemens\n"
    )
    return folder


@pytest.mark.parametrize("boxes", ["yolov5/labels", "folder_structure/yolov5/labels"])
def test_rows(tmp_path: Path, boxes: str) -> None:
    rows = grazpedwri.read(published(tmp_path, boxes))
    assert [(r.row, r.name, r.label, r.group, r.split, r.region, r.boxes) for r in rows] == [
        (2, "images_part1/0001_1_01_WRI-L1_M011.png", 1, "patient1", "", "wrist", ((0.5, 0.6, 0.2, 0.1),)),
        (3, "images_part4/0002_1_01_WRI-L1_M011.png", 0, "patient2", "", "wrist", ()),
        (4, "images_part1/0003_1_01_WRI-L1_M011.png", 0, "patient2", "", "wrist", ()),
    ]
    assert len(look(rows[1]).sha256) == 64
    assert not rows[2].path.exists()


def test_a_folder_without_boxes_is_refused(tmp_path: Path) -> None:
    published(tmp_path, "labels")
    with pytest.raises(LabelsError) as refused:
        grazpedwri.read(tmp_path)
    assert str(refused.value) == (
        f"labels {tmp_path}: no boxes; yolov5/labels or folder_structure/yolov5/labels must be there"
    )
