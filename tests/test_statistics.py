"""Against scikit-learn, statsmodels, and DeLong's own definition."""

import math

import numpy as np
import pytest
from sklearn.metrics import brier_score_loss, roc_auc_score
from statsmodels.stats.proportion import proportion_confint

from batch_fracture import statistics


def drawn(num_images: int, *, seed: int, ties: bool) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    label_N = (random.random(num_images) < 0.25).astype(int)
    label_N[:2] = (0, 1)
    score_N = random.normal(label_N, 1.0)
    return label_N, np.round(score_N, 1) if ties else score_N


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("num_images", [5, 40, 588])
def test_auroc_is_scikit_learns(num_images: int, ties: bool) -> None:
    label_N, score_N = drawn(num_images, seed=num_images, ties=ties)
    found = statistics.auroc(label_N, score_N)
    assert found.value == pytest.approx(roc_auc_score(label_N, score_N), abs=1e-12)
    assert found.low <= found.value <= found.high


def test_delong_variance_follows_its_definition() -> None:
    label_N, score_N = drawn(60, seed=3, ties=True)
    positive, negative = score_N[label_N == 1], score_N[label_N == 0]
    kernel = (positive[:, None] > negative) + 0.5 * (positive[:, None] == negative)
    expected = kernel.mean(1).var(ddof=1) / len(positive) + kernel.mean(0).var(ddof=1) / len(negative)
    value, variance = statistics.delong(positive, negative)
    assert value == pytest.approx(kernel.mean(), abs=1e-12)
    assert variance == pytest.approx(expected, rel=1e-12)


def test_auroc_interval_covers_as_it_says() -> None:
    """Two normals one standard deviation apart have an area of Phi(1 / sqrt 2) = 0.7602."""
    truth = 0.5 * (1 + math.erf(0.5))
    found = [statistics.auroc(*drawn(200, seed=seed, ties=False)) for seed in range(400)]
    covered = np.mean([one.low <= truth <= one.high for one in found])
    assert 0.92 <= covered <= 0.98


def test_auroc_of_separated_scores_still_has_an_interval() -> None:
    few = statistics.auroc([0] * 8 + [1] * 8, range(16))
    many = statistics.auroc([0] * 80 + [1] * 80, range(160))
    assert (few.value, few.high, many.value, many.high) == (1.0, 1.0, 1.0, 1.0)
    assert few.low == pytest.approx(0.75565, abs=1e-5)
    assert many.low == pytest.approx(0.97547, abs=1e-5)
    opposite = statistics.auroc([1] * 8 + [0] * 8, range(16))
    assert (opposite.value, opposite.low) == (0.0, 0.0)
    assert opposite.high == pytest.approx(1 - few.low, abs=1e-12)


def test_bound_of_a_perfect_area_solves_newcombes_equation() -> None:
    low = statistics.auroc([0] * 12 + [1] * 5, range(17)).low
    spread = 1 + (17 / 2 - 1) * ((1 - low) / (2 - low) + low / (1 + low))
    deviation = math.sqrt(low * (1 - low) * spread / 60)
    assert 1 - low == pytest.approx(statistics.Z_95 * deviation, rel=1e-9)


@pytest.mark.parametrize(
    ("label_N", "score_N", "message"),
    [
        ([0, 1], [0.5], "equal"),
        ([], [], "non-empty"),
        ([0, 2], [0.1, 0.2], "0 or 1"),
        ([0, 1], [0.1, math.nan], "finite"),
        ([1, 1], [0.1, 0.2], "both are needed"),
    ],
)
def test_auroc_refuses(label_N: list[int], score_N: list[float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        statistics.auroc(label_N, score_N)


@pytest.mark.parametrize(("count", "total"), [(0, 7), (7, 7), (3, 7), (49, 51), (1, 1), (480, 485)])
def test_wilson_is_statsmodels(count: int, total: int) -> None:
    found = statistics.wilson(count, total)
    low, high = proportion_confint(count, total, alpha=0.05, method="wilson")
    assert (found.low, found.high) == pytest.approx((low, high), abs=1e-12)
    assert (found.value, found.count, found.total) == (count / total, count, total)
    assert 0.0 <= found.low <= found.value <= found.high <= 1.0


def test_wilson_of_nothing_knows_nothing() -> None:
    nothing = statistics.wilson(0, 0)
    assert math.isnan(nothing.value)
    assert (nothing.low, nothing.high) == (0.0, 1.0)
    with pytest.raises(ValueError, match="5 of 3"):
        statistics.wilson(5, 3)


def test_accuracy_counts_the_threshold_itself_as_fractured() -> None:
    at = statistics.accuracy([1, 1, 0, 0, 0], [0.5, 0.4, 0.5, 0.3, 0.1], threshold=0.5)
    assert (at.sensitivity.count, at.sensitivity.total) == (1, 2)
    assert (at.specificity.count, at.specificity.total) == (2, 3)


def test_expected_calibration_error_by_hand() -> None:
    # Bin 0.1-0.2: predicted 0.15, observed 0.5; bin 0.9-1.0: predicted 0.95, observed 1.
    found = statistics.expected_calibration_error([0, 1, 1, 1], [0.15, 0.15, 0.9, 1.0])
    assert found == pytest.approx((2 * 0.35 + 2 * 0.05) / 4, abs=1e-12)


def test_brier_is_scikit_learns() -> None:
    label_N, score_N = drawn(100, seed=5, ties=False)
    probability_N = 1 / (1 + np.exp(-score_N))
    expected = brier_score_loss(label_N, probability_N)
    assert statistics.brier(label_N, probability_N) == pytest.approx(expected, abs=1e-12)
