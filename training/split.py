"""Halve the validation images: one half calibrates and chooses, the other reports."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Sequence

from training.labels import LabelledImage


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
    groups: dict[str, list[LabelledImage]] = defaultdict(list)
    for row in rows:
        groups[row.group].append(row)
    names = sorted(groups)
    random.Random(seed).shuffle(names)  # noqa: S311 - a split, no secret
    names.sort(key=lambda name: (_positives(groups[name]), len(groups[name])), reverse=True)
    halves: tuple[set[str], set[str]] = (set(), set())
    fractures, sizes = [0, 0], [0, 0]
    for turn, name in enumerate(names):
        load = fractures if _positives(groups[name]) else sizes
        other = sizes if load is fractures else fractures
        first_to_ask = turn % 2
        half = min((first_to_ask, 1 - first_to_ask), key=lambda h: (load[h], other[h]))
        halves[half].add(name)
        fractures[half] += _positives(groups[name])
        sizes[half] += len(groups[name])
    calibration, reporting = ([row for row in rows if row.group in half] for half in halves)
    return calibration, reporting


def _positives(rows: Sequence[LabelledImage]) -> int:
    return sum(row.label for row in rows)
