"""Torch on GPUs (or CPUs, when asked for): the bundle's weights in the timm network, channels_last."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from batch_fracture.bundle import Bundle
from batch_fracture.engines.network import network_of
from batch_fracture.errors import ConfigError

_DTYPES = {"fp32": torch.float32, "tf32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


class TorchEngine:
    """The bundle's `model.safetensors` on the first GPU that Ray gave this actor, else on the CPU.

    Args:
        bundle: a verified bundle.
        precision: `fp32`; `bf16` and `fp16`, autocast; `tf32`, fp32 multiplied in 10 bits of mantissa.
        num_threads: intra-op threads on the CPU.

    Raises:
        ConfigError: `fp16` or `tf32` without a GPU.
    """

    def __init__(self, bundle: Bundle, *, precision: str, num_threads: int) -> None:
        self.name = f"torch-{precision}"
        torch.set_num_threads(num_threads)
        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.on_gpu = self._device.type == "cuda"
        self.batch_size = _batch_size(128 if self.on_gpu else 32, bundle)
        if precision in ("fp16", "tf32") and self._device.type == "cpu":
            raise ConfigError(f"engine {self.name} needs a GPU; use --engine openvino-fp32")
        self._tf32 = precision == "tf32"
        self._dtype = _DTYPES[precision]
        served: Any = network_of(bundle)
        self._served = served.to(device=self._device, memory_format=torch.channels_last)
        self._bundle = bundle

    def __call__(self, pixels_BSS: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Raw logits, float32 (B,), of inputs, uint8 (B, S, S)."""
        return self._run(pixels_BSS)[0]

    def evidence(self, pixels_BSS: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """A fracture logit for each location, float32 (B, h, w), of inputs, uint8 (B, S, S).

        Raises:
            ConfigError: the bundle's head makes no evidence map.
        """
        self._bundle.check_evidence()
        return self._run(pixels_BSS)[1]

    def _run(self, pixels_BSS: npt.NDArray[np.uint8]) -> list[npt.NDArray[np.float32]]:
        # Flags of the whole process: another engine may have set them otherwise.
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = self._tf32
        lower = self._dtype != torch.float32
        with torch.inference_mode(), torch.autocast(self._device.type, self._dtype, enabled=lower):
            found = self._served(torch.from_numpy(pixels_BSS).to(self._device))
        return [tensor.float().cpu().numpy() for tensor in found]


def _batch_size(plain: int, bundle: Bundle) -> int:
    """Images at a time: of what takes more memory than one look at 384 pixels, fewer than `plain`."""
    return min(plain, max(1, plain * 384**2 // (bundle.num_looks * bundle.input.size**2)))
