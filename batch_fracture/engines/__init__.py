"""One door to what computes logits: OpenVINO on CPUs, torch on GPUs; every row names its engine.

`openvino-fp32` is the reference. Which faster engine may be chosen unasked depends on a bundle's weights, so
each bundle records what the engines did to its answers when it was exported.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from batch_fracture.bundle import Bundle
from batch_fracture.errors import ConfigError

TOLERANCE = 0.001
"""Largest difference of probability between the two fp32 engines on one image. Both hold the same fp16
numbers: BatchNorm is folded before they are rounded. Measured on 588 radiographs: 0.000002."""

OPENVINO_FP32, TORCH_FP32 = "openvino-fp32", "torch-fp32"
OPENVINO = (OPENVINO_FP32, "openvino-mixed", "openvino-bf16", "openvino-fp16")
TORCH = (TORCH_FP32, "torch-tf32", "torch-bf16", "torch-fp16")
NAMES = OPENVINO + TORCH
FASTER = ("openvino-bf16", "openvino-mixed")
"""What may be chosen unasked on CPUs, the fastest first."""
MAX_FLIPPED, MAX_AUROC_CHANGE = 0.005, 0.002
"""The contract for those, against the reference: share of labels that change, and AUROC."""


class Engine(Protocol):
    """A loaded model."""

    name: str
    on_gpu: bool
    batch_size: int
    """Images of one forward pass at which it is fastest."""

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


def check_name(wanted: str | None) -> None:
    """Refuse an engine that is none.

    Raises:
        ConfigError: no engine of that name.
    """
    if wanted is not None and wanted not in NAMES:
        raise ConfigError(f"engine {wanted!r}: known are {', '.join(NAMES)}")


def choose(wanted: str | None, bundle: Bundle | None, *, num_gpus: int) -> str:
    """The engine to use: the one asked for; else torch in fp32 where Ray has GPUs; else OpenVINO.

    Of OpenVINO's it is the fastest one that keeps the bundle's answers by its record and that this CPU
    computes; without a bundle the reference.

    Raises:
        ConfigError: no engine of that name.
    """
    check_name(wanted)
    if wanted is not None:
        return wanted
    if num_gpus:
        return TORCH_FP32
    allowed = [name for name in FASTER if bundle and keeps_answers(bundle, name)]
    return next((name for name in allowed if runs_here(name)), OPENVINO_FP32)


def keeps_answers(bundle: Bundle, name: str) -> bool:
    """Whether an engine keeps to the contract, by the bundle's record; without one it does not."""
    record: Mapping[str, Any] = bundle.manifest.get("evaluation", {}).get("engines", {})
    found = record.get("others", {}).get(name)
    if found is None or "auroc_change" not in found or not record.get("images"):
        return False
    flipped = found["labels_changed"] / record["images"]
    return bool(flipped <= MAX_FLIPPED and abs(found["auroc_change"]) <= MAX_AUROC_CHANGE)


def on_gpu(name: str) -> bool:
    """Whether an engine takes a GPU where there is one."""
    return name in TORCH


def runs_here(name: str) -> bool:
    """Whether this machine's CPU computes as an OpenVINO engine says."""
    from batch_fracture.engines.openvino_engine import computes  # noqa: PLC0415 - see open_engine

    return computes(name.partition("-")[2])


def open_engine(name: str, bundle: Bundle, *, num_threads: int, asked: bool = True) -> Engine:
    """Load a bundle's weights into an engine.

    Args:
        name: one of `NAMES`.
        bundle: a verified bundle.
        num_threads: CPU threads that it may use.
        asked: whether it must be that one; else a node whose CPU cannot compute so takes the reference.

    Raises:
        ConfigError: the engine's packages are not installed, or this machine cannot compute so.
    """
    precision = name.partition("-")[2]
    if name in OPENVINO:
        from batch_fracture.engines.openvino_engine import OpenVinoEngine, computes  # noqa: PLC0415 - loads one only

        if not asked and not computes(precision):
            precision = "fp32"
        return OpenVinoEngine(bundle, precision=precision, num_threads=num_threads)
    try:
        from batch_fracture.engines.torch_engine import TorchEngine  # noqa: PLC0415 - CPU runs need no torch
    except ImportError as error:
        raise ConfigError(
            f"engine {name} needs {error.name}: pip install 'batch-fracture[gpu]' or use {OPENVINO_FP32}"
        ) from error
    return TorchEngine(bundle, precision=precision, num_threads=num_threads)
