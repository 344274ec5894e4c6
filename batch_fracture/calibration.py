"""Platt scaling: from a raw logit to a probability that means what it says."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """probability = sigmoid(slope * logit + intercept).

    Source: J. Platt, "Probabilistic outputs for support vector machines", 1999.
    """

    slope: float
    """Above 0: calibration never changes the order of images."""
    intercept: float

    def __post_init__(self) -> None:
        if not (np.isfinite(self.slope) and np.isfinite(self.intercept) and self.slope > 0):
            raise ValueError(
                f"calibration slope {self.slope} and intercept {self.intercept} do not keep the order"
            )

    def probability(self, logit_B: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Calibrated probabilities, float32 (B,) in [0, 1], for raw logits, float32 (B,)."""
        scaled_B = np.clip(self.slope * logit_B.astype(np.float64) + self.intercept, -80.0, 80.0)
        return (1.0 / (1.0 + np.exp(-scaled_B))).astype(np.float32)
