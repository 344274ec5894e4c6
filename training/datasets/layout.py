"""What the readers of folder layouts share: how a layout describes itself, and the files that they read."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from training.label_files import NoTableError, read_csv
from training.labels import Box, LabelledImage
from training.problems import LabelsError, Problem, refuse


@dataclass(frozen=True, kw_only=True)
class Layout:
    """One way in which people keep labelled radiographs."""

    name: str
    """As --layout takes it."""
    marks: tuple[str, ...]
    """Paths below the folder; where all of them are, the folder has this layout."""
    read: Callable[[Path], list[LabelledImage]]
    """The rows of a folder, numbered as in the table that they will be written to.

    Raises LabelsError when the data set's own files cannot be read or have a value that means nothing."""
    about: str
    """Whose images these are, to cite; what their labels mean where it is not "a fracture can be seen"."""


@dataclass(frozen=True, kw_only=True)
class Found:
    """An image that a layout names, before it has a row number."""

    name: str
    """Path below the folder, with slashes."""
    label: int
    group: str
    split: str = ""
    region: str = ""
    boxes: tuple[Box, ...] = ()


def numbered(folder: Path, found: Iterable[Found]) -> list[LabelledImage]:
    """Rows as they will stand in a CSV file below its header."""
    return [
        LabelledImage(
            row=row,
            name=image.name,
            path=folder / image.name,
            label=image.label,
            group=image.group,
            split=image.split,
            region=image.region,
            boxes=image.boxes,
        )
        for row, image in enumerate(found, start=2)
    ]


def records(path: Path, needed: Sequence[str], *, header: bool = True) -> list[tuple[int, Mapping[str, Any]]]:
    """Line number and values of each row of a data set's CSV file.

    Args:
        path: the file.
        needed: columns that must be there; those of a file without a header.
        header: whether the first line names the columns.

    Raises:
        LabelsError: it cannot be read, or a column is missing.
    """
    try:
        columns, found = read_csv(path, None if header else needed)
    except NoTableError as error:
        raise LabelsError(f"labels {path}: {error}") from error
    if missing := [column for column in needed if column not in columns]:
        raise LabelsError(f"labels {path}: column {missing[0]} is missing")
    refuse(
        path,
        [
            Problem(text=f"row {row}: fewer values than columns")
            for row, record in found
            if any(record[column] is None for column in needed)
        ],
    )
    return found


def is_set(path: Path, row: int, column: str, value: str) -> bool:
    """A flag of a data set: 1 (or 1.0) is set, 0 or nothing is not.

    Raises:
        LabelsError: anything else.
    """
    if value.strip() not in ("", "0", "0.0", "1", "1.0"):
        raise LabelsError(f"labels {path}: row {row}: {column} {value!r} is neither 0 nor 1")
    return value.strip().startswith("1")


def yolo_boxes(path: Path, *, of_class: int) -> tuple[Box, ...]:
    """Boxes of one class from a YOLO text file, lines of `class x_centre y_centre width height`.

    Numbers are fractions of the image's sides; what rounding put beyond 0 or 1 is brought back, and a box
    without extent is none.

    Args:
        path: the file; none is the same as an empty one.
        of_class: the class's number.

    Raises:
        LabelsError: a line is something else.
    """
    if not path.is_file():
        return ()
    boxes = []
    for row, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        if not line.split():
            continue
        try:
            number, *values = (float(word) for word in line.split())
            x, y, width, height = (min(1.0, max(0.0, value)) for value in values)
        except ValueError as error:
            raise LabelsError(
                f"labels {path}: row {row}: {line!r} is not `class x_centre y_centre width height`"
            ) from error
        if number == of_class and width * height > 0:
            boxes.append((x, y, width, height))
    return tuple(boxes)
