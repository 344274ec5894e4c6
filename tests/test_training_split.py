"""Parts share no group, hold like numbers of each label and region, and come out the same again."""

from pathlib import Path

import numpy as np
import pytest

from training.datasets import fracatlas_subset
from training.labels import LabelledImage
from training.split import assignment_sha256, folds, halve_by_group, parts_of, with_split

SHARED = Path(__file__).parents[2] / "shared" / "radiographs"


def drawn(seed: int) -> list[LabelledImage]:
    dice = np.random.default_rng(seed)
    rows: list[LabelledImage] = []
    for group in range(120):
        fractured, region = dice.random() < 0.3, ("leg", "hand", "hip")[dice.choice(3, p=(0.6, 0.3, 0.1))]
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
                    region=region,
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
    rows = [row for row in fracatlas_subset.read(SHARED) if row.split == "val"]
    one, other = halve_by_group(rows, seed=0)
    assert (len(one), len(other)) == (294, 294)
    assert (sum(r.label for r in one), sum(r.label for r in other)) == (52, 51)


def shares(rows: list[LabelledImage], part: list[LabelledImage]) -> dict[str, float]:
    """What share of all images, fractures, and images of each region a part holds."""
    kinds = {
        "all": lambda row: True,
        "fractured": lambda row: row.label == 1,
        **{name: lambda row, name=name: row.region == name for name in ("leg", "hand", "hip")},
    }
    return {name: sum(map(of, part)) / sum(map(of, rows)) for name, of in kinds.items()}


@pytest.mark.parametrize("seed", range(5))
def test_splits_by_group_stratified_by_label_and_region(seed: int) -> None:
    rows = drawn(seed)
    dealt = with_split(rows, seed=seed, val_share=0.2, test_share=0.3)
    assert [row.row for row in dealt] == [row.row for row in rows]
    parts = {split: [row for row in dealt if row.split == split] for split in ("train", "val", "test")}
    groups = {split: {row.group for row in part} for split, part in parts.items()}
    assert (
        not groups["train"] & groups["val"]
        | groups["train"] & groups["test"]
        | groups["val"] & groups["test"]
    )
    for split, share in (("train", 0.5), ("val", 0.2), ("test", 0.3)):
        found = shares(rows, parts[split])
        assert found["all"] == pytest.approx(share, abs=0.02), split
        assert found["fractured"] == pytest.approx(share, abs=0.04), split
        for region in ("leg", "hand", "hip"):
            assert found[region] == pytest.approx(share, abs=0.08), (split, region)


def test_no_test_split_unless_asked() -> None:
    assert {row.split for row in with_split(drawn(0), seed=0, val_share=0.3)} == {"train", "val"}


def test_splits_come_out_the_same_again() -> None:
    rows = drawn(0)
    one = with_split(rows, seed=1, val_share=0.3)
    assert one == with_split(rows, seed=1, val_share=0.3)
    assert one != with_split(rows, seed=2, val_share=0.3)
    shuffled = [rows[i] for i in np.random.default_rng(3).permutation(len(rows))]
    by_row = {row.row: row.split for row in with_split(shuffled, seed=1, val_share=0.3)}
    assert [by_row[row.row] for row in one] == [row.split for row in one]


@pytest.mark.parametrize("num_folds", [2, 5])
def test_folds(num_folds: int) -> None:
    rows = drawn(0)
    found = folds(rows, num_folds=num_folds, seed=0)
    assert len(found) == num_folds
    assert sorted(row.row for fold in found for row in fold) == [row.row for row in rows]
    groups = [{row.group for row in fold} for fold in found]
    assert sum(map(len, groups)) == len(set().union(*groups))
    for fold in found:
        held = shares(rows, fold)
        assert held["all"] == pytest.approx(1 / num_folds, abs=0.02)
        assert held["fractured"] == pytest.approx(1 / num_folds, abs=0.03)
        assert held["leg"] == pytest.approx(1 / num_folds, abs=0.05)
    assert found != folds(rows, num_folds=num_folds, seed=1)


def test_without_a_test_split_val_is_halved() -> None:
    rows = with_split(drawn(0), seed=0, val_share=0.4)
    parts = parts_of(rows, seed=3)
    assert parts.train == [row for row in rows if row.split == "train"]
    assert (parts.calibration, parts.reporting) == halve_by_group(
        [row for row in rows if row.split == "val"], seed=3
    )
    assert {key: parts.record[key] for key in ("by", "seed", "reporting")} == {
        "by": "group", "seed": 3, "reporting": "half of val"
    }  # fmt: skip


def test_a_test_split_reports_and_all_of_val_calibrates() -> None:
    rows = with_split(drawn(0), seed=0, val_share=0.2, test_share=0.2)
    parts = parts_of(rows, seed=3)
    assert parts.calibration == [row for row in rows if row.split == "val"]
    assert parts.reporting == [row for row in rows if row.split == "test"]
    assert parts.record["reporting"] == "test"


def test_the_record_tells_splits_apart() -> None:
    rows = drawn(0)[:2]
    one, other = rows
    digest = assignment_sha256({"train": [one], "val": [other]})
    assert digest == "e566d81422c3870058aa0478de514491176b0d402b77f774612c5b1ea4046095"
    assert digest == assignment_sha256({"val": [other], "train": [one]})
    assert digest != assignment_sha256({"train": [other], "val": [one]})
