"""Figures by hand, and only of regions that can bear them."""

from pathlib import Path

import numpy as np
import pytest
from labelled import as_scored

from batch_fracture import by_group, statistics
from batch_fracture.bundle import Bundle
from training.figures import counts, figures, scored
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


def test_figures_of_one_half(tiny_bundle: Bundle) -> None:
    """The bundle says probability = sigmoid(2 x logit + 0.1), balanced 0.5."""
    examples = drawn({"hand": (10, 12), "hip": (9, 40), "": (20, 20)})
    probability_N = np.where(examples.label_N == 1, 0.8, 0.2)
    probability_N[0], probability_N[10] = 0.1, 0.9  # one hand missed, one hand called
    logit_N = ((np.log(probability_N / (1 - probability_N)) - 0.1) / 2).astype(np.float32)
    of = scored(tiny_bundle, examples, logit_N)
    np.testing.assert_allclose(of.probability_N, probability_N, atol=1e-6)
    found = figures(of)
    assert {name: found[name] for name in counts(examples)} == counts(examples)
    assert counts(examples) == {"images": 111, "fractured": 39, "groups": 56}
    at = found["operating_points"]["balanced"]
    assert at["threshold"] == 0.5
    assert (at["sensitivity"]["count"], at["sensitivity"]["total"]) == (38, 39)
    assert (at["specificity"]["count"], at["specificity"]["total"]) == (71, 72)
    # 109 images at a distance of 0.2 and two at 0.9.
    assert found["brier"]["value"] == pytest.approx((109 * 0.04 + 2 * 0.81) / 111, abs=1e-6)
    assert list(found["regions"]) == ["hand"]
    hand = found["regions"]["hand"]
    assert (hand["images"], hand["fractured"], hand["groups"]) == (22, 10, 11)
    assert hand["sensitivity"]["value"] == pytest.approx(0.9)
    assert hand["specificity"]["value"] == pytest.approx(11 / 12)
    assert hand["brier"]["value"] == pytest.approx((20 * 0.04 + 2 * 0.81) / 22, abs=1e-6)


def test_each_figure_comes_with_the_interval_that_its_name_says() -> None:
    random = np.random.default_rng(0)
    label_N = (np.arange(60) % 3 == 0).astype(np.float32)
    of = as_scored(label_N, random.uniform(0.3 * label_N, 0.7 + 0.3 * label_N))
    found = figures(of)
    area, grouped = (
        statistics.auroc(label_N, of.probability_N),
        by_group.auroc(label_N, of.probability_N, of.group_N),
    )
    assert (found["auroc"]["low"], found["auroc"]["high"]) == (area.low, area.high)
    assert (found["auroc_by_group"]["low"], found["auroc_by_group"]["high"]) == (grouped.low, grouped.high)
    assert set(found["regions"]) == {"foot", "hand"}
    for place in (found, *found["regions"].values()):
        for name in ("auroc", "auroc_by_group", "average_precision", "expected_calibration_error", "brier"):
            assert 0 <= place[name]["low"] <= place[name]["value"] <= place[name]["high"] <= 1, name


def test_a_probability_on_the_threshold_is_called_as_a_run_calls_it(tiny_bundle: Bundle) -> None:
    """In float32: sigmoid(0) is 0.5, the threshold itself."""
    examples = drawn({"hand": (1, 1)})
    of = scored(tiny_bundle, examples, np.array([-0.05, -0.06], np.float32))
    assert of.calls["balanced"].called_N.tolist() == [True, False]
    assert of.row_N.tolist() == [2, 3]
