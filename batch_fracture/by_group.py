"""The figures of `statistics` with intervals for images that come in groups, such as those of one patient.

Images of one group resemble each other, so fewer independent ones are there than are counted, and intervals
that take all as independent are too narrow. Here a group is what varies: by formula where there is one, else
by drawing whole groups anew (A. C. Davison, D. V. Hinkley, "Bootstrap Methods and their Application", 1997,
section 3.8).

Shapes: N images, G groups, R drawn samples.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from batch_fracture import curves, statistics
from batch_fracture.statistics import NUM_BINS, Estimate, Values, bins, by_label, checked, wilson

Reals = npt.NDArray[np.float64]

NUM_SAMPLES = 2000
_MAX_CELLS = 4_000_000
"""Samples times images that are held at once, for memory's sake."""


@dataclass(frozen=True, kw_only=True)
class CalibrationError(Estimate):
    """Expected calibration error, with what chance alone would make of it."""

    by_chance: float
    """Mean of what as many images would show of probabilities that were exactly right."""


def auroc(label_N: Values, score_N: Values, group_N: Values, *, stratum_N: Values | None = None) -> Estimate:
    """Area under the ROC curve as `statistics.auroc`, its interval by groups.

    With one image in each group the variance is DeLong's.
    Source: N. A. Obuchowski, Biometrics 53 (1997) 567-578, section 3.

    Args:
        label_N: 0 or 1; a group may hold both.
        score_N: higher means more likely 1.
        group_N: what each image belongs to, any type that can be sorted.
        stratum_N: only pairs of images of one stratum are compared, such as a fold with a network of its own;
            each holds both labels, and no group lies in two.

    Raises:
        ValueError: as `statistics.auroc`.
    """
    label, score, group = np.asarray(label_N), np.asarray(score_N), np.asarray(group_N)
    stratum = np.zeros(len(label)) if stratum_N is None else np.asarray(stratum_N)
    inside = [stratum == one for one in np.unique(stratum)]
    areas, variances, num_with = zip(*(_area(label[of], score[of], group[of]) for of in inside), strict=True)
    weight = np.array([np.sum(label[of] == 1) * np.sum(label[of] == 0) for of in inside], np.float64)
    weight /= weight.sum()
    area = float(weight @ areas)
    if np.min(num_with) < 2:
        return _unknown(area)
    return statistics.area_interval(area, float(weight**2 @ variances), *np.sum(num_with, axis=0).tolist())


def _area(label_N: Values, score_N: Values, group_N: Values) -> tuple[float, float, tuple[int, int]]:
    """The area, its variance by groups, and how many groups hold a 1 and a 0."""
    positive, negative = by_label(label_N, score_N)
    label = np.asarray(label_N, np.float64)
    v10, v01 = statistics.placements(positive, negative)
    area = float(v10.mean())
    index_N = _group_index(group_N)
    excess_G = [
        np.bincount(index_N[label == value], weights=v - area, minlength=index_N.max() + 1)
        for value, v in ((1, v10), (0, v01))
    ]
    ones, zeros = (len(np.unique(index_N[label == value])) for value in (1, 0))
    variance = sum(
        _unbiased(num) * float(np.sum(excess**2)) / len(v) ** 2
        for num, excess, v in zip((ones, zeros), excess_G, (v10, v01), strict=True)
    )
    both = _unbiased(int(index_N.max()) + 1) * float(np.sum(excess_G[0] * excess_G[1]))
    return area, max(0.0, variance + 2 * both / (len(v10) * len(v01))), (ones, zeros)


def brier(label_N: Values, probability_N: Values, group_N: Values) -> Estimate:
    """Brier score as `statistics.brier`; its interval is the logit-transformed normal one.

    The variance is that of a mean under groups, the sandwich of K.-Y. Liang, S. L. Zeger, Biometrika 73
    (1986) 13-22, with G / (G - 1).

    Args:
        label_N: 0 or 1.
        probability_N: calibrated.
        group_N: as `auroc`.
    """
    value = statistics.brier(label_N, probability_N)
    label, probability = checked(label_N, probability_N)
    index_N = _group_index(group_N)
    excess_G = np.bincount(index_N, weights=(probability - label) ** 2 - value)
    if len(excess_G) < 2:
        return _unknown(value)
    variance = _unbiased(len(excess_G)) * float(np.sum(excess_G**2)) / len(label) ** 2
    return _within_0_and_1(value, variance, len(excess_G))


