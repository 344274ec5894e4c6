"""Intervals by groups: those of independent images where groups are single, and wider where they are not."""

import math

import numpy as np
import pytest
import statsmodels.api as sm
from scipy.stats import bootstrap
from sklearn.metrics import average_precision_score, brier_score_loss, roc_auc_score

from batch_fracture import by_group, statistics
from batch_fracture.statistics import Estimate

Drawn = tuple[np.ndarray, np.ndarray, np.ndarray]


def drawn(num_groups: int, *, seed: int, ties: bool = False, likeness: float = 0.5) -> Drawn:
    """Labels, scores and groups of one to four images, which mostly share a label, and part of the noise."""
    random = np.random.default_rng(seed)
    group_N = np.repeat(np.arange(num_groups), random.integers(1, 5, num_groups))
    shared_N, own_N = random.normal(size=num_groups)[group_N], random.normal(size=len(group_N))
    one_N = (random.random(num_groups) < 0.25)[group_N]
    label_N = np.where(random.random(len(group_N)) < 0.8, one_N, random.random(len(group_N)) < 0.25).astype(
        int
    )
    score_N = 1.5 * label_N + math.sqrt(likeness) * shared_N + math.sqrt(1 - likeness) * own_N
    return label_N, np.round(score_N, 1) if ties else score_N, group_N


def probability(score_N: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(2.2 - 1.5 * score_N))


@pytest.mark.parametrize("ties", [False, True])
def test_auroc_of_single_images_is_delongs(ties: bool) -> None:
    label_N, score_N, _ = drawn(60, seed=1, ties=ties)
    found, independent = (
        by_group.auroc(label_N, score_N, np.arange(len(label_N))),
        statistics.auroc(label_N, score_N),
    )
    assert found.value == pytest.approx(roc_auc_score(label_N, score_N), abs=1e-12)
    assert (found.low, found.high) == pytest.approx((independent.low, independent.high), abs=1e-12)


def test_auroc_of_copies_is_that_of_the_originals() -> None:
    label_N, score_N, _ = drawn(60, seed=2)
    copied = by_group.auroc(np.tile(label_N, 4), np.tile(score_N, 4), np.tile(np.arange(len(label_N)), 4))
    once = statistics.auroc(label_N, score_N)
    assert (copied.low, copied.high) == pytest.approx((once.low, once.high), abs=1e-12)
    believed = statistics.auroc(np.tile(label_N, 4), np.tile(score_N, 4))
    assert believed.high - believed.low < 0.6 * (copied.high - copied.low)


def test_auroc_variance_is_obuchowskis() -> None:
    label_N, score_N, group_N = drawn(50, seed=3, ties=True)
    positive, negative = score_N[label_N == 1], score_N[label_N == 0]
    kernel = (positive[:, None] > negative) + 0.5 * (positive[:, None] == negative)
    area, m, n = kernel.mean(), len(positive), len(negative)
    excess = {}
    for group in set(group_N.tolist()):
        x, y = kernel[group_N[label_N == 1] == group], kernel[:, group_N[label_N == 0] == group]
        excess[group] = (np.sum(x.mean(1) - area), np.sum(y.mean(0) - area), len(x), y.shape[1])
    both, with_1, with_0 = len(excess), *(sum(e[at] > 0 for e in excess.values()) for at in (2, 3))
    s10 = with_1 / ((with_1 - 1) * m) * sum(e[0] ** 2 for e in excess.values())
    s01 = with_0 / ((with_0 - 1) * n) * sum(e[1] ** 2 for e in excess.values())
    s11 = both / (both - 1) * sum(e[0] * e[1] for e in excess.values())
    expected = statistics.logit_interval(area, s10 / m + s01 / n + 2 * s11 / (m * n))
    found = by_group.auroc(label_N, score_N, group_N)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=1e-12)
    assert found.high - found.low > 1.05 * np.subtract(*_bounds(statistics.auroc(label_N, score_N))[::-1])


def test_auroc_within_strata_compares_no_others_and_spreads_as_it_says() -> None:
    found, spread = [], []
    for seed in range(300):
        parts = [drawn(40, seed=1000 * seed + fold) for fold in range(3)]
        label_N = np.concatenate([label for label, _, _ in parts])
        score_N = np.concatenate([score + 100 * fold for fold, (_, score, _) in enumerate(parts)])
        group_N = np.concatenate([group + 100 * fold for fold, (_, _, group) in enumerate(parts)])
        stratum_N = np.repeat(np.arange(3), [len(label) for label, _, _ in parts])
        estimate = by_group.auroc(label_N, score_N, group_N, stratum_N=stratum_N)
        areas = [roc_auc_score(label, score) for label, score, _ in parts]
        pairs = [label.sum() * (1 - label).sum() for label, _, _ in parts]
        assert estimate.value == pytest.approx(np.average(areas, weights=pairs), abs=1e-12)
        found.append(estimate.value)
        spread.append((estimate.high - estimate.low) / (2 * 1.96))
    assert np.mean(spread) == pytest.approx(np.std(found), rel=0.1)


