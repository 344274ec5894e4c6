from __future__ import annotations

import numpy as np
import pytest

from batch_fracture.calibration import Calibration


def test_probability_is_the_sigmoid_of_the_scaled_logit() -> None:
    calibration = Calibration(slope=2.0, intercept=-1.0)
    logit_B = np.array([-1.0, 0.0, 0.5, 1.0], np.float32)
    # 1 / (1 + exp(-(2 x - 1))) at -3, -1, 0, 1
    expected_B = np.array([0.04742587, 0.26894142, 0.5, 0.73105858], np.float32)
    np.testing.assert_allclose(calibration.probability(logit_B), expected_B, rtol=1e-6)


def test_probabilities_are_float32_within_0_and_1() -> None:
    extreme_B = np.array([-1e30, -100, 100, 1e30, np.inf, -np.inf], np.float32)
    probability_B = Calibration(slope=5.0, intercept=3.0).probability(extreme_B)
    assert probability_B.dtype == np.float32
    assert probability_B[[2, 3, 4]].tolist() == [1.0, 1.0, 1.0]
    assert ((probability_B >= 0) & (probability_B <= 1)).all()
    assert probability_B[[0, 1, 5]].max() < 1e-30


def test_the_order_of_images_is_kept() -> None:
    logit_B = np.sort(np.random.default_rng(0).normal(0, 3, 500)).astype(np.float32)
    probability_B = Calibration(slope=0.3, intercept=-2.0).probability(logit_B)
    assert (np.diff(probability_B) >= 0).all()


def test_identity_leaves_the_sigmoid() -> None:
    assert Calibration(slope=1.0, intercept=0.0).probability(np.zeros(1, np.float32)).tolist() == [0.5]


@pytest.mark.parametrize(
    ("slope", "intercept"),
    [(0.0, 0.0), (-1.0, 0.0), (np.nan, 0.0), (np.inf, 0.0), (1.0, np.nan), (1.0, np.inf)],
)
def test_what_would_not_keep_the_order_is_refused(slope: float, intercept: float) -> None:
    with pytest.raises(ValueError, match="do not keep the order"):
        Calibration(slope=slope, intercept=intercept)
