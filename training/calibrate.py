"""From logits to probabilities, and from those to named thresholds; on the calibration half only."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from batch_fracture.bundle import OperatingPoint
from batch_fracture.calibration import Calibration
from batch_fracture.errors import BatchFractureError
from batch_fracture.statistics import Accuracy, accuracy

DEFAULT_OPERATING_POINT = "balanced"
TARGET = 0.95
"""Least sensitivity of `high-sensitivity`, and specificity of `high-specificity`, where they are chosen."""
_MAX_STEPS = 100
_CONVERGED = 1e-10


class CalibrationError(BatchFractureError):
    """The network does not order the calibration images as their labels do; training has failed."""


def fit_platt(label_N: npt.NDArray[np.float32], logit_N: npt.NDArray[np.float32]) -> Calibration:
    """Slope and intercept by maximum likelihood, with Platt's targets.

    Targets are (N1 + 1) / (N1 + 2) and 1 / (N0 + 2) instead of 1 and 0, which keeps the slope finite for
    labels that the logits separate. Source: J. Platt, "Probabilistic outputs for support vector machines",
    1999, section 2.2; solved by Newton's method with halved steps as H.-T. Lin, C.-J. Lin, R. C. Weng,
    Machine Learning 68 (2007) 267-276.

    Args:
        label_N: 0 or 1.
        logit_N: raw logits.

    Raises:
        CalibrationError: the best slope is not above 0.
    """
    num_positive = int(label_N.sum())
    high, low = (num_positive + 1) / (num_positive + 2), 1 / (len(label_N) - num_positive + 2)
    target_N = np.where(label_N == 1, high, low)
    design_N2 = np.stack([logit_N.astype(np.float64), np.ones(len(logit_N))], axis=1)
    slope, intercept = _maximise_likelihood(design_N2, target_N)
    if slope <= 0:
        raise CalibrationError(
            f"calibration slope {slope:.4f}: higher logits do not mean more fractures on the calibration "
            "half; train longer, or check the labels"
        )
    return Calibration(slope=slope, intercept=intercept)


def choose_operating_points(
    label_N: npt.NDArray[np.float32], probability_N: npt.NDArray[np.float32]
) -> dict[str, OperatingPoint]:
    """Three thresholds, midway between probabilities that occur, with what they were chosen by.

    `high-sensitivity` is the highest with at least `TARGET` sensitivity, `high-specificity` the lowest with
    at least `TARGET` specificity, `balanced` the one with the largest sum of both (W. J. Youden, Cancer 3
    (1950) 32-35).

    Args:
        label_N: 0 or 1.
        probability_N: calibrated.
    """
    values = np.unique(probability_N.astype(np.float64))
    middles = np.concatenate([[values[0] / 2], (values[:-1] + values[1:]) / 2, [(values[-1] + 1) / 2]])
    found = [accuracy(label_N, probability_N, threshold=float(middle)) for middle in middles]
    chosen = {
        "high-sensitivity": [at for at in found if at.sensitivity.value >= TARGET][-1],
        "balanced": max(found, key=lambda at: at.sensitivity.value + at.specificity.value),
        "high-specificity": next(at for at in found if at.specificity.value >= TARGET),
    }
    return {name: _operating_point(name, at) for name, at in chosen.items()}


def _operating_point(name: str, at: Accuracy) -> OperatingPoint:
    return OperatingPoint(
        name=name,
        threshold=at.threshold,
        sensitivity=at.sensitivity.value,
        specificity=at.specificity.value,
    )


def _maximise_likelihood(
    design_N2: npt.NDArray[np.float64], target_N: npt.NDArray[np.float64]
) -> tuple[float, float]:
    """Newton's method on the concave log-likelihood of a logistic regression with soft targets."""

    def loss(weights: npt.NDArray[np.float64]) -> float:
        scaled_N = design_N2 @ weights
        return float(np.sum(np.logaddexp(0.0, scaled_N) - target_N * scaled_N))

    weights = np.zeros(2)
    for _ in range(_MAX_STEPS):
        probability_N = 1.0 / (1.0 + np.exp(-np.clip(design_N2 @ weights, -80.0, 80.0)))
        gradient = design_N2.T @ (probability_N - target_N)
        curvature_N = probability_N * (1.0 - probability_N)
        hessian = (design_N2 * curvature_N[:, None]).T @ design_N2 + 1e-12 * np.eye(2)
        step = np.linalg.solve(hessian, gradient)
        while loss(weights - step) > loss(weights) and np.abs(step).max() > _CONVERGED:
            step = step / 2
        weights = weights - step
        if np.abs(step).max() <= _CONVERGED:
            break
    return float(weights[0]), float(weights[1])
