"""Depthwise convolutions and ReLU6 that train fast in bf16 on CPUs, where oneDNN's gradients are slow.

Shapes: B images, C channels, H x W places before and h x w after a convolution, K side of its kernel.
"""

from __future__ import annotations

import ctypes
import functools
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional

KERNELS = (3, 5)
_SOURCE = Path(__file__).with_suffix(".c")
_FLAGS = ("-O3", "-march=native", "-mprefer-vector-width=512", "-fopenmp", "-shared", "-fPIC")


class _Shape(ctypes.Structure):
    _fields_ = tuple((name, ctypes.c_int64) for name in ("B", "H", "W", "C", "h", "w", "stride"))


@functools.cache
def library() -> ctypes.CDLL | None:
    """The compiled kernels; None where there is no C compiler, or no CPU with AVX-512 BF16.

    They are compiled in a second or two, for this machine and this process alone.

    Raises:
        subprocess.CalledProcessError: the compiler does not take the source.
    """
    compiler = shutil.which(os.environ.get("CC", "cc"))
    if not compiler or not torch.cpu._is_avx512_bf16_supported():
        return None
    with tempfile.TemporaryDirectory(prefix="batch-fracture-") as folder:
        path = Path(folder) / "depthwise.so"
        subprocess.run([compiler, *_FLAGS, str(_SOURCE), "-o", str(path)], check=True, capture_output=True)
        return ctypes.CDLL(str(path))


class Depthwise(torch.autograd.Function):
    """A depthwise convolution without padding: forward by oneDNN, gradients by `library`.

    Its gradients are those of fp32 sums over bf16 numbers, as oneDNN's are.
    """

    @staticmethod
    def forward(
        ctx: Any,
        input_BCHW: torch.Tensor,
        weight_C1KK: torch.Tensor,
        bias_C: torch.Tensor | None,
        stride: int,
    ) -> torch.Tensor:
        """bf16 (B, C, h, w) of bf16 tensors, channels last."""
        input_BCHW = input_BCHW.contiguous(memory_format=torch.channels_last)
        ctx.save_for_backward(input_BCHW, weight_C1KK)
        ctx.stride, ctx.has_bias = stride, bias_C is not None
        return functional.conv2d(input_BCHW, weight_C1KK, bias_C, stride, groups=len(weight_C1KK))

    @staticmethod
    def backward(ctx: Any, gradient_BChw: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        """Of input, weight and bias."""
        input_BCHW, weight_C1KK = ctx.saved_tensors
        gradient_BChw = gradient_BChw.contiguous(memory_format=torch.channels_last)
        size, stride = weight_C1KK.shape[-1], ctx.stride
        shape = _shape(input_BCHW, gradient_BChw, stride)
        by_input = None
        if ctx.needs_input_grad[0]:
            by_input = (
                _full_convolution(gradient_BChw, weight_C1KK)
                if stride == 1
                else _input_gradient(input_BCHW, gradient_BChw, weight_C1KK, shape)
            )
        sums = torch.zeros(size * size + 1, len(weight_C1KK))
        _call("weight_gradient", input_BCHW, gradient_BChw, sums, ctypes.byref(shape), ctypes.c_int64(size))
        by_weight = sums[:-1].t().reshape(weight_C1KK.shape).to(weight_C1KK.dtype)
        return by_input, by_weight, sums[-1].to(weight_C1KK.dtype) if ctx.has_bias else None, None


class ReLU6(torch.autograd.Function):
    """min(max(x, 0), 6) of a dense bf16 tensor, in place."""

    @staticmethod
    def forward(ctx: Any, values: torch.Tensor) -> torch.Tensor:
        """The same tensor, changed."""
        _call("relu6", values, ctypes.c_int64(values.numel()))
        ctx.mark_dirty(values)
        ctx.save_for_backward(values)
        return values

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> torch.Tensor:
        """The gradient where the value lies strictly between."""
        (values,) = ctx.saved_tensors
        out = torch.empty_like(values)
        gradient = (
            torch.empty_like(values).copy_(gradient) if gradient.stride() != values.stride() else gradient
        )
        _call("relu6_gradient", values, gradient, out, ctypes.c_int64(values.numel()))
        return out


def _full_convolution(gradient_BChw: torch.Tensor, weight_C1KK: torch.Tensor) -> torch.Tensor:
    """The input's gradient at stride 1, which oneDNN is fast at as a forward pass."""
    around = weight_C1KK.shape[-1] - 1
    return functional.conv2d(gradient_BChw, weight_C1KK.flip(2, 3), padding=around, groups=len(weight_C1KK))


def _input_gradient(
    input_BCHW: torch.Tensor, gradient_BChw: torch.Tensor, weight_C1KK: torch.Tensor, shape: _Shape
) -> torch.Tensor:
    out = torch.empty_like(input_BCHW, memory_format=torch.channels_last)
    weight_KKC = weight_C1KK.flatten(1).t().float().contiguous()
    size = ctypes.c_int64(weight_C1KK.shape[-1])
    _call("input_gradient", gradient_BChw, weight_KKC, out, ctypes.byref(shape), size)
    return out


def _shape(input_BCHW: torch.Tensor, output_BChw: torch.Tensor, stride: int) -> _Shape:
    batch, channels, rows, columns = input_BCHW.shape
    return _Shape(batch, rows, columns, channels, *output_BChw.shape[2:], stride)


def _call(name: str, *arguments: Any) -> None:
    compiled = library()
    if compiled is None:
        raise AssertionError("asked for without a compiler or AVX-512 BF16")
    pointers = [
        ctypes.c_void_p(argument.data_ptr()) if isinstance(argument, torch.Tensor) else argument
        for argument in arguments
    ]
    getattr(compiled, name)(*pointers, ctypes.c_int(torch.get_num_threads()))
