"""Who learns, who calibrates and chooses, who reports: always whole groups, balanced, and the same again."""

from __future__ import annotations

import hashlib
import random
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from training.labels import LabelledImage


@dataclass(frozen=True, kw_only=True)
class Parts:
    """The three uses of a table's rows; no group is in two of them."""

    train: list[LabelledImage]
    calibration: list[LabelledImage]
    """Fits the calibration, chooses operating points."""
    reporting: list[LabelledImage]
    """Gives the figures; nothing is chosen by it."""
    record: dict[str, Any]
    """For bundle.json: by what, which seed, where the reporting part comes from, and the sha256 of it all."""

    @property
    def by_name(self) -> dict[str, list[LabelledImage]]:
        """The rows of `train`, `calibration` and `reporting`."""
        return {"train": self.train, "calibration": self.calibration, "reporting": self.reporting}

    @property
    def rows(self) -> list[LabelledImage]:
        """All of them."""
        return [row for rows in self.by_name.values() for row in rows]


def parts_of(rows: Sequence[LabelledImage], *, seed: int) -> Parts:
    """`train` learns. A `test` split reports and all of `val` calibrates; without one, `val` is halved.

    Args:
        rows: with splits.
        seed: of the halving.
    """
    train, val, test = ([row for row in rows if row.split == split] for split in ("train", "val", "test"))
    calibration, reporting = (val, test) if test else halve_by_group(val, seed=seed)
    named = {"train": train, "calibration": calibration, "reporting": reporting}
    record = {
        "by": "group",
        "seed": seed,
        "reporting": "test" if test else "half of val",
        "sha256": assignment_sha256(named),
    }
    return Parts(**named, record=record)


def assignment_sha256(parts: dict[str, list[LabelledImage]]) -> str:
    """sha256 (hex) over which image is in which part: equal for equal splits, in whatever order."""
    lines = sorted(f"{row.name}\t{part}\n" for part, rows in parts.items() for row in rows)
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def with_split(
    rows: Sequence[LabelledImage], *, seed: int, val_share: float, test_share: float = 0.0
) -> list[LabelledImage]:
    """The rows with splits dealt anew: by group, stratified by label and region.

    Args:
        rows: whatever splits they have are replaced.
        seed: decides ties; the same seed and rows give the same splits.
        val_share: of the images, above 0.
        test_share: likewise; 0 makes no `test`.
    """
    shares = {"train": 1 - val_share - test_share, "val": val_share, "test": test_share}
    shares = {split: share for split, share in shares.items() if share > 0}
    dealt = _deal(rows, list(shares.values()), seed=seed)
    names = list(shares)
    return [replace(row, split=names[part]) for row, part in zip(rows, dealt, strict=True)]


def folds(rows: Sequence[LabelledImage], *, num_folds: int, seed: int) -> list[list[LabelledImage]]:
    """Equal parts for cross-validation: by group, stratified by label and region; each is held out once.

    Args:
        rows: the rows to divide.
        num_folds: 2 or more.
        seed: decides ties; the same seed and rows give the same folds.

    Returns:
        The rows of each fold, in the order of `rows`.
    """
    dealt = _deal(rows, [1 / num_folds] * num_folds, seed=seed)
    return [[row for row, part in zip(rows, dealt, strict=True) if part == fold] for fold in range(num_folds)]


def halve_by_group(
    rows: Sequence[LabelledImage], *, seed: int
) -> tuple[list[LabelledImage], list[LabelledImage]]:
    """Two halves that share no group and hold like numbers of each label.

    Groups with fractures are dealt first, the largest first, each to the half with fewer fractures so far;
    then the others, to the half with fewer images. The seed decides ties, so that no half is the "easy" one.

    Args:
        rows: the rows to halve.
        seed: recorded in the bundle; the same seed and rows give the same halves.

    Returns:
        The half that calibrates, and the half that reports, each in the order of `rows`.
    """
    groups = _groups(rows)
    halves: tuple[set[str], set[str]] = (set(), set())
    fractures, sizes = [0, 0], [0, 0]
    for turn, name in enumerate(_largest_first(groups, seed=seed)):
        load = fractures if _positives(groups[name]) else sizes
        other = sizes if load is fractures else fractures
        first_to_ask = turn % 2
        half = min((first_to_ask, 1 - first_to_ask), key=lambda h: (load[h], other[h]))
        halves[half].add(name)
        fractures[half] += _positives(groups[name])
        sizes[half] += len(groups[name])
    calibration, reporting = ([row for row in rows if row.group in half] for half in halves)
    return calibration, reporting


def _deal(rows: Sequence[LabelledImage], shares: Sequence[float], *, seed: int) -> list[int]:
    """The part of each row: groups, the largest first, each to the part that it fills least.

    Full means here: the squared distance from a part's due, divided by the due, summed over the strata, as in
    Pearson's chi-squared. Strata are all images, each label, and each label of a region.
    """
    groups = _groups(rows)
    strata = sorted({stratum for row in rows for stratum in _strata(row)})
    at = {stratum: index for index, stratum in enumerate(strata)}
    counts = {name: np.zeros(len(strata)) for name in groups}
    for row in rows:
        for stratum in _strata(row):
            counts[row.group][at[stratum]] += 1
    due_PS = np.outer(shares, sum(counts.values(), np.zeros(len(strata))))
    held_PS = np.zeros_like(due_PS)
    part_of = {}
    for name in _largest_first(groups, seed=seed):
        add_S = counts[name]
        cost_P = (add_S * (2 * (held_PS - due_PS) + add_S) / due_PS).sum(axis=1)
        part_of[name] = int(cost_P.argmin())
        held_PS[part_of[name]] += add_S
    return [part_of[row.group] for row in rows]


def _strata(row: LabelledImage) -> tuple[str, str, str]:
    return ("", f"{row.label}", f"{row.label} {row.region}")


def _groups(rows: Sequence[LabelledImage]) -> dict[str, list[LabelledImage]]:
    groups: dict[str, list[LabelledImage]] = defaultdict(list)
    for row in rows:
        groups[row.group].append(row)
    return groups


def _largest_first(groups: dict[str, list[LabelledImage]], *, seed: int) -> list[str]:
    """Names of the groups, those with most fractures first, then the largest; the seed decides ties."""
    names = sorted(groups)
    random.Random(seed).shuffle(names)  # noqa: S311 - a split, no secret
    names.sort(key=lambda name: (_positives(groups[name]), len(groups[name])), reverse=True)
    return names


def _positives(rows: Sequence[LabelledImage]) -> int:
    return sum(row.label for row in rows)
