"""Labelled images that are drawn, and what a model of known quality says of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from training.figures import Calls, Scored
from training.inputs import Examples
from training.labels import LabelledImage


def drawn_examples(
    label_N: np.ndarray, *, group_size: int = 2, region: str = "hand", side: int = 8, seed: int = 0
) -> Examples:
    """Random pictures, grouped as they come; rows are counted from 2, as in a CSV file."""
    rows = tuple(
        LabelledImage(
            row=number + 2,
            name=f"{number}.png",
            path=Path(f"{number}.png"),
            label=int(label),
            group=f"g{number // group_size}",
            split="val",
            region=region,
        )
        for number, label in enumerate(label_N)
    )
    pixels_NSS = np.random.default_rng(seed).integers(0, 256, (len(rows), side, side), np.uint8)
    return Examples(rows=rows, pixels_NSS=pixels_NSS)


def drawn_scored(num_images: int = 120, *, seed: int = 0) -> Scored:
    """Every fifth image is fractured; probabilities are right on the whole; groups of three, two regions."""
    random = np.random.default_rng(seed)
    label_N = (np.arange(num_images) % 5 == 0).astype(np.float32)
    logit_N = random.normal(2.0 * label_N, 1.0) - 2.4
    probability_N = (1 / (1 + np.exp(-2.0 * logit_N))).astype(np.float32)
    return as_scored(label_N, probability_N)


def as_scored(label_N: np.ndarray, probability_N: np.ndarray) -> Scored:
    """Under two operating points; regions take turns, `hand` and `foot`."""
    number_N = np.arange(len(label_N))
    return Scored(
        row_N=number_N + 2,
        label_N=np.asarray(label_N, np.float32),
        group_N=np.array([f"g{number // 3}" for number in number_N]),
        region_N=np.where(number_N % 2 == 0, "hand", "foot"),
        probability_N=np.asarray(probability_N, np.float32),
        calls={
            name: Calls(called_N=np.asarray(probability_N) >= threshold, threshold=threshold)
            for name, threshold in (("high-sensitivity", 0.25), ("balanced", 0.5))
        },
        default_point="balanced",
    )
