"""OpenVINO on CPUs: the bundle's graph, in fp32, on a fixed number of threads."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import openvino

from batch_fracture.bundle import Bundle


class OpenVinoEngine:
    """The bundle's `model.xml`, compiled for this CPU in about 0.3 s; no torch is imported.

    Args:
        bundle: a verified bundle.
        num_threads: inference threads.
    """

    name = "openvino-fp32"

    def __init__(self, bundle: Bundle, *, num_threads: int) -> None:
        self._bundle = bundle
        self._model = openvino.Core().compile_model(
            bundle.path / "model.xml",
            "CPU",
            {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": num_threads, "NUM_STREAMS": 1},
        )

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
