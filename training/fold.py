"""Move BatchNorm's scale into the convolution before it, so that every engine rounds the same numbers.

OpenVINO folds BatchNorm when it converts and rounds the product to fp16; weights stored unfolded round both
factors apart. On `fracatlas-lite0` that alone set the engines' probabilities up to 0.011 apart.
"""

from __future__ import annotations

import torch
from torch import nn


def fold_batchnorm(network: nn.Module, image_BCHW: torch.Tensor) -> int:
    """Fold in place, for every BatchNorm that directly follows a convolution; outputs stay the same.

    A folded BatchNorm is left as the identity plus its bias (weight 1, mean 0, variance 1 - eps), so the
    network keeps its structure and the names of its weights.

    Args:
        network: in evaluation mode, fp32.
        image_BCHW: any input; it shows which BatchNorm follows which convolution.

    Returns:
        The number of BatchNorms folded.
    """
    pairs = _pairs(network, image_BCHW)
    with torch.no_grad():
        for convolution, norm in pairs:
            _fold(convolution, norm)
    return len(pairs)


def _pairs(network: nn.Module, image_BCHW: torch.Tensor) -> list[tuple[nn.Conv2d, nn.BatchNorm2d]]:
    """Each BatchNorm whose input is a convolution's output, found by running the network once."""
    made_by: dict[
        int, tuple[nn.Conv2d, torch.Tensor]
    ] = {}  # the tensor is kept, or its id might be used again
    pairs = []

    def made(convolution: nn.Module, _: object, output: torch.Tensor) -> None:
        if isinstance(convolution, nn.Conv2d):
            made_by[id(output)] = (convolution, output)

    def taken(norm: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        if isinstance(norm, nn.BatchNorm2d) and id(inputs[0]) in made_by:
            pairs.append((made_by[id(inputs[0])][0], norm))

    hooks = [
        module.register_forward_hook(made) for module in network.modules() if isinstance(module, nn.Conv2d)
    ]
    hooks += [
        module.register_forward_pre_hook(taken)
        for module in network.modules()
        if isinstance(module, nn.BatchNorm2d)
    ]
    try:
        with torch.no_grad():
            network(image_BCHW)
    finally:
        for hook in hooks:
            hook.remove()
    return pairs


def _fold(convolution: nn.Conv2d, norm: nn.BatchNorm2d) -> None:
    """Put y = gamma (x - mean) / sigma + beta (S. Ioffe, C. Szegedy, ICML 2015, algorithm 2) into both."""
    if norm.running_mean is None or norm.running_var is None:
        raise AssertionError("BatchNorm without running statistics cannot be exported")
    scale_K = norm.weight.double() / torch.sqrt(norm.running_var.double() + norm.eps)
    bias_K = norm.bias.double() - norm.running_mean.double() * scale_K
    if convolution.bias is not None:
        bias_K += convolution.bias.double() * scale_K
        convolution.bias.zero_()
    convolution.weight.copy_(convolution.weight.double() * scale_K.view(-1, 1, 1, 1))
    norm.weight.fill_(1.0)
    norm.bias.copy_(bias_K)
    norm.running_mean.zero_()
    norm.running_var.fill_(1.0 - norm.eps)
