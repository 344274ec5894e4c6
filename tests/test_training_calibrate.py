"""Platt scaling against scikit-learn, and thresholds that keep what their names say."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from training.calibrate import CalibrationError, choose_operating_points, fit_platt

Drawn = tuple[np.ndarray, np.ndarray]


def drawn(num_images: int = 294, *, seed: int = 0) -> Drawn:
    """Labels, and logits that are twice too sure and shifted."""
    random = np.random.default_rng(seed)
    label_N = (random.random(num_images) < 0.2).astype(np.float32)
    logit_N = (4.0 * (label_N - 0.3) + random.normal(0, 2.0, num_images)).astype(np.float32)
    return label_N, logit_N


def test_platt_is_a_logistic_regression_on_platts_targets() -> None:
    label_N, logit_N = drawn()
    high = (label_N.sum() + 1) / (label_N.sum() + 2)
    low = 1 / (len(label_N) - label_N.sum() + 2)
    target_N = np.where(label_N == 1, high, low)
    # scikit-learn has no soft targets: each image counts once with either label, weighted.
    twice_N1 = np.concatenate([logit_N, logit_N])[:, None].astype(np.float64)
    hard_N = np.concatenate([np.ones(len(label_N)), np.zeros(len(label_N))])
    fitted = LogisticRegression(C=np.inf, tol=1e-10, max_iter=1000).fit(
        twice_N1, hard_N, sample_weight=np.concatenate([target_N, 1 - target_N])
    )
    found = fit_platt(label_N, logit_N)
    assert found.slope == pytest.approx(fitted.coef_[0, 0], rel=1e-4)
    assert found.intercept == pytest.approx(fitted.intercept_[0], rel=1e-4)


def test_platt_stays_finite_where_logits_separate_the_labels() -> None:
    label_N = np.array([0, 0, 0, 1, 1, 1], np.float32)
    found = fit_platt(label_N, np.array([-300, -200, -100, 100, 200, 300], np.float32))
    assert 0 < found.slope < 1
    assert found.probability(np.array([300.0], np.float32))[0] > 0.79


def test_platt_refuses_logits_that_point_the_wrong_way() -> None:
    label_N, logit_N = drawn()
    with pytest.raises(CalibrationError, match="higher logits do not mean more fractures"):
        fit_platt(label_N, -logit_N)


def test_calibrated_probabilities_add_up_to_the_fractures() -> None:
    label_N, logit_N = drawn(5000, seed=1)
    probability_N = fit_platt(label_N, logit_N).probability(logit_N)
    assert probability_N.sum() == pytest.approx(label_N.sum(), rel=0.005)


@pytest.mark.parametrize("seed", range(3))
def test_operating_points_keep_what_their_names_say(seed: int) -> None:
    label_N, logit_N = drawn(seed=seed)
    probability_N = fit_platt(label_N, logit_N).probability(logit_N)
    points = choose_operating_points(label_N, probability_N)
    assert list(points) == ["high-sensitivity", "balanced", "high-specificity"]
    for name, point in points.items():
        fracture_N = probability_N >= point.threshold
        assert point.name == name
        assert point.sensitivity == pytest.approx(fracture_N[label_N == 1].mean())
        assert point.specificity == pytest.approx(1 - fracture_N[label_N == 0].mean())
        assert np.abs(probability_N - point.threshold).min() > 0  # no image sits on a threshold
    assert points["high-sensitivity"].sensitivity >= 0.95
    assert points["high-specificity"].specificity >= 0.95
    youden = {name: point.sensitivity + point.specificity for name, point in points.items()}
    assert youden["balanced"] == max(youden.values())


def test_operating_points_by_hand() -> None:
    label_N = np.array([0, 0, 0, 1, 1], np.float32)
    points = choose_operating_points(label_N, np.array([0.1, 0.2, 0.6, 0.4, 0.8], np.float32))
    assert points["high-sensitivity"].threshold == pytest.approx(0.3)
    assert points["high-specificity"].threshold == pytest.approx(0.7)
    assert points["balanced"].threshold == pytest.approx(0.3)  # 1 + 2/3 beats 1/2 + 1
