"""Our gradients in bf16 against autograd's in fp32, at odd sizes too."""

import pytest
import torch
from torch.nn import functional

from training.depthwise import Depthwise, ReLU6, library

if library() is None:
    pytest.skip("needs a C compiler and a CPU with AVX-512 BF16", allow_module_level=True)
ROUNDING = 2**-7
"""Of bf16, relative to the largest value: results are rounded to 8 bits, and so is what goes in."""


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize(
    ("channels", "size", "stride", "rows", "columns"),
    [(32, 3, 1, 12, 15), (40, 3, 2, 13, 16), (24, 5, 1, 9, 9), (24, 5, 2, 14, 11), (1, 3, 2, 5, 5)],
)
def test_gradients(channels: int, size: int, stride: int, rows: int, columns: int, threads: int) -> None:
    random = torch.Generator().manual_seed(channels + rows)
    shapes = ((3, channels, rows, columns), (channels, 1, size, size), (channels,))
    ours = [torch.randn(shape, generator=random).bfloat16().requires_grad_() for shape in shapes]
    plain = [tensor.detach().float().requires_grad_() for tensor in ours]
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        found = Depthwise.apply(*ours, stride)
        expected = functional.conv2d(*plain, stride=stride, groups=channels)
        gradient = torch.randn(expected.shape, generator=random).bfloat16()
        found.backward(gradient)
    finally:
        torch.set_num_threads(before)
    expected.backward(gradient.float())
    assert found.shape == expected.shape
    for mine, reference in zip(ours, plain, strict=True):
        assert mine.grad is not None
        assert reference.grad is not None
        assert (mine.grad.float() - reference.grad).abs().max() <= ROUNDING * reference.grad.abs().max()


def test_without_bias_and_where_the_input_learns_nothing() -> None:
    weight = torch.ones(16, 1, 3, 3, dtype=torch.bfloat16, requires_grad=True)
    pixels = torch.ones(2, 16, 5, 5, dtype=torch.bfloat16)
    Depthwise.apply(pixels, weight, None, 2).sum().backward()
    assert pixels.grad is None
    assert weight.grad is not None
    assert (weight.grad == 8).all()


def test_relu6_and_its_gradient() -> None:
    values = torch.tensor([-torch.inf, -1.0, -0.0, 0.0, 0.5, 5.9, 6.0, 7.0, torch.inf, torch.nan] * 7)
    source = values.bfloat16().requires_grad_()
    found = ReLU6.apply(source * 1)
    expected = functional.relu6(values.bfloat16())
    torch.testing.assert_close(found, expected, rtol=0, atol=0, equal_nan=True)
    found.backward(torch.arange(70).bfloat16())
    inside = (values > 0) & (values < 6)
    torch.testing.assert_close(source.grad, torch.where(inside, torch.arange(70), 0).bfloat16())