def average_precision(
    label_N: Values, score_N: Values, group_N: Values, *, num_samples: int = NUM_SAMPLES
) -> Estimate:
    """Average precision as `curves.average_precision`; a logit-transformed normal interval.

    Its variance is that over drawn samples of groups. K. Boyd, K. H. Eng, C. D. Page, ECML PKDD 2013,
    451-466, recommend the logit interval with a binomial variance, which knows neither groups nor the number
    of other images. In simulated sets of 300 images in 120 groups, whose images resembled each other, theirs
    held the true figure in 89 %, this one in 94 %.

    Args:
        label_N: 0 or 1.
        score_N: higher means more likely 1.
        group_N: as `auroc`.
        num_samples: to draw; always the same ones.

    Raises:
        ValueError: as `statistics.auroc`.
    """
    value = curves.average_precision(label_N, score_N)
    label, score = checked(label_N, score_N)
    order = np.argsort(-score, kind="stable")
    label, score = label[order], score[order]
    last_T = np.flatnonzero(np.append(score[1:] != score[:-1], True))

    def figure(weight_RN: Reals) -> Reals:
        weight_RN = weight_RN[:, order]
        called_RT = np.cumsum(weight_RN, axis=1)[:, last_T]
        right_RT = np.cumsum(weight_RN * label, axis=1)[:, last_T]
        precision_RT = right_RT / np.maximum(called_RT, 1)
        gained_RT = np.diff(right_RT, axis=1, prepend=0.0)
        with np.errstate(invalid="ignore"):  # a sample without any fracture has no precision: nan
            return np.asarray(np.sum(gained_RT * precision_RT, axis=1) / right_RT[:, -1])

    if len(set(_group_index(group_N)[order][label == 1].tolist())) < 2:
        return _unknown(value)
    drawn_R = _drawn(figure, group_N, num_samples)
    return _within_0_and_1(value, float(np.nanvar(drawn_R, ddof=1)), int(label.sum()))


def expected_calibration_error(
    label_N: Values,
    probability_N: Values,
    group_N: Values,
    *,
    num_bins: int = NUM_BINS,
    num_samples: int = NUM_SAMPLES,
) -> CalibrationError:
    """As `statistics.expected_calibration_error`, which chance makes too large, never too small.

    Drawn samples are too large once more. So the lower bound is the basic one (Davison and Hinkley, section
    5.2), and 0 where probabilities that are exactly right would show as much in one of 40 sets or more
    (labels drawn by them: J. Bröcker, L. A. Smith, Weather and Forecasting 22 (2007) 651-661). The upper one
    is the quantile itself, too high rather than too low. In simulated sets of 300 images in 120 groups this
    held the true error in 90 to 97 %.

    Args:
        label_N: 0 or 1.
        probability_N: calibrated.
        group_N: as `auroc`.
        num_bins: of equal width over [0, 1].
        num_samples: to draw; always the same ones.
    """
    value = statistics.expected_calibration_error(label_N, probability_N, num_bins=num_bins)
    label, probability = checked(label_N, probability_N)
    in_bin_NB = np.eye(num_bins)[bins(probability, num_bins)]
    gap_NB = in_bin_NB * (label - probability)[:, None]

    def figure(weight_RN: Reals) -> Reals:
        return np.asarray(np.abs(weight_RN @ gap_NB).sum(axis=1) / weight_RN.sum(axis=1))

    many = np.quantile(_drawn(figure, group_N, num_samples), 0.975)
    chance_R = _calibration_error_by_chance(probability, in_bin_NB, num_samples)
    seen_by_chance = value <= np.quantile(chance_R, 0.975)
    return CalibrationError(
        value=value,
        low=0.0 if seen_by_chance else max(0.0, min(value, 2 * value - float(many))),
        high=max(value, float(many)),
        by_chance=float(chance_R.mean()),
    )


def _drawn(figure: Callable[[Reals], Reals], group_N: Values, num_samples: int) -> Reals:
    """The figure of samples of as many groups, drawn with replacement; float64 (R,).

    Args:
        figure: of weights, float64 (R, N): how often each image is in each sample.
        group_N: as `auroc`.
        num_samples: R.
    """
    index_N = _group_index(group_N)
    num_groups = int(index_N.max()) + 1
    random = np.random.default_rng(0)
    found = []
    for size in _sizes(num_samples, len(index_N)):
        times_RG = random.multinomial(num_groups, np.full(num_groups, 1 / num_groups), size=size)
        found.append(figure(times_RG[:, index_N].astype(np.float64)))
    return np.concatenate(found)


def _calibration_error_by_chance(probability_N: Reals, in_bin_NB: Reals, num_samples: int) -> Reals:
    """What labels drawn by the probabilities show, float64 (R,)."""
    random = np.random.default_rng(0)
    found = []
    for size in _sizes(num_samples, len(probability_N)):
        label_RN = random.random((size, len(probability_N))) < probability_N
        found.append(np.abs((label_RN - probability_N) @ in_bin_NB).sum(axis=1) / len(probability_N))
    return np.concatenate(found)


def _sizes(num_samples: int, num_images: int) -> Iterator[int]:
    """How many samples to hold at once, until there are enough."""
    size = max(1, _MAX_CELLS // num_images)
    for start in range(0, num_samples, size):
        yield min(size, num_samples - start)


def _group_index(group_N: Values) -> npt.NDArray[np.intp]:
    """Groups as numbers from 0, intp (N,)."""
    return np.unique(np.asarray(group_N), return_inverse=True)[1]


def _unbiased(num_groups: int) -> float:
    """G / (G - 1); of a single group it has no use, see `_unknown`."""
    return num_groups / max(1, num_groups - 1)


def _unknown(value: float) -> Estimate:
    """A single group shows nothing of how groups differ."""
    return Estimate(value=value, low=0.0, high=1.0)


def _within_0_and_1(value: float, variance: float, total: int) -> Estimate:
    """The logit interval; at 0 or 1, where it has none, Wilson's for a share of `total`."""
    if 0.0 < value < 1.0:
        return statistics.logit_interval(value, variance)
    share = wilson(round(value) * total, total)
    return Estimate(value=value, low=share.low, high=share.high)
