"""MURA v1.1: labels belong to studies, and say "abnormal", which is more than "fractured".

MURA-v1.1/train_image_paths.csv       MURA-v1.1/train/XR_ELBOW/patient00011/study1_negative/image1.png
MURA-v1.1/train_labeled_studies.csv   MURA-v1.1/train/XR_ELBOW/patient00011/study1_negative/,0
MURA-v1.1/valid_...                   likewise; none has a header

P. Rajpurkar et al., "MURA: Large Dataset for Abnormality Detection in Musculoskeletal Radiographs" (2018),
arXiv 1712.06957. Fractures, hardware, degenerative joints and lesions all count as abnormal there.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from training.datasets.layout import Found, Layout, is_set, numbered, records
from training.labels import LabelledImage
from training.problems import LabelsError

_SPLITS = {"train": "train", "valid": "val"}
_PATH = re.compile(r"(?:[^/]+/)?((?:train|valid)/XR_([A-Z]+)/(patient\d+)/study\d+_\w+/)([^/]*)")
"""A folder that everything may lie in, the study's folder, its region, its patient, and the image."""


def read(folder: Path) -> list[LabelledImage]:
    """The rows of a MURA folder: each image has its study's label, a group is a patient, `valid` is `val`.

    Args:
        folder: holds the four CSV files.

    Raises:
        LabelsError: a file is not as described above, or an image belongs to no labelled study.
    """
    return numbered(folder, [image for split in _SPLITS for image in _found(folder, split)])


def _found(folder: Path, split: str) -> Iterator[Found]:
    studies = folder / f"{split}_labeled_studies.csv"
    label_of = {
        _parts(studies, row, record["study"])[1]: int(is_set(studies, row, "label", record["label"]))
        for row, record in records(studies, ("study", "label"), header=False)
    }
    images = folder / f"{split}_image_paths.csv"
    for row, record in records(images, ("image",), header=False):
        path = _parts(images, row, record["image"])
        if path[1] not in label_of:
            raise LabelsError(f"labels {images}: row {row}: {path[1]} is not among {studies.name}")
        yield Found(
            name=path[1] + path[4],
            label=label_of[path[1]],
            group=path[3],
            split=_SPLITS[split],
            region=path[2].lower(),
        )


def _parts(table: Path, row: int, path: str) -> re.Match[str]:
    found = _PATH.fullmatch(path)
    if not found:
        raise LabelsError(
            f"labels {table}: row {row}: {path!r} is not as in train/XR_ELBOW/patient00011/study1_negative/"
        )
    return found


LAYOUT = Layout(
    name="mura",
    marks=("train_image_paths.csv", "train_labeled_studies.csv", "valid_image_paths.csv"),
    read=read,
    about="MURA v1.1: Rajpurkar et al., arXiv 1712.06957; Stanford's research agreement applies. Label 1 "
    "means that the STUDY IS ABNORMAL, fractured or not; each of its images has it, shown there or not.",
)
