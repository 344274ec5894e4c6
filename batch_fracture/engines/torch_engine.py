"""Torch on GPUs (or CPUs, when asked for): the bundle's weights in the timm network, channels_last, fp32."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import timm
import torch
from safetensors.torch import load_file

from batch_fracture.bundle import Bundle


class ServedNetwork(torch.nn.Module):
    """A timm classifier with its normalisation: what is exported, and what this engine runs.

    Args:
        network: maps float32 (B, 3, S, S) to (B, 1).
        mean: of grey in [0, 1].
        std: of grey in [0, 1].
    """

    def __init__(self, network: torch.nn.Module, *, mean: float, std: float) -> None:
        super().__init__()
        self.network = network
        self.mean = mean
        self.std = std

    def forward(self, pixels_BSS: torch.Tensor) -> torch.Tensor:
        """Raw logits, float32 (B,), of inputs, uint8 (B, S, S)."""
        grey_B1SS = (pixels_BSS.float().unsqueeze(1) / 255.0 - self.mean) / self.std
        image_BCSS = grey_B1SS.expand(-1, 3, -1, -1).contiguous(memory_format=torch.channels_last)
        logit_B1: torch.Tensor = self.network(image_BCSS)
        return logit_B1.squeeze(1)


class TorchEngine:
    """The bundle's `model.safetensors` on the first GPU that Ray gave this actor, else on the CPU.

    Args:
        bundle: a verified bundle.
        num_threads: intra-op threads on the CPU.
    """

    name = "torch-fp32"

    def __init__(self, bundle: Bundle, *, num_threads: int) -> None:
        torch.set_num_threads(num_threads)
        torch.backends.cuda.matmul.allow_tf32 = False
        torch.backends.cudnn.allow_tf32 = False
        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        network = timm.create_model(bundle.architecture, num_classes=1)
        weights = {
            name: tensor.float() for name, tensor in load_file(bundle.path / "model.safetensors").items()
        }
        network.load_state_dict(weights)
        served = ServedNetwork(network, mean=bundle.mean, std=bundle.std).eval()
        self._served = served.to(device=self._device, memory_format=torch.channels_last)  # type: ignore[call-overload]

    def __call__(self, pixels_BSS: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Raw logits, float32 (B,), of inputs, uint8 (B, S, S)."""
        with torch.inference_mode():
            logit_B = self._served(torch.from_numpy(pixels_BSS).to(self._device))
        return np.asarray(logit_B.float().cpu().numpy())
