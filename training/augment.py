"""Vary training radiographs: flip, small affine maps, and the lighting that differs between consoles.

Shapes: B images, S side of the square input.
"""

from __future__ import annotations

import math

import torch
from torch.nn import functional

from training.config import Augmentation


def augment(pixels_BSS: torch.Tensor, how: Augmentation, generator: torch.Generator) -> torch.Tensor:
    """Draw one variation for each image of a batch.

    Args:
        pixels_BSS: uint8.
        how: the ranges that values are drawn from.
        generator: a CPU generator; equal states give equal variations on every device.

    Returns:
        float32 (B, S, S) in [0, 255], on the device of `pixels_BSS`; what lies beyond the border is 0, as
        beside the image in the letterbox.
    """
    grey_B1SS = pixels_BSS.unsqueeze(1).float() / 255.0
    matrix_B23 = _affine(len(grey_B1SS), how, generator).to(grey_B1SS.device)
    grid_BSS2 = functional.affine_grid(matrix_B23, list(grey_B1SS.shape), align_corners=False)
    moved_B1SS = functional.grid_sample(grey_B1SS, grid_BSS2, padding_mode="zeros", align_corners=False)
    return _relight(moved_B1SS, how, generator).squeeze(1) * 255.0


def _uniform(num_images: int, largest: float, generator: torch.Generator) -> torch.Tensor:
    """float32 (B,) in [-largest, largest]."""
    return (torch.rand(num_images, generator=generator) * 2 - 1) * largest


def _affine(num_images: int, how: Augmentation, generator: torch.Generator) -> torch.Tensor:
    """float32 (B, 2, 3): where each output pixel is looked up (`torch.nn.functional.affine_grid`)."""
    angle_B = _uniform(num_images, math.radians(how.rotation_degrees), generator)
    zoom_B = 1.0 + _uniform(num_images, how.scale, generator)
    flip_B = torch.where(torch.rand(num_images, generator=generator) < how.flip, -1.0, 1.0)
    cos_B, sin_B = torch.cos(angle_B) * zoom_B, torch.sin(angle_B) * zoom_B
    # A shift by a fraction f of the side is 2f in the grid's coordinates, which run from -1 to 1.
    x_B, y_B = (_uniform(num_images, 2 * how.translation, generator) for _ in range(2))
    rows = (torch.stack((cos_B * flip_B, -sin_B, x_B), 1), torch.stack((sin_B * flip_B, cos_B, y_B), 1))
    return torch.stack(rows, 1)


def _relight(grey_B1SS: torch.Tensor, how: Augmentation, generator: torch.Generator) -> torch.Tensor:
    """Gamma, then contrast about the image's mean, then brightness; clipped to [0, 1]."""
    draws = [
        _uniform(len(grey_B1SS), largest, generator) for largest in (how.gamma, how.contrast, how.brightness)
    ]
    gamma, contrast, brightness = (draw.to(grey_B1SS.device).view(-1, 1, 1, 1) for draw in draws)
    curved = grey_B1SS.clamp_min(1e-6) ** gamma.exp()
    mean = curved.mean(dim=(2, 3), keepdim=True)
    return ((curved - mean) * (1.0 + contrast) + mean + brightness).clamp(0.0, 1.0)
