"""A table of labelled radiographs: what a row is, and the refusal of one that would teach or measure wrongly.

`python -m training.labels FOLDER --out labels.csv` writes one from a data set's folder (`labelling`).
"""

from __future__ import annotations

import importlib
import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from batch_fracture.store.bucket import is_bucket
from training.label_files import NoTableError, read_records
from training.problems import LabelsError, Problem, refuse

__all__ = [
    "Box",
    "LabelledImage",
    "LabelsError",
    "file_problems",
    "parse",
    "read_labels",
    "table_problems",
    "warnings",
]

REQUIRED = ("image_uri", "label", "group")
SPLITS = ("train", "val", "test")
MANY = 30
"""Images of each label that a split should have: with fewer, an interval of sensitivity is wider than 0.2."""

Box = tuple[float, float, float, float]
"""x_centre, y_centre, width and height, as fractions of the original image's width and height."""


@dataclass(frozen=True, kw_only=True)
class LabelledImage:
    """One row of the table."""

    row: int
    """Line number in a CSV file, whose header is line 1; in a Parquet file the first row is 1."""
    name: str
    """The image_uri as the table gives it."""
    path: Path
    """The file; of an object in a bucket, no more than its name: `contents.read_image` reads both."""
    label: int
    """1 fractured, 0 not."""
    group: str
    """Images that may show one patient share a group; a group is never divided."""
    split: str
    """One of `SPLITS`, or empty in every row: then `split.with_split` deals them."""
    region: str
    """Body region, empty when the table has none."""
    boxes: tuple[Box, ...] = ()
    """Of fractures; empty when none were drawn."""


def read_labels(table: Path, images: Path) -> list[LabelledImage]:
    """Read and check a table.

    Args:
        table: CSV (UTF-8, with a header) or Parquet; columns image_uri, label (0 or 1), group, and optionally
            split (train, val or test), region and boxes; others are ignored.
        images: the folder that relative image_uris start from.

    Raises:
        LabelsError: the file cannot be read, a column is missing, or rows are not valid; row-numbered.
    """
    rows, problems = parse(table, images)
    refuse(table, [*problems, *file_problems(rows)])
    refuse(table, table_problems(rows))
    return rows


def parse(table: Path, images: Path) -> tuple[list[LabelledImage], list[Problem]]:
    """The rows whose values are valid, and what is wrong with the others.

    Raises:
        LabelsError: the file cannot be read, or a column is missing.
    """
    try:
        columns, records = read_records(table)
    except NoTableError as error:
        remedy = "" if table.exists() else "; python -m training.labels makes one of a data set's folder"
        raise LabelsError(f"labels {table}: {error}{remedy}") from error
    if missing := [column for column in REQUIRED if column not in columns]:
        raise LabelsError(f"labels {table}: column {missing[0]} is missing")
    rows, problems = [], []
    for row, record in records:
        found = _value_problems(row, record)
        problems += found
        if not found:
            rows.append(_row(row, record, images))
    return rows, problems


def file_problems(rows: Iterable[LabelledImage]) -> list[Problem]:
    """Files that are not there; objects in buckets are looked for when they are read."""
    return [
        Problem(text=f"row {row.row}: no file {row.path}", leave_out=(row.row,))
        for row in rows
        if not is_bucket(row.name) and not row.path.is_file()
    ]


def table_problems(rows: Sequence[LabelledImage]) -> list[Problem]:
    """Contradictions: boxes on a normal image, an image twice, a group in two splits; and absent labels."""
    problems = [
        Problem(text=f"row {row.row}: {row.name} has label 0, and boxes of fractures", leave_out=(row.row,))
        for row in rows
        if row.boxes and not row.label
    ]
    if any(row.split for row in rows):
        problems += [
            Problem(text=f"row {row.row}: split is empty, but other rows have one")
            for row in rows
            if not row.split
        ]
    images: dict[str, LabelledImage] = {}
    groups: dict[str, LabelledImage] = {}
    for row in rows:
        if (other := images.setdefault(row.name, row)) is not row:
            differs = other.label != row.label
            problems.append(
                Problem(
                    text=f"row {row.row}: {row.name} stands in row {other.row} already, here "
                    f"{'with another label' if differs else 'again'}",
                    leave_out=(other.row, row.row) if differs else (row.row,),
                )
            )
        if (other := groups.setdefault(row.group, row)).split != row.split:
            problems.append(
                Problem(
                    text=f"row {row.row}: group {row.group!r} is in {row.split}, but row {other.row} has it "
                    f"in {other.split}"
                )
            )
    return problems + _class_problems(rows)


def warnings(rows: Sequence[LabelledImage]) -> list[str]:
    """What makes figures weak without making them wrong: few images of a label in a split."""
    found = Counter((row.split, row.label) for row in rows)
    return [
        f"{f'split {split}' if split else 'the table'} has {found[split, label]} images with label {label}; "
        f"with fewer than {MANY}, figures say little"
        for split, label in sorted(found)
        if found[split, label] < MANY
    ]


def _class_problems(rows: Sequence[LabelledImage]) -> list[Problem]:
    present = {row.split for row in rows}
    needed = ("",) if present == {""} else ("train", "val", *(("test",) if "test" in present else ()))
    return [
        Problem(
            text=f"{f'split {split}' if split else 'the table'} needs images with label 0 and with label 1"
        )
        for split in needed
        if {row.label for row in rows if row.split == split} != {0, 1}
    ]


def _value_problems(row: int, record: Mapping[str, Any]) -> list[Problem]:
    """What is wrong with the values of one row."""
    texts = []
    label, split = _text(record["label"]), _text(record.get("split"))
    if label not in ("0", "1"):
        texts.append(f"label {label!r} is neither 0 nor 1")
    if split not in ("", *SPLITS):
        texts.append(f"split {split!r} is none of {', '.join(SPLITS)}")
    texts += [f"{column} is empty" for column in ("group", "image_uri") if not _text(record[column])]
    try:
        _boxes(record.get("boxes"))
    except (TypeError, ValueError):
        texts.append(
            "boxes are no list of [x_centre, y_centre, width, height], each a fraction of the image's side"
        )
    return [Problem(text=f"row {row}: {text}") for text in texts]


def _row(row: int, record: Mapping[str, Any], images: Path) -> LabelledImage:
    name = _text(record["image_uri"])
    return LabelledImage(
        row=row,
        name=name,
        path=images / name,
        label=int(_text(record["label"])),
        group=_text(record["group"]),
        split=_text(record.get("split")),
        region=_text(record.get("region")),
        boxes=_boxes(record.get("boxes")),
    )


def _text(value: Any) -> str:
    """A value of a CSV or Parquet file as text: None is empty, True is 1, 7.0 is 7."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, bool) or (isinstance(value, float) and value.is_integer()):
        return str(int(value))
    return str(value).strip()


def _boxes(value: Any) -> tuple[Box, ...]:
    """Boxes from JSON text or nested lists.

    Raises:
        TypeError: a part is of the wrong kind.
        ValueError: no JSON, not four numbers, beyond [0, 1], or without extent.
    """
    if value is None or value == "":
        return ()
    boxes = []
    for x, y, width, height in json.loads(value) if isinstance(value, str) else value:
        box = (float(x), float(y), float(width), float(height))
        if not all(0 <= number <= 1 for number in box) or not width * height > 0:
            raise ValueError(box)
        boxes.append(box)
    return tuple(boxes)


if __name__ == "__main__":
    importlib.import_module("training.labelling").main()  # it imports this module, by its real name
