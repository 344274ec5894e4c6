"""Figures of merit with their uncertainty, in numpy alone; each formula names its paper.

Intervals here take images as independent; `by_group` has those that do not.

Shapes: N images.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Z_95 = 1.959963984540054
"""Two-sided 95 % of the normal distribution."""
NUM_BINS = 10
"""Of probabilities, for calibration."""

Values = npt.ArrayLike


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A figure with its 95 % interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class Proportion(Estimate):
    """A share of counted images, with Wilson's 95 % interval."""

    count: int
    total: int


@dataclass(frozen=True, kw_only=True)
class Accuracy:
    """Sensitivity and specificity at one threshold."""

    threshold: float
    sensitivity: Proportion
    specificity: Proportion


def auroc(label_N: Values, score_N: Values) -> Estimate:
    """Area under the ROC curve; ties count half.

    The interval is the logit-transformed normal one on DeLong's variance, so it stays within [0, 1]; where
    scores separate the labels and that variance is 0, Newcombe's score interval takes its place.
    Sources: E. R. DeLong, D. M. DeLong, D. L. Clarke-Pearson, Biometrics 44 (1988) 837-845; computed by
    midranks as X. Sun, W. Xu, IEEE Signal Processing Letters 21 (2014) 1389-1393; transformed interval: M. S.
    Pepe, "The Statistical Evaluation of Medical Tests", 2003, section 5.2.

    Args:
        label_N: 0 or 1.
        score_N: higher means more likely 1.

    Raises:
        ValueError: lengths differ, a label is neither 0 nor 1, a score is not finite, or one class is absent.
    """
    positive, negative = by_label(label_N, score_N)
    return area_interval(*delong(positive, negative), len(positive), len(negative))


def delong(positive: npt.NDArray[np.float64], negative: npt.NDArray[np.float64]) -> tuple[float, float]:
    """Area under the ROC curve of two samples of scores, and DeLong's variance of it.

    Args:
        positive: scores of fractured images, float64 (P,).
        negative: scores of the others, float64 (M,).

    Returns:
        The area, and its variance (0 for a sample of one, whose spread is unknown).
    """
    v10, v01 = placements(positive, negative)
    variance = sum(float(np.var(v, ddof=1)) / len(v) for v in (v10, v01) if len(v) > 1)
    return float(v10.mean()), variance


