"""Every check of a table's rows in one go: files, contents, groups, splits, labels; then the table."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from batch_fracture.bundle import sha256_of
from batch_fracture.durable import put
from batch_fracture.errors import ConfigError
from training.contents import Alike, Look, alike, content_problems, each, joined, look
from training.label_files import write_table
from training.labels import LabelledImage, file_problems, table_problems
from training.problems import Problem
from training.split import assignment_sha256, with_split

Progress = Callable[[Iterable[Look | Problem], int], Iterable[Look | Problem]]
"""Passes the looks at so many images through, and shows how far they are."""


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What is to be done with the rows of a source."""

    group_pattern: str | None = None
    """Regular expression; its first group, found in an image_uri, is the row's group."""
    split: bool = False
    """Deal splits anew."""
    seed: int = 0
    val_share: float = 0.3
    test_share: float = 0.0
    skip_bad: bool = False
    """Leave rows with problems out."""
    allow_near_duplicates: bool = False
    """Let pictures that look the same stand in two splits, groups or labels."""

    def __post_init__(self) -> None:
        if not (self.val_share > 0 <= self.test_share and self.val_share + self.test_share < 1):
            raise ConfigError(
                f"--val-share {self.val_share} and --test-share {self.test_share}: the first must be above "
                "0, the second 0 or more, and both together below 1"
            )
        try:
            if self.group_pattern is not None and re.compile(self.group_pattern).groups < 1:
                raise ConfigError(f"--group-pattern {self.group_pattern!r}: it has no (group)")
        except re.error as error:
            raise ConfigError(f"--group-pattern {self.group_pattern!r}: {error}") from error


@dataclass(frozen=True, kw_only=True)
class Checked:
    """What came of the checks."""

    rows: list[LabelledImage]
    """Those that stay."""
    left_out: list[Problem]
    """With --skip-bad, the problems whose rows went."""
    problems: list[Problem]
    """Those that remain; with any, the rows must not be trained on."""
    num_joined: int
    """Groups that gave up their name to another, because they share a picture."""


def check(
    rows: Sequence[LabelledImage], problems: Sequence[Problem], wanted: Wanted, progress: Progress
) -> Checked:
    """Group, read every image, join groups that share a picture, deal splits when wanted, and check it all.

    Args:
        rows: the rows whose values are valid.
        problems: those of other rows.
        wanted: what to do.
        progress: shows how far the reading is.
    """
    rows, found = _regrouped(rows, wanted.group_pattern)
    found = [*problems, *found, *file_problems(rows)]
    if wanted.split:
        rows = [replace(row, split="") for row in rows]
    rows, pairs, unreadable = _looked_at(_without(rows, found), wanted, progress)
    one_group = joined(rows, pairs)
    found += [*unreadable, *content_problems(rows, pairs), *table_problems(one_group)]
    found.sort(key=lambda problem: problem.leave_out[-1:] or (0,))
    left_out = [problem for problem in found if problem.leave_out] if wanted.skip_bad else []
    kept = _without(one_group, left_out)
    if wanted.split and kept:
        kept = with_split(kept, seed=wanted.seed, val_share=wanted.val_share, test_share=wanted.test_share)
    remaining = [problem for problem in found if problem not in left_out and problem.leave_out]
    remaining += [*problems, *(problem for problem in table_problems(kept) if not problem.leave_out)]
    num_joined = len({row.group for row in rows}) - len({row.group for row in one_group})
    return Checked(rows=kept, left_out=left_out, problems=remaining, num_joined=num_joined)


def write(out: Path, checked: Checked, wanted: Wanted, *, source: Path, layout: str, about: str) -> None:
    """Write the table and, under its name and the ending .json, where it came from.

    Args:
        out: .csv or .parquet.
        checked: the rows, and what was left out.
        wanted: how they were treated.
        source: folder or table that they came from.
        layout: how that was read.
        about: whose images these are.

    Raises:
        WriteError: want of space or access.
    """
    write_table(out, checked.rows)
    splits = sorted({row.split for row in checked.rows})
    shares = {"seed": wanted.seed, "val_share": wanted.val_share, "test_share": wanted.test_share}
    origin = {
        "source": str(source),
        "layout": layout,
        "about": about,
        "table_sha256": sha256_of(out),
        "split": {
            "by": "group",
            "dealt": shares if wanted.split else None,
            "sha256": assignment_sha256(
                {split: [row for row in checked.rows if row.split == split] for split in splits}
            ),
        },
        "groups_joined": checked.num_joined,
        "allow_near_duplicates": wanted.allow_near_duplicates,
        "left_out": [problem.text for problem in checked.left_out],
    }
    text = json.dumps(origin, indent=2, ensure_ascii=False)
    put(out.with_name(f"{out.name}.json"), f"{text}\n".encode())


def _regrouped(
    rows: Sequence[LabelledImage], pattern: str | None
) -> tuple[list[LabelledImage], list[Problem]]:
    """The rows with groups from their names, and those whose names have none."""
    if pattern is None:
        return list(rows), []
    found, problems = [], []
    for row in rows:
        match = re.search(pattern, row.name)
        if match and match[1]:
            found.append(replace(row, group=match[1]))
        else:
            text = f"row {row.row}: {row.name} has no group: --group-pattern {pattern!r} is not in it"
            problems.append(Problem(text=text, leave_out=(row.row,)))
            found.append(row)
    return found, problems


def _looked_at(
    rows: Sequence[LabelledImage], wanted: Wanted, progress: Progress
) -> tuple[list[LabelledImage], list[Alike], list[Problem]]:
    """The rows that can be read, those among them with one picture, and the problems of the others."""
    seen = list(progress(each(rows, look), len(rows)))
    looks = [one for one in seen if isinstance(one, Look)]
    readable = [row for row, one in zip(rows, seen, strict=True) if isinstance(one, Look)]
    pairs = alike(looks, near_duplicates=not wanted.allow_near_duplicates)
    return readable, pairs, [one for one in seen if isinstance(one, Problem)]


def _without(rows: Sequence[LabelledImage], problems: Sequence[Problem]) -> list[LabelledImage]:
    gone = {row for problem in problems for row in problem.leave_out}
    return [row for row in rows if row.row not in gone]
