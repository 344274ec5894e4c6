"""OpenVINO on CPUs: the bundle's graph on a fixed number of threads; no torch is imported."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import openvino

from batch_fracture.bundle import Bundle
from batch_fracture.engines.cut import cut
from batch_fracture.errors import ConfigError

_HINTS = {"fp32": "f32", "fp16": "f16", "bf16": "bf16"}
_NEEDS = {"fp32": "FP32", "fp16": "FP16", "bf16": "BF16", "mixed": "BF16"}
"""Of the CPU, in OpenVINO's words."""


class OpenVinoEngine:
    """The bundle's `model.xml`, compiled for this CPU in about 0.3 s.

    Args:
        bundle: a verified bundle.
        precision: `fp32`, the reference; `bf16` and `fp16`, activations of fewer bits; `mixed`, fp32 down to
            the input's side by the bundle's `fp32_stride`, and bf16 from there on.
        num_threads: inference threads.

    Raises:
        ConfigError: this CPU does not compute in that precision, or the graph cannot be cut for `mixed`.
    """

    on_gpu = False
    batch_size = 2  # larger ones leave the cache: 32 images at a time take a sixth longer each

    def __init__(self, bundle: Bundle, *, precision: str, num_threads: int) -> None:
        self.name = f"openvino-{precision}"
        if not computes(precision):
            raise ConfigError(
                f"engine {self.name}: this CPU does not compute in {_NEEDS[precision].lower()}; "
                "use --engine openvino-fp32"
            )
        self._bundle = bundle
        read = core().read_model
        path = bundle.path / "model.xml"
        if precision == "mixed":
            sides = [network.input_size // bundle.fp32_stride for network in bundle.networks]
            early, late = cut(read(path), read(path), sides=sides)
            first, then = compiled(early, "fp32", num_threads), compiled(late, "bf16", num_threads)
            self._model: Callable[[Any], Any] = lambda given: then(list(first(given).values()))
        else:
            self._model = compiled(read(path), precision, num_threads)

    def __call__(self, pixels_BSS: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Raw logits, float32 (B,), of inputs, uint8 (B, S, S)."""
        return np.array(self._model(pixels_BSS)[0], dtype=np.float32).reshape(-1)

    def evidence(self, pixels_BSS: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """A fracture logit for each location, float32 (B, h, w), of inputs, uint8 (B, S, S).

        Raises:
            ConfigError: the bundle's head makes no evidence map.
        """
        self._bundle.check_evidence()
        return np.array(self._model(pixels_BSS)["evidence"], dtype=np.float32)


@functools.cache
def core() -> openvino.Core:
    """The process's only one, kept to its end.

    The CPU plugin of each `Core` gives the thread a signal stack of its own and puts the one that it found
    back when it goes. Where two of them go in the order they came in, the second puts back a stack that is
    freed, and the next signal, Ctrl-C too, is a segmentation fault.
    """
    return openvino.Core()


def computes(precision: str) -> bool:
    """Whether this CPU has the instructions; OpenVINO would silently compute in fp32 without them.

    Args:
        precision: as `OpenVinoEngine` takes it.
    """
    return _NEEDS[precision] in core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


def compiled(model: openvino.Model, precision: str, num_threads: int) -> openvino.CompiledModel:
    """A graph ready to run.

    Args:
        model: the graph.
        precision: of `fp32`, `fp16` and `bf16`.
        num_threads: inference threads.
    """
    return core().compile_model(
        model,
        "CPU",
        {
            "INFERENCE_PRECISION_HINT": _HINTS[precision],
            "INFERENCE_NUM_THREADS": num_threads,
            "NUM_STREAMS": 1,
            "ENABLE_CPU_PINNING": False,  # every process would take the same first core
        },
    )
