"""ROC and precision-recall curves, and reliability bins: what the figures of `statistics` look like drawn.

Shapes: N images, T thresholds.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from batch_fracture.statistics import NUM_BINS, Proportion, Values, bins, by_label, checked, wilson

Points = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Curve:
    """Counts at each score that occurs, as a threshold (`score >= threshold` is called), highest first."""

    threshold_T: Points  # noqa: N815 - a shape suffix
    """float64 (T,); the first is infinite: nothing is called."""
    true_positive_T: Points  # noqa: N815
    """Images with label 1 that are called."""
    false_positive_T: Points  # noqa: N815
    num_positive: int
    num_negative: int

    @property
    def sensitivity_T(self) -> Points:  # noqa: N802 - a shape suffix
        """Also called recall."""
        return self.true_positive_T / self.num_positive

    @property
    def false_positive_rate_T(self) -> Points:  # noqa: N802
        """1 - specificity."""
        return self.false_positive_T / self.num_negative

    @property
    def precision_T(self) -> Points:  # noqa: N802
        """Share of the called ones that are right; 1 where nothing is called."""
        called_T = self.true_positive_T + self.false_positive_T
        return np.divide(self.true_positive_T, called_T, out=np.ones_like(called_T), where=called_T > 0)


@dataclass(frozen=True, kw_only=True)
class ReliabilityBin:
    """Images whose probabilities fall into one of equal bins."""

    low: float
    """Its lower edge; the bin holds it, and not the upper one."""
    high: float
    predicted: float
    """Mean probability."""
    observed: Proportion
    """Share with label 1."""


def curve(label_N: Values, score_N: Values) -> Curve:
    """The counts that both curves are drawn from.

    Args:
        label_N: 0 or 1.
        score_N: higher means more likely 1.

    Raises:
        ValueError: lengths differ, a label is neither 0 nor 1, a score is not finite, or one class is absent.
    """
    positive, negative = by_label(label_N, score_N)
    threshold_T = np.concatenate([np.unique(np.concatenate([positive, negative])), [np.inf]])[::-1]
    return Curve(
        threshold_T=threshold_T,
        true_positive_T=_at_least(positive, threshold_T),
        false_positive_T=_at_least(negative, threshold_T),
        num_positive=len(positive),
        num_negative=len(negative),
    )


def average_precision(label_N: Values, score_N: Values) -> float:
    """Precision at each threshold, weighted by the recall that it adds; not interpolated.

    Source: C. Buckley, E. M. Voorhees, SIGIR 2000, 33-40; steps, as the trapezoid is too good: J. Davis, M.
    Goadrich, ICML 2006, 233-240.

    Args:
        label_N: 0 or 1.
        score_N: higher means more likely 1.

    Raises:
        ValueError: as `curve`.
    """
    found = curve(label_N, score_N)
    return float(np.sum(np.diff(found.sensitivity_T) * found.precision_T[1:]))


def reliability(label_N: Values, probability_N: Values, *, num_bins: int = NUM_BINS) -> list[ReliabilityBin]:
    """Predicted and observed share in each bin that holds images, from the lowest on.

    Source: A. H. Murphy, R. L. Winkler, Applied Statistics 26 (1977) 41-47.

    Args:
        label_N: 0 or 1.
        probability_N: calibrated.
        num_bins: of equal width over [0, 1].
    """
    label, probability = checked(label_N, probability_N)
    bin_N = bins(probability, num_bins)
    return [
        ReliabilityBin(
            low=number / num_bins,
            high=(number + 1) / num_bins,
            predicted=float(probability[bin_N == number].mean()),
            observed=wilson(int(label[bin_N == number].sum()), int(np.sum(bin_N == number))),
        )
        for number in np.unique(bin_N).tolist()
    ]


def _at_least(score: Points, threshold_T: Points) -> Points:
    """How many scores reach each threshold, float64 (T,)."""
    return (len(score) - np.searchsorted(np.sort(score), threshold_T, side="left")).astype(np.float64)
