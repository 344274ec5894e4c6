"""What changes from step to step: the learning rate, and how long the running average remembers."""

from __future__ import annotations

import math
from typing import Any

import torch

from training.config import TrainingConfig


def learning_rate_factor(step: int, steps_per_epoch: int, config: TrainingConfig) -> float:
    """Linear warm-up, then half a cosine to 0: what the peak learning rate is multiplied by."""
    warmup, total = config.warmup_epochs * steps_per_epoch, config.epochs * steps_per_epoch
    if step < warmup:
        return (step + 1) / (warmup + 1)
    return 0.5 * (1.0 + math.cos(math.pi * min(1.0, (step - warmup) / max(1.0, total - warmup))))


def running_average(decay: float) -> Any:
    """The running average's update: a shorter memory at first, so that the start is soon forgotten."""

    def update(averages: list[torch.Tensor], values: list[torch.Tensor], num_averaged: torch.Tensor) -> None:
        now = min(decay, (1 + float(num_averaged)) / (10 + float(num_averaged)))
        for average, value in zip(averages, values, strict=True):
            if average.is_floating_point():
                average.lerp_(value, 1 - now)
            else:
                average.copy_(value)  # BatchNorm's count of batches

    return update
