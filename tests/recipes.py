"""A recipe for tests: a tiny timm network, random weights, every field open to change."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from training.config import Source, TrainingConfig


def recipe(**fields: Any) -> TrainingConfig:
    """A `TrainingConfig` of small things; `fields` win."""
    least = {
        "name": "tiny",
        "labels": Path("labels.csv"),
        "images": Path("images"),
        "out": Path("bundle"),
        "source": Source(name="drawn", licence="CC0", citation="us"),
        "architecture": "test_efficientnet",
        "initial_weights": "random",
        "input_size": 64,
    }
    return TrainingConfig(**{**least, **fields})
