"""Halves share no group, hold like numbers of each label, and come out the same again."""

from pathlib import Path

import numpy as np
import pytest

from training.labels import LabelledImage, read_labels
from training.split import halve_by_group

SHARED = Path(__file__).parents[2] / "shared" / "radiographs"


def drawn(seed: int) -> list[LabelledImage]:
    dice = np.random.default_rng(seed)
    rows: list[LabelledImage] = []
    for group in range(120):
        fractured = dice.random() < 0.3
        for _ in range(dice.integers(1, 13)):
            number = len(rows)
            rows.append(
                LabelledImage(
                    row=number + 2,
                    name=f"{number}.png",
                    path=Path(f"{number}.png"),
                    label=int(fractured and dice.random() < 0.6),
                    group=f"g{group}",
                    split="val",
                    region="",
                )
            )
    return rows


@pytest.mark.parametrize("seed", range(5))
def test_disjoint_complete_and_balanced(seed: int) -> None:
    rows = drawn(seed)
    one, other = halve_by_group(rows, seed=seed)
    assert not {r.group for r in one} & {r.group for r in other}
    assert sorted(r.row for r in one + other) == [r.row for r in rows]
    assert abs(sum(r.label for r in one) - sum(r.label for r in other)) <= 1
    assert abs(len(one) - len(other)) <= 2


def test_reproducible_and_led_by_the_seed() -> None:
    rows = drawn(0)
    assert halve_by_group(rows, seed=1) == halve_by_group(rows, seed=1)
    assert halve_by_group(rows, seed=1) != halve_by_group(rows, seed=2)
    shuffled = [rows[i] for i in np.random.default_rng(3).permutation(len(rows))]
    assert {r.group for r in halve_by_group(shuffled, seed=1)[0]} == {
        r.group for r in halve_by_group(rows, seed=1)[0]
    }


@pytest.mark.skipif(not SHARED.is_dir(), reason="the shared radiographs are not beside the repository")
def test_the_real_validation_images() -> None:
    rows = [row for row in read_labels(SHARED / "labels.csv", SHARED) if row.split == "val"]
    one, other = halve_by_group(rows, seed=0)
    assert (len(one), len(other)) == (294, 294)
    assert (sum(r.label for r in one), sum(r.label for r in other)) == (52, 51)
