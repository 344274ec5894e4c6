"""One door to what computes logits: OpenVINO on CPUs, torch on GPUs.

Both run the weights of one bundle in fp32 and agree within `TOLERANCE`; every row names its engine.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
import numpy.typing as npt

from batch_fracture.bundle import Bundle
from batch_fracture.errors import ConfigError

TOLERANCE = 0.001
"""Largest difference of probability between two engines on one image. Both hold the same fp16 numbers:
BatchNorm is folded before they are rounded. Measured on 588 radiographs: 0.000002."""

OPENVINO_FP32 = "openvino-fp32"
TORCH_FP32 = "torch-fp32"
NAMES = (OPENVINO_FP32, TORCH_FP32)


class Engine(Protocol):
    """A loaded model."""

    name: str

    def __call__(self, pixels_BSS: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Raw logits, float32 (B,), of inputs, uint8 (B, S, S)."""
        ...

    def evidence(self, pixels_BSS: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """A fracture logit for each location, float32 (B, h, w), of inputs, uint8 (B, S, S).

        Location (i, j) stands for the input's pixels from i S / h to (i + 1) S / h, and j likewise.

        Raises:
            ConfigError: the bundle's head makes no evidence map.
        """
        ...


def choose(wanted: str | None, *, num_gpus: int) -> str:
    """The engine to use: the one asked for, else torch where Ray has GPUs and OpenVINO where it has none.

    Raises:
        ConfigError: no engine of that name.
    """
    if wanted is None:
        return TORCH_FP32 if num_gpus else OPENVINO_FP32
    if wanted not in NAMES:
        raise ConfigError(f"engine {wanted!r}: known are {', '.join(NAMES)}")
    return wanted


def open_engine(name: str, bundle: Bundle, *, num_threads: int) -> Engine:
    """Load a bundle's weights into an engine.

    Args:
        name: one of `NAMES`.
        bundle: a verified bundle.
        num_threads: CPU threads that it may use.

    Raises:
        ConfigError: the engine's packages are not installed.
    """
    if name == OPENVINO_FP32:
        from batch_fracture.engines.openvino_engine import OpenVinoEngine  # noqa: PLC0415 - loads one engine only

        return OpenVinoEngine(bundle, num_threads=num_threads)
    try:
        from batch_fracture.engines.torch_engine import TorchEngine  # noqa: PLC0415 - CPU runs need no torch
    except ImportError as error:
        raise ConfigError(
            f"engine {name} needs {error.name}: pip install 'batch-fracture[gpu]' or use {OPENVINO_FP32}"
        ) from error
    return TorchEngine(bundle, num_threads=num_threads)
