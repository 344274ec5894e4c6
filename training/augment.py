"""Vary training radiographs with torchvision: flip, small affine maps, and the lighting of other consoles.

Shapes: B images, S side of the square input, D draws of one image.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torchvision.transforms.v2 import InterpolationMode, functional

from training.config import Augmentation

_DRAWS = ("flip", "rotation", "scale", "x", "y", "gamma", "contrast", "brightness")
"""What one image draws, each in [0, 1)."""


def draws(seed: int, *, epoch: int, images: Sequence[int]) -> npt.NDArray[np.float64]:
    """What each image draws in this epoch, float64 (B, D): the same on any worker, in any batch.

    Args:
        seed: of the recipe.
        epoch: counted from 0.
        images: their numbers among the training images.
    """
    return np.stack([np.random.default_rng((seed, epoch, image)).random(len(_DRAWS)) for image in images])


def augment(
    grey_BSS: torch.Tensor, covered_BSS: torch.Tensor, how: Augmentation, draw_BD: npt.NDArray[np.float64]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Vary each image of a batch, and move what boxes cover with it.

    Args:
        grey_BSS: float32 in [0, 255].
        covered_BSS: float32, 1 where a box lies and 0 elsewhere.
        how: the ranges that values are drawn from.
        draw_BD: of `draws`.

    Returns:
        Both, float32 (B, S, S), on the device they came from; what lies beyond the border is 0, as beside the
        image in the letterbox.
    """
    moved_B2SS = torch.stack(
        [
            _move(image_2SS, how, dict(zip(_DRAWS, draw_D, strict=True)))
            for image_2SS, draw_D in zip(
                torch.stack((grey_BSS / 255.0, covered_BSS), 1), draw_BD, strict=True
            )
        ]
    )
    return _relight(moved_B2SS[:, 0], how, draw_BD) * 255.0, moved_B2SS[:, 1]


def _move(image_2SS: torch.Tensor, how: Augmentation, draw: dict[str, float]) -> torch.Tensor:
    """Flip, then turn, scale and shift; grey and boxes alike."""
    size = image_2SS.shape[-1]
    if draw["flip"] < how.flip:
        image_2SS = functional.horizontal_flip(image_2SS)
    moved: torch.Tensor = functional.affine(
        image_2SS,
        angle=_about_0(draw["rotation"], how.rotation_degrees),
        translate=[_about_0(draw[axis], how.translation) * size for axis in "xy"],
        scale=1.0 + _about_0(draw["scale"], how.scale),
        shear=[0.0, 0.0],
        interpolation=InterpolationMode.BILINEAR,
    )
    return moved


def _about_0(draw: float, largest: float) -> float:
    """From [0, 1) to [-largest, largest)."""
    return (draw * 2 - 1) * largest


def _relight(grey_BSS: torch.Tensor, how: Augmentation, draw_BD: npt.NDArray[np.float64]) -> torch.Tensor:
    """Gamma, then contrast about the image's mean, then brightness; clipped to [0, 1].

    Each image has its own values, which torchvision's functions do not take for a batch.
    """
    gamma, contrast, brightness = (
        torch.from_numpy((draw_BD[:, _DRAWS.index(name)] * 2 - 1) * getattr(how, name))
        .to(device=grey_BSS.device, dtype=torch.float32)
        .view(-1, 1, 1)
        for name in ("gamma", "contrast", "brightness")
    )
    curved = grey_BSS.clamp_min(1e-6) ** gamma.exp()
    mean = curved.mean(dim=(1, 2), keepdim=True)
    return ((curved - mean) * (1.0 + contrast) + mean + brightness).clamp(0.0, 1.0)
