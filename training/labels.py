"""Read a table of labelled radiographs, and refuse one that would teach or measure the wrong thing."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from batch_fracture.errors import UsageError

REQUIRED = ("path", "label", "group", "split")
SPLITS = ("train", "val")
_SHOWN = 5
"""Problems that one message lists."""


class LabelsError(UsageError):
    """The table of labels cannot be trained on; the message names file, row and value."""


@dataclass(frozen=True, kw_only=True)
class LabelledImage:
    """One row of the table."""

    row: int
    """Line number in the file; the header is line 1."""
    name: str
    """The path as the table gives it."""
    path: Path
    label: int
    """1 fractured, 0 not."""
    group: str
    """Images that may show one patient share a group; a group is never divided."""
    split: str
    region: str
    """Body region, empty when the table has none."""
    boxes: tuple[tuple[float, float, float, float], ...] = ()
    """Of fractures: x_centre, y_centre, width, height as fractions of the original image."""


def read_labels(table: Path, images: Path) -> list[LabelledImage]:
    """Read and check a CSV file.

    Args:
        table: UTF-8 with a header; columns path, label (0 or 1), group, split (train or val), and optionally
            region; others are ignored.
        images: the folder that the paths start from.

    Raises:
        LabelsError: the file cannot be read, a column is missing, or rows are not valid; row-numbered.
    """
    try:
        with table.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            missing = [column for column in REQUIRED if column not in (reader.fieldnames or ())]
            if missing:
                raise LabelsError(f"labels {table}: column {missing[0]} is missing")
            records = [(reader.line_num, record) for record in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        reason = getattr(error, "strerror", None) or error
        raise LabelsError(f"labels {table}: cannot be read ({reason})") from error
    problems = [problem for row, record in records for problem in _row_problems(row, record, images)]
    _refuse(table, problems)
    rows = [_row(row, record, images) for row, record in records]
    _refuse(table, _table_problems(rows))
    return rows


def check_contents(table: Path, rows: Sequence[LabelledImage], sha256: Sequence[str]) -> None:
    """Refuse one image under two labels, or in both splits, whatever its file names.

    Args:
        table: named in the message.
        rows: the table's rows.
        sha256: of each row's file content, in the same order.

    Raises:
        LabelsError: the same bytes stand in rows that contradict each other.
    """
    first: dict[str, LabelledImage] = {}
    problems = [
        f"row {row.row}: {row.name} is the same image as row {other.row}, with another {field}"
        for row, other in (
            (row, first.setdefault(digest, row)) for row, digest in zip(rows, sha256, strict=True)
        )
        for field in ("label", "split")
        if getattr(row, field) != getattr(other, field)
    ]
    _refuse(table, problems)


def _row_problems(row: int, record: dict[str, str | None], images: Path) -> list[str]:
    """What is wrong with one row on its own."""
    problems = []
    if record["label"] not in ("0", "1"):
        problems.append(f"row {row}: label {record['label']!r} is neither 0 nor 1")
    if record["split"] not in SPLITS:
        problems.append(f"row {row}: split {record['split']!r} is neither train nor val")
    if not record["group"]:
        problems.append(f"row {row}: group is empty")
    if not record["path"]:
        problems.append(f"row {row}: path is empty")
    elif not (images / record["path"]).is_file():
        problems.append(f"row {row}: no file {images / record['path']}")
    return problems


def _row(row: int, record: dict[str, str | None], images: Path) -> LabelledImage:
    name = record["path"] or ""
    return LabelledImage(
        row=row,
        name=name,
        path=images / name,
        label=int(record["label"] or 0),
        group=record["group"] or "",
        split=record["split"] or "",
        region=record.get("region") or "",
    )


def _table_problems(rows: Sequence[LabelledImage]) -> list[str]:
    """What is wrong between rows: a path twice, a group on both sides, a split without one of the labels."""
    problems = []
    paths: dict[Path, LabelledImage] = {}
    groups: dict[str, LabelledImage] = {}
    for row in rows:
        if (other := paths.setdefault(row.path, row)) is not row:
            verdict = "with another label" if other.label != row.label else "again"
            problems.append(f"row {row.row}: {row.name} stands in row {other.row} already, here {verdict}")
        if (other := groups.setdefault(row.group, row)).split != row.split:
            problems.append(
                f"row {row.row}: group {row.group!r} is in {row.split}, but row {other.row} has it in "
                f"{other.split}"
            )
    for split in SPLITS:
        labels = {row.label for row in rows if row.split == split}
        if labels != {0, 1}:
            problems.append(f"split {split} needs images with label 0 and with label 1")
    return problems


def _refuse(table: Path, problems: Sequence[str]) -> None:
    if problems:
        more = f"; and {len(problems) - _SHOWN} more" if len(problems) > _SHOWN else ""
        raise LabelsError(f"labels {table}: {'; '.join(problems[:_SHOWN])}{more}")
