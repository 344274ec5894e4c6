"""FracAtlas as `shared/radiographs` beside this repository holds it: repeats and damaged files removed.

labels.csv      path, label, split, group, region, ...
boxes.csv       path, x_centre, y_centre, width, height; a line for each box, fractions of the image's sides
fractured/, non_fractured/
"""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

from training.datasets import fracatlas
from training.datasets.layout import Found, Layout, is_set, numbered, records
from training.labels import Box, LabelledImage
from training.problems import LabelsError

_SIDES = ("x_centre", "y_centre", "width", "height")


def read(folder: Path) -> list[LabelledImage]:
    """The rows of the folder, with its own groups and splits.

    Args:
        folder: holds labels.csv and boxes.csv.

    Raises:
        LabelsError: one of them is not as described above.
    """
    table, boxes = folder / "labels.csv", _boxes(folder / "boxes.csv")
    return numbered(
        folder,
        [
            Found(
                name=record["path"],
                label=int(is_set(table, row, "label", record["label"])),
                group=record["group"],
                split=record["split"],
                region=record["region"],
                boxes=tuple(boxes[record["path"]]),
            )
            for row, record in records(table, ("path", "label", "group", "split", "region"))
        ],
    )


def _boxes(path: Path) -> dict[str, list[Box]]:
    found: dict[str, list[Box]] = defaultdict(list)
    for row, record in records(path, ("path", *_SIDES)):
        try:
            x, y, width, height = (float(record[side]) for side in _SIDES)
        except ValueError as error:
            raise LabelsError(f"labels {path}: row {row}: the box is not four numbers") from error
        found[record["path"]].append((x, y, width, height))
    return found


LAYOUT = Layout(
    name="fracatlas-subset",
    marks=("labels.csv", "boxes.csv", "fractured", "non_fractured"),
    read=read,
    about=f"A subset of {fracatlas.LAYOUT.about}",
)
