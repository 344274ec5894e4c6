"""Figures by hand, and only of regions that can bear them."""

from pathlib import Path

import numpy as np
import pytest

from batch_fracture.bundle import OperatingPoint
from training.evaluate import figures
from training.inputs import Examples
from training.labels import LabelledImage


def drawn(regions: dict[str, tuple[int, int]]) -> Examples:
    """Images of each region: so many fractured, so many not; groups of two."""
    kinds = [(region, int(i < one)) for region, (one, none) in regions.items() for i in range(one + none)]
    rows = tuple(
        LabelledImage(
            row=number + 2,
            name=f"{number}.png",
            path=Path(f"{number}.png"),
            label=label,
            group=f"g{number // 2}",
            split="val",
            region=region,
        )
        for number, (region, label) in enumerate(kinds)
    )
    return Examples(rows=rows, pixels_NSS=np.zeros((len(rows), 1, 1), np.uint8))


def test_figures_of_one_half() -> None:
    examples = drawn({"hand": (10, 12), "hip": (9, 40), "": (20, 20)})
    probability_N = np.where(examples.label_N == 1, 0.8, 0.2).astype(np.float32)
    probability_N[0], probability_N[10] = 0.1, 0.9  # one hand missed, one hand called
    points = {"balanced": OperatingPoint(name="balanced", threshold=0.5)}
    found = figures(examples, probability_N, points, default_point="balanced")
    assert (found["images"], found["fractured"], found["groups"]) == (111, 39, 56)
    at = found["operating_points"]["balanced"]
    assert (at["sensitivity"]["count"], at["sensitivity"]["total"]) == (38, 39)
    assert (at["specificity"]["count"], at["specificity"]["total"]) == (71, 72)
    assert list(found["regions"]) == ["hand"]
    hand = found["regions"]["hand"]
    assert (hand["images"], hand["fractured"]) == (22, 10)
    assert hand["sensitivity"]["value"] == pytest.approx(0.9)
    assert hand["specificity"]["value"] == pytest.approx(11 / 12)
    # 109 images at a distance of 0.2 and two at 0.9.
    assert found["brier"] == pytest.approx((109 * 0.04 + 2 * 0.81) / 111, abs=1e-6)
