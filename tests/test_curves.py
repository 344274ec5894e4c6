"""Curves against scikit-learn, on scores with and without ties."""

import numpy as np
import pytest
from sklearn.calibration import calibration_curve
from sklearn.metrics import average_precision_score, precision_recall_curve, roc_curve
from statsmodels.stats.proportion import proportion_confint

from batch_fracture import curves


def drawn(*, ties: bool, num_images: int = 200) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(num_images)
    label_N = (random.random(num_images) < 0.25).astype(int)
    score_N = 1 / (1 + np.exp(-random.normal(label_N, 1.0)))
    return label_N, 0.9 * np.round(score_N, 1) + 0.034 if ties else score_N


@pytest.mark.parametrize("ties", [False, True])
def test_roc_is_scikit_learns(ties: bool) -> None:
    label_N, score_N = drawn(ties=ties)
    found = curves.curve(label_N, score_N)
    false_positive_T, true_positive_T, threshold_T = roc_curve(label_N, score_N, drop_intermediate=False)
    np.testing.assert_allclose(found.false_positive_rate_T, false_positive_T, atol=1e-12)
    np.testing.assert_allclose(found.sensitivity_T, true_positive_T, atol=1e-12)
    np.testing.assert_array_equal(found.threshold_T, threshold_T)


@pytest.mark.parametrize("ties", [False, True])
def test_precision_and_recall_are_scikit_learns(ties: bool) -> None:
    label_N, score_N = drawn(ties=ties)
    found = curves.curve(label_N, score_N)
    precision_T, recall_T, threshold_T = precision_recall_curve(label_N, score_N)  # lowest first
    np.testing.assert_allclose(found.precision_T[::-1], precision_T, atol=1e-12)
    np.testing.assert_allclose(found.sensitivity_T[::-1], recall_T, atol=1e-12)
    np.testing.assert_array_equal(found.threshold_T[:0:-1], threshold_T)


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("num_images", [12, 200])
def test_average_precision_is_scikit_learns(ties: bool, num_images: int) -> None:
    label_N, score_N = drawn(ties=ties, num_images=num_images)
    expected = average_precision_score(label_N, score_N)
    assert curves.average_precision(label_N, score_N) == pytest.approx(expected, abs=1e-12)


def test_average_precision_by_hand() -> None:
    # Called one by one: right (1/1), wrong, right (2/3); each right one adds half of the recall.
    assert curves.average_precision([1, 0, 1, 0], [0.9, 0.8, 0.7, 0.1]) == pytest.approx((1 + 2 / 3) / 2)


@pytest.mark.parametrize("ties", [False, True])
def test_reliability_is_scikit_learns_with_statsmodels_intervals(ties: bool) -> None:
    label_N, probability_N = drawn(ties=ties)
    found = curves.reliability(label_N, probability_N)
    observed_B, predicted_B = calibration_curve(label_N, probability_N, n_bins=10)
    np.testing.assert_allclose([at.predicted for at in found], predicted_B, atol=1e-12)
    np.testing.assert_allclose([at.observed.value for at in found], observed_B, atol=1e-12)
    assert sum(at.observed.total for at in found) == len(label_N)
    for at in found:
        low, high = proportion_confint(at.observed.count, at.observed.total, method="wilson")
        assert (at.observed.low, at.observed.high) == pytest.approx((low, high), abs=1e-12)


def test_a_bin_holds_its_lower_edge_and_the_last_one_holds_1() -> None:
    found = curves.reliability([0, 1, 1], [0.5, 0.59, 1.0])
    assert [(at.low, at.high, at.observed.count, at.observed.total) for at in found] == [
        (0.5, 0.6, 1, 2),
        (0.9, 1.0, 1, 1),
    ]


def test_one_class_alone_has_no_curve() -> None:
    with pytest.raises(ValueError, match="both are needed"):
        curves.curve([1, 1], [0.2, 0.3])