def test_auroc_by_groups_covers_where_delong_does_not() -> None:
    truth = 0.5 * (1 + math.erf(0.75))  # Phi(1.5 / sqrt 2)
    covered = []
    for seed in range(300):
        label_N, score_N, group_N = drawn(100, seed=seed, likeness=0.9)
        pair = by_group.auroc(label_N, score_N, group_N), statistics.auroc(label_N, score_N)
        covered.append([one.low <= truth <= one.high for one in pair])
    by_groups, by_delong = np.mean(covered, axis=0)
    assert by_delong < 0.85
    assert 0.9 <= by_groups <= 0.98


def test_brier_interval_is_statsmodels_clustered_one() -> None:
    label_N, score_N, group_N = drawn(60, seed=4)
    loss_N = (probability(score_N) - label_N) ** 2
    fitted = sm.OLS(loss_N, np.ones(len(loss_N))).fit(
        cov_type="cluster", cov_kwds={"groups": group_N, "use_correction": True}
    )
    found = by_group.brier(label_N, probability(score_N), group_N)
    expected = statistics.logit_interval(found.value, float(fitted.bse[0]) ** 2)
    assert found.value == pytest.approx(brier_score_loss(label_N, probability(score_N)), abs=1e-12)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), rel=1e-9)


@pytest.mark.parametrize("ties", [False, True])
def test_average_precision_spreads_as_scipys_bootstrap_of_scikit_learns(ties: bool) -> None:
    label_N, score_N, group_N = drawn(60, seed=5, ties=ties)

    def figure(groups: np.ndarray) -> float:
        times_N = np.bincount(groups, minlength=60)[group_N]
        return float(average_precision_score(label_N, score_N, sample_weight=times_N))

    again = bootstrap((np.arange(60),), figure, n_resamples=400, vectorized=False, rng=1, method="percentile")
    found = by_group.average_precision(label_N, score_N, group_N)
    expected = statistics.logit_interval(found.value, float(again.standard_error) ** 2)
    assert found.value == pytest.approx(average_precision_score(label_N, score_N), abs=1e-12)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=0.02)


def test_calibration_error_has_scipys_basic_lower_and_upper_percentile() -> None:
    label_N, score_N, group_N = drawn(80, seed=6)
    wrong_N = probability(score_N) ** 0.3

    def figure(groups: np.ndarray) -> float:
        times_N = np.bincount(groups, minlength=80)[group_N]
        return statistics.expected_calibration_error(np.repeat(label_N, times_N), np.repeat(wrong_N, times_N))

    again = bootstrap((np.arange(80),), figure, n_resamples=2000, vectorized=False, rng=1, method="basic")
    found = by_group.expected_calibration_error(label_N, wrong_N, group_N)
    assert found.value == statistics.expected_calibration_error(label_N, wrong_N)
    assert found.low == pytest.approx(again.confidence_interval.low, abs=0.006)
    assert found.high == pytest.approx(np.quantile(again.bootstrap_distribution, 0.975), abs=0.006)


def test_calibration_error_of_right_probabilities_may_be_0() -> None:
    """Sure to be half right: by chance each of 100 images in one bin is off by sqrt(2 / pi) x 0.5 / 10."""
    random = np.random.default_rng(7)
    label_N = (random.random(100) < 0.5).astype(int)
    found = by_group.expected_calibration_error(label_N, np.full(100, 0.5), np.arange(100))
    assert found.by_chance == pytest.approx(math.sqrt(2 / math.pi) * 0.05, rel=0.05)
    assert (found.value, found.low) == (0.0, 0.0)  # the seed has drawn 50 of 100
    assert found.high > 0.08


def test_perfect_scores_still_have_intervals() -> None:
    label_N, group_N = np.repeat([1, 0], 20), np.repeat(np.arange(20), 2)
    area = by_group.auroc(label_N, label_N, group_N)
    assert area == statistics.area_interval(1.0, 0.0, 10, 10)  # of groups, not of images
    assert _bounds(by_group.average_precision(label_N, label_N, group_N)) == (
        statistics.wilson(20, 20).low,
        1.0,
    )
    assert _bounds(by_group.brier(label_N, label_N, group_N)) == (0.0, statistics.wilson(0, 20).high)


@pytest.mark.parametrize("name", ["auroc", "average_precision", "brier"])
def test_a_single_group_shows_nothing_of_how_groups_differ(name: str) -> None:
    label_N, probability_N = [1, 1, 0, 0], [0.9, 0.3, 0.6, 0.2]
    assert _bounds(getattr(by_group, name)(label_N, probability_N, ["a"] * 4)) == (0.0, 1.0)


def test_drawn_samples_are_the_same_again_in_any_number_of_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    label_N, score_N, group_N = drawn(30, seed=8)
    whole = by_group.average_precision(label_N, score_N, group_N, num_samples=50)
    monkeypatch.setattr(by_group, "_MAX_CELLS", 7 * len(label_N))
    assert by_group.average_precision(label_N, score_N, group_N, num_samples=50) == whole


def _bounds(estimate: Estimate) -> tuple[float, float]:
    return estimate.low, estimate.high
