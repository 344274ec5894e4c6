"""The same network, quicker in bf16 on a CPU: frozen BatchNorm inside convolutions, our depthwise gradients.

Parameters, buffers and their names stay as they are; only what the layers of the timm network do is replaced.
"""

from __future__ import annotations

import ctypes
import functools
import platform
from collections.abc import Callable, Iterator
from typing import Any

import torch
from timm.layers.conv2d_same import Conv2dSame
from timm.layers.padding import pad_same
from torch import nn
from torch.nn import functional

from training.depthwise import KERNELS, Depthwise, ReLU6, library

LARGE_PAGES = "glibc.malloc.hugetlb=1"
"""GLIBC_TUNABLES of the workers: page by page, the kernel takes a sixth of a step to clear activations."""
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_PAIRS = (("conv_stem", "bn1"), ("conv_dw", "bn1"), ("conv_pw", "bn2"))
_INVERTED_PAIRS = (("conv_pw", "bn1"), ("conv_dw", "bn2"), ("conv_pwl", "bn3"))
"""Convolutions and the BatchNorm behind each, in timm's EfficientNets."""


def keep_memory() -> None:
    """Have this process keep memory that it frees: activations come and go with every step.

    glibc's own limits (mallopt(3)) are raised; other C libraries are left as they are.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None and platform.libc_ver()[0] == "glibc":
        mallopt(_M_MMAP_THRESHOLD, 2**25)  # the most that glibc takes
        mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)


def speed_up(backbone: nn.Module, *, fold: bool) -> bool:
    """Replace what convolutions and BatchNorm of a timm EfficientNet do in training; bf16 only.

    Args:
        backbone: the network, its BatchNorm in evaluation mode for good where `fold` is set.
        fold: scale kernels by BatchNorm's statistics and weights instead of activations: the same function
            of the same parameters. In frozen stages it is done in any case.

    Returns:
        Whether anything was replaced: not without a C compiler and AVX-512 BF16, nor in other networks.
    """
    if library() is None:
        return False
    pairs = list(_pairs(backbone))
    for convolution, norm in pairs:
        if fold or not any(parameter.requires_grad for parameter in norm.parameters()):
            convolution.forward = functools.partial(_folded, convolution, norm)
            norm.forward = _activation(norm)
            continue
        if _is_depthwise(convolution):
            convolution.forward = functools.partial(_plain, convolution)
        if isinstance(norm.act, nn.ReLU6):
            norm.act = _InPlaceReLU6()
    return bool(pairs)


class _InPlaceReLU6(nn.Module):
    """nn.ReLU6 behind BatchNorm, in bf16."""

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """The same tensor, changed."""
        found: torch.Tensor = ReLU6.apply(values)
        return found


def _pairs(backbone: nn.Module) -> Iterator[tuple[Any, Any]]:
    for module in backbone.modules():
        for convolution, norm in _INVERTED_PAIRS if hasattr(module, "conv_pwl") else _PAIRS:
            if hasattr(module, convolution) and hasattr(module, norm):
                yield getattr(module, convolution), getattr(module, norm)


def _folded(convolution: nn.Conv2d, norm: Any, input_BCHW: torch.Tensor) -> torch.Tensor:
    scale_C = norm.weight * torch.rsqrt(norm.running_var + norm.eps)
    bias_C = norm.bias - norm.running_mean * scale_C
    return _convolved(convolution, input_BCHW, convolution.weight * scale_C.view(-1, 1, 1, 1), bias_C)


def _plain(convolution: nn.Conv2d, input_BCHW: torch.Tensor) -> torch.Tensor:
    return _convolved(convolution, input_BCHW, convolution.weight, convolution.bias)


def _convolved(
    convolution: nn.Conv2d, input_BCHW: torch.Tensor, weight: torch.Tensor, bias_C: torch.Tensor | None
) -> torch.Tensor:
    """bf16; padding is written out, as TensorFlow's kind already is in timm."""
    input_BCHW, weight = input_BCHW.bfloat16(), weight.bfloat16()
    bias_C = None if bias_C is None else bias_C.bfloat16()
    stride, size, padding = convolution.stride[0], convolution.kernel_size[0], convolution.padding
    with torch.autocast("cpu", enabled=False):
        if isinstance(convolution, Conv2dSame):  # its own padding is 0
            input_BCHW = pad_same(input_BCHW, [size, size], [stride, stride])
        if not _is_depthwise(convolution):
            return functional.conv2d(input_BCHW, weight, bias_C, stride, padding, groups=convolution.groups)
        if padding[0]:  # by 0 it would copy
            input_BCHW = functional.pad(input_BCHW, [int(padding[0])] * 4)
        found: torch.Tensor = Depthwise.apply(input_BCHW, weight, bias_C, stride)
        return found


def _is_depthwise(convolution: nn.Conv2d) -> bool:
    return (
        convolution.groups == convolution.in_channels == convolution.out_channels
        and convolution.kernel_size[0] in KERNELS
        and convolution.dilation == (1, 1)
    )


def _activation(norm: Any) -> Callable[[torch.Tensor], torch.Tensor]:
    """What is left of a BatchNorm that stands inside its convolution."""
    activation = norm.act
    found: Callable[[torch.Tensor], torch.Tensor] = (
        ReLU6.apply if isinstance(activation, nn.ReLU6) else activation.forward
    )
    return found
