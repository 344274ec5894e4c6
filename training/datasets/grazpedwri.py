"""GRAZPEDWRI-DX: wrists of children, one row an image, boxes in YOLO's form.

dataset.csv                           filestem, patient_id, ..., fracture_visible (1 or empty), ...
images_part1/ ... images_part4/       FILESTEM.png, 16 bits
yolov5/labels/ (also below folder_structure/)   FILESTEM.txt; nine classes in the order of its meta.yaml:
    boneanomaly, bonelesion, foreignbody, fracture, metal, periostealreaction, pronatorsign, softtissue, text

E. Nagy et al., "A pediatric wrist trauma X-ray dataset (GRAZPEDWRI-DX) for machine learning", Scientific Data
9, 222 (2022), doi 10.1038/s41597-022-01328-z.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from training.datasets.layout import Found, Layout, is_set, numbered, records, yolo_boxes
from training.labels import LabelledImage
from training.problems import LabelsError

FRACTURE_CLASS = 3
REGION = "wrist"
_BOXES = ("yolov5/labels", "folder_structure/yolov5/labels")


def read(folder: Path) -> list[LabelledImage]:
    """The rows of a GRAZPEDWRI-DX folder; a group is a patient, and there are no splits.

    Args:
        folder: holds dataset.csv and images_part1; other parts may be absent, their images are then no files.

    Raises:
        LabelsError: dataset.csv or an annotation is not as described above.
    """
    return numbered(folder, _found(folder))


def _found(folder: Path) -> Iterator[Found]:
    table = folder / "dataset.csv"
    images = {path.stem: path for path in sorted(folder.glob("images_part*/*.png"))}
    boxes = next((folder / name for name in _BOXES if (folder / name).is_dir()), None)
    if boxes is None:
        raise LabelsError(f"labels {folder}: no boxes; {' or '.join(_BOXES)} must be there")
    for row, record in records(table, ("filestem", "patient_id", "fracture_visible")):
        stem = record["filestem"]
        path = images.get(stem, folder / "images_part1" / f"{stem}.png")
        yield Found(
            name=path.relative_to(folder).as_posix(),
            label=int(is_set(table, row, "fracture_visible", record["fracture_visible"])),
            group=f"patient{record['patient_id']}",
            region=REGION,
            boxes=yolo_boxes(boxes / f"{stem}.txt", of_class=FRACTURE_CLASS),
        )


LAYOUT = Layout(
    name="grazpedwri",
    marks=("dataset.csv", "images_part1"),
    read=read,
    about="GRAZPEDWRI-DX (CC BY 4.0): Nagy et al., Scientific Data 9, 222 (2022), "
    "doi 10.1038/s41597-022-01328-z. Children and adolescents, wrists only.",
)
