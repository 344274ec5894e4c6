"""FracAtlas as its authors publish it.

FracAtlas/dataset.csv                 image_id, hand, leg, hip, shoulder, mixed, ..., fractured, ...
FracAtlas/images/Fractured/           IMG0000019.jpg ...
FracAtlas/images/Non_fractured/
FracAtlas/Annotations/YOLO/           IMG0000019.txt ..., class 0 is a fracture; empty for normal images

I. Abedeen et al., "FracAtlas: A Dataset for Fracture Classification, Localization and Segmentation of
Musculoskeletal Radiographs", Scientific Data 10, 521 (2023), doi 10.1038/s41597-023-02432-4.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from training.datasets.layout import Found, Layout, is_set, numbered, records
from training.datasets.layout import yolo_boxes as read_boxes
from training.labels import LabelledImage
from training.problems import LabelsError

REGIONS = ("hand", "leg", "hip", "shoulder", "mixed")
FRACTURE_CLASS = 0
_RUN, _GAP = 12, 2
"""A group is a run of at most so many images, whose numbers are at most so far apart."""


def read(folder: Path) -> list[LabelledImage]:
    """The rows of a FracAtlas folder.

    There are no patient numbers. Images of one examination have neighbouring numbers, so a run of neighbours
    with one body region is a group, and look-alikes are joined later: the same patient on both sides of a
    split is made rarer, not excluded.

    Args:
        folder: holds dataset.csv.

    Raises:
        LabelsError: dataset.csv or an annotation is not as described above.
    """
    return numbered(folder, _found(folder))


def _found(folder: Path) -> Iterator[Found]:
    table = folder / "dataset.csv"
    previous, length, group = -1, 0, ""
    region_before = ""
    rows = [
        (_number(table, row, record["image_id"]), row, record)
        for row, record in records(table, ("image_id", "fractured", *REGIONS))
    ]
    for number, row, record in sorted(rows, key=lambda found: found[:2]):
        region = "+".join(name for name in REGIONS if is_set(table, row, name, record[name]))
        if region != region_before or number - previous > _GAP or length == _RUN:
            group, length = f"run{number:07d}", 0
        previous, length, region_before = number, length + 1, region
        label = int(is_set(table, row, "fractured", record["fractured"]))
        name = record["image_id"]
        yield Found(
            name=f"images/{'Fractured' if label else 'Non_fractured'}/{name}",
            label=label,
            group=group,
            region=region,
            boxes=read_boxes(
                folder / "Annotations" / "YOLO" / f"{Path(name).stem}.txt", of_class=FRACTURE_CLASS
            ),
        )


def _number(table: Path, row: int, image_id: str) -> int:
    found = re.fullmatch(r"IMG(\d+)\.\w+", image_id)
    if not found:
        raise LabelsError(f"labels {table}: row {row}: image_id {image_id!r} is not as in IMG0000019.jpg")
    return int(found[1])


LAYOUT = Layout(
    name="fracatlas",
    marks=("dataset.csv", "images/Fractured", "images/Non_fractured"),
    read=read,
    about="FracAtlas (CC BY 4.0): Abedeen et al., Scientific Data 10, 521 (2023), "
    "doi 10.1038/s41597-023-02432-4. No patient numbers: a group is a run of "
    "neighbouring image numbers of one body region.",
)