def placements(
    positive: npt.NDArray[np.float64], negative: npt.NDArray[np.float64]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """DeLong's structural components: how much of the other sample each score is on the right side of.

    Args:
        positive: as `delong`.
        negative: as `delong`.

    Returns:
        float64 (P,), the share of `negative` below each of `positive`, and float64 (M,), the share of
        `positive` above each of `negative`; ties count half.
    """
    num_positive, num_negative = len(positive), len(negative)
    rank_all = midranks(np.concatenate([positive, negative]))
    # Sun and Xu, equations 7 to 10: as differences of midranks.
    v10 = (rank_all[:num_positive] - midranks(positive)) / num_negative
    v01 = 1.0 - (rank_all[num_positive:] - midranks(negative)) / num_positive
    return v10, v01


def area_interval(area: float, variance: float, num_positive: int, num_negative: int) -> Estimate:
    """An area under the ROC curve with the interval that `auroc` describes.

    Args:
        area: the estimate.
        variance: its variance, which an area of 0 or 1 has no use for.
        num_positive: independent samples with label 1; they count for an area of 0 or 1 only.
        num_negative: with label 0.
    """
    if 0.0 < area < 1.0:
        return logit_interval(area, variance)
    bound = _least_area_seen_as_1(num_positive, num_negative)
    low, high = (bound, 1.0) if area == 1.0 else (0.0, 1.0 - bound)
    return Estimate(value=area, low=low, high=high)


def logit_interval(value: float, variance: float) -> Estimate:
    """A figure in (0, 1) with the normal 95 % interval of its logit, by the delta method."""
    centre, half = math.log(value / (1 - value)), Z_95 * math.sqrt(variance) / (value * (1 - value))
    low, high = (1 / (1 + math.exp(-bound)) for bound in (centre - half, centre + half))
    return Estimate(value=value, low=low, high=high)


def _least_area_seen_as_1(num_positive: int, num_negative: int) -> float:
    """The lower 95 % bound of an area estimated as 1: the t with 1 - t = z sqrt(V(t)).

    Source: R. G. Newcombe, Statistics in Medicine 25 (2006) 559-573, method 5.
    """
    extra = (num_positive + num_negative) / 2 - 1

    def excess(area: float) -> float:
        spread = 1 + extra * ((1 - area) / (2 - area) + area / (1 + area))
        variance = area * (1 - area) * spread / (num_positive * num_negative)
        return (1 - area) - Z_95 * math.sqrt(variance)

    low, high = 0.0, 1.0 - 1e-12
    for _ in range(60):  # bisection: the excess is positive below the bound, negative above
        middle = (low + high) / 2
        low, high = (middle, high) if excess(middle) > 0 else (low, middle)
    return low


def midranks(score_N: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Ranks from 1, equal scores sharing the mean of theirs; float64 (N,)."""
    _, inverse, counts = np.unique(score_N, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    midrank = last - (counts - 1) / 2.0
    return np.asarray(midrank[inverse], dtype=np.float64)


def wilson(count: int, total: int) -> Proportion:
    """A share and its 95 % score interval; for a total of 0, the share is nan and the interval [0, 1].

    Source: E. B. Wilson, Journal of the American Statistical Association 22 (1927) 209-212.
    """
    if not 0 <= count <= total:
        raise ValueError(f"{count} of {total} is no share")
    if total == 0:
        return Proportion(value=math.nan, low=0.0, high=1.0, count=0, total=0)
    share, z2 = count / total, Z_95**2
    centre = (share + z2 / (2 * total)) / (1 + z2 / total)
    half = Z_95 * math.sqrt(share * (1 - share) / total + z2 / (4 * total**2)) / (1 + z2 / total)
    low = 0.0 if count == 0 else centre - half
    high = 1.0 if count == total else centre + half
    return Proportion(value=share, low=low, high=high, count=count, total=total)


def accuracy(label_N: Values, probability_N: Values, *, threshold: float) -> Accuracy:
    """Sensitivity and specificity when `probability >= threshold` counts as fractured.

    Args:
        label_N: 0 or 1.
        probability_N: any score on the threshold's scale.
        threshold: the operating point.

    Raises:
        ValueError: as `auroc`.
    """
    positive, negative = by_label(label_N, probability_N)
    return Accuracy(
        threshold=threshold,
        sensitivity=wilson(int(np.sum(positive >= threshold)), len(positive)),
        specificity=wilson(int(np.sum(negative < threshold)), len(negative)),
    )


def expected_calibration_error(label_N: Values, probability_N: Values, *, num_bins: int = NUM_BINS) -> float:
    """Mean distance of predicted from observed share over equal-width bins, weighted by their images.

    Source: M. P. Naeini, G. F. Cooper, M. Hauskrecht, AAAI 2015, 2901-2907.
    """
    label, probability = checked(label_N, probability_N)
    gaps = np.bincount(bins(probability, num_bins), weights=label - probability, minlength=num_bins)
    return float(np.abs(gaps).sum() / len(label))


def bins(probability_N: npt.NDArray[np.float64], num_bins: int) -> npt.NDArray[np.int64]:
    """Which of equal-width bins over [0, 1] each probability falls into, int64 (N,); 1 is in the last."""
    return np.minimum((probability_N * num_bins).astype(np.int64), num_bins - 1)


def brier(label_N: Values, probability_N: Values) -> float:
    """Mean squared distance of probability from label.

    Source: G. W. Brier, Monthly Weather Review 78 (1950) 1-3, in its two-class form (halved).
    """
    label, probability = checked(label_N, probability_N)
    return float(np.mean((probability - label) ** 2))


def by_label(label_N: Values, score_N: Values) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Scores of label 1, float64 (P,), and of label 0, float64 (M,).

    Raises:
        ValueError: as `auroc`.
    """
    label, score = checked(label_N, score_N)
    positive, negative = score[label == 1], score[label == 0]
    if not len(positive) or not len(negative):
        raise ValueError(f"{len(positive)} images with label 1 and {len(negative)} with 0: both are needed")
    return positive, negative


def checked(label_N: Values, score_N: Values) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Labels and scores, float64 (N,) each.

    Raises:
        ValueError: lengths differ, a label is neither 0 nor 1, or a score is not finite.
    """
    label, score = np.asarray(label_N, np.float64), np.asarray(score_N, np.float64)
    if label.shape != score.shape or label.ndim != 1 or not len(label):
        raise ValueError(f"labels {label.shape} and scores {score.shape} must be two equal, non-empty rows")
    if not np.isin(label, (0.0, 1.0)).all():
        raise ValueError("labels must be 0 or 1")
    if not np.isfinite(score).all():
        raise ValueError("scores must be finite")
    return label, score
