"""From attenuation to the display values of a radiograph: tone, noise, lead marker, collimation.

Shape suffixes: H rows, W columns.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

Field = npt.NDArray[np.floating[Any]]
"""float32 in practice; numpy's stubs lose the width in mixed expressions."""


def expose(stopped_HW: Field, rng: np.random.Generator, *, marker: str, pixels_per_mm: float) -> Field:
    """Turn attenuation into display values: tone curve, heel effect, quantum noise, marker, collimation.

    Args:
        stopped_HW: float32, attenuation along the beam (natural logarithm).
        rng: of the noise and the collimator's place.
        marker: `L` or `R`.
        pixels_per_mm: resolution of the detector.

    Returns:
        float32 (H, W) in [0, 1], bone bright.
    """
    height, width = stopped_HW.shape
    transmitted_HW = np.exp(-stopped_HW)
    noise_HW: Field = rng.standard_normal((height, width), dtype=np.float32)
    noise_HW = 0.5 * noise_HW + 0.5 * (np.roll(noise_HW, 1, 0) + np.roll(noise_HW, 1, 1)) / 2
    heel_H1 = np.linspace(-0.05, 0.05, height, dtype=np.float32)[:, None]
    shown_HW: Field = 1.0 - transmitted_HW + heel_H1 * (1.0 - transmitted_HW) + 0.025
    shown_HW /= max(0.25, float(np.percentile(shown_HW, 99.7)))
    shown_HW = 0.93 * shown_HW + noise_HW * (0.008 + 0.010 * shown_HW)
    shown_HW = np.maximum(shown_HW, 0.97 * _marker(marker, height, width, pixels_per_mm))
    return np.asarray(np.clip(shown_HW * _collimation(rng, height, width), 0.0, 1.0), dtype=np.float32)


def _marker(letter: str, height: int, width: int, pixels_per_mm: float) -> Field:
    """The lead letter in the upper corner of its side, in [0, 1]."""
    canvas = Image.new("L", (width, height), 0)
    font = ImageFont.load_default(size=max(10, round(11 * pixels_per_mm)))
    margin = 12 * pixels_per_mm
    x = margin if letter == "R" else width - margin
    ImageDraw.Draw(canvas).text((x, margin), letter, fill=255, font=font, anchor="mm")
    return np.asarray(canvas, dtype=np.float32) / 255.0


def _collimation(rng: np.random.Generator, height: int, width: int) -> Field:
    """1 inside the beam, almost 0 beyond the collimator's soft edges, which not every picture shows."""
    left, right, top, bottom = rng.uniform(-0.02, 0.03, 4)
    x_W = (np.arange(width, dtype=np.float32) + 0.5) / width
    y_H1 = ((np.arange(height, dtype=np.float32) + 0.5) / height)[:, None]
    inside_HW = np.minimum(
        np.minimum(x_W - left, 1.0 - right - x_W), np.minimum(y_H1 - top, 1.0 - bottom - y_H1)
    )
    return np.asarray(0.04 + 0.96 * np.clip(inside_HW / 0.004, 0.0, 1.0), dtype=np.float32)


def texture(rng: np.random.Generator, height: int, width: int, pixels_per_mm: float) -> Field:
    """Trabecular pattern: noise at 0.6 and 1.5 mm, standard deviation about 1."""
    fine_HW = smooth_noise(rng, height, width, max(8, round(min(height, width) / pixels_per_mm / 0.6)))
    coarse_HW = smooth_noise(rng, height, width, max(8, round(min(height, width) / pixels_per_mm / 1.5)))
    return 0.8 * fine_HW + 0.6 * coarse_HW


def smooth_noise(rng: np.random.Generator, height: int, width: int, cells: int) -> Field:
    """Gaussian noise with `cells` grains over the shorter side."""
    scale = cells / min(height, width)
    shape = (max(2, round(height * scale)), max(2, round(width * scale)))
    grains = Image.fromarray(rng.standard_normal(shape, dtype=np.float32))
    return np.asarray(grains.resize((width, height), Image.Resampling.BICUBIC), dtype=np.float32)
