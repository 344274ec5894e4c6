"""From a network to its OpenVINO graph: plain chains of operations that an engine can cut in two."""

from __future__ import annotations

import copy
import os
import warnings
from typing import Any

import numpy as np
import numpy.typing as npt
import openvino
import torch
from timm.layers.conv2d_same import Conv2dSame
from torch import nn

from batch_fracture.engines.network import ServedNetwork
from batch_fracture.engines.openvino_engine import OpenVinoEngine, compiled

_TRACED_BATCH = 2
"""Any batch above 1: tracing must not mistake the batch for a broadcast side."""


def to_graph(served: ServedNetwork, *, input_size: int) -> openvino.Model:
    """The graph: uint8 (B, S, S) in, any B; `logit`, fp32 (B,), and perhaps `evidence`, fp32 (B, h, w), out.

    Args:
        served: on the CPU, ready to evaluate; it stays as it is.
        input_size: S.
    """
    fixed = with_fixed_padding(served, input_size=input_size)
    example_BSS = torch.zeros(_TRACED_BATCH, input_size, input_size, dtype=torch.uint8)
    with torch.no_grad(), warnings.catch_warnings():
        # OpenVINO traces; torch has deprecated tracing without OpenVINO's offering another way yet.
        warnings.filterwarnings("ignore", message="`torch.jit", category=FutureWarning)
        warnings.filterwarnings("ignore", message="`torch.jit", category=DeprecationWarning)
        graph = openvino.convert_model(fixed, example_input=example_BSS, input=[-1, input_size, input_size])
    for output, name in zip(graph.outputs, ("logit", "evidence"), strict=False):
        output.get_tensor().set_names({name})
    return graph


def graph_logits(served: ServedNetwork, pixels_NSS: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """Raw logits, float32 (N,), of inputs, uint8 (N, S, S), by a network's graph in fp32 on every CPU.

    On CPUs that takes half of torch's time.
    """
    graph = to_graph(served, input_size=pixels_NSS.shape[-1])
    model = compiled(graph, "fp32", os.cpu_count() or 1)
    count = OpenVinoEngine.batch_size
    starts = range(0, len(pixels_NSS), count)
    return np.concatenate([np.array(model(pixels_NSS[at : at + count])["logit"]) for at in starts])


def with_fixed_padding(served: ServedNetwork, *, input_size: int) -> ServedNetwork:
    """A copy whose TensorFlow-like convolutions pad by numbers: the graph then computes no sizes.

    Args:
        served: ready to evaluate.
        input_size: S of the inputs that it will see.
    """
    fixed = copy.deepcopy(served)
    paddings: dict[str, list[int]] = {}

    def see(name: str) -> Any:
        def note(convolution: Any, inputs: tuple[torch.Tensor, ...]) -> None:
            paddings[name] = _padding(convolution, inputs[0].shape[-2:])

        return note

    found = {name: m for name, m in fixed.named_modules() if isinstance(m, Conv2dSame)}
    hooks = [module.register_forward_pre_hook(see(name)) for name, module in found.items()]
    with torch.no_grad():
        fixed(torch.zeros(1, input_size, input_size, dtype=torch.uint8))
    for hook in hooks:
        hook.remove()
    for name, padding in paddings.items():
        parent, _, child = name.rpartition(".")
        padded = nn.Sequential(nn.ZeroPad2d(tuple(padding)), _plain(found[name]))  # type: ignore[arg-type]
        setattr(fixed.get_submodule(parent), child, padded)
    return fixed


def _padding(convolution: nn.Conv2d, sides: torch.Size) -> list[int]:
    """Left, right, top and bottom: as few as give ceil(side / stride) places, the odd one at the end."""
    around: list[int] = []
    for axis in (1, 0):
        size, stride = convolution.kernel_size[axis], convolution.stride[axis]
        reach = (size - 1) * convolution.dilation[axis] + 1
        missing = max((-(-sides[axis] // stride) - 1) * stride + reach - sides[axis], 0)
        around += [missing // 2, missing - missing // 2]
    return around


def _plain(same: nn.Conv2d) -> nn.Conv2d:
    plain = nn.Conv2d(
        same.in_channels,
        same.out_channels,
        same.kernel_size,  # type: ignore[arg-type]
        same.stride,  # type: ignore[arg-type]
        dilation=same.dilation,  # type: ignore[arg-type]
        groups=same.groups,
        bias=same.bias is not None,
    )
    plain.load_state_dict(same.state_dict())
    return plain.eval()
