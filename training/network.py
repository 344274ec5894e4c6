"""The network that is trained, as it starts and as it ends."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import timm
import torch

from batch_fracture.engines.torch_engine import ServedNetwork
from batch_fracture.errors import ConfigError
from training.config import TrainingConfig
from training.imagenet import MEAN, STD, imagenet_network


def new_network(config: TrainingConfig) -> ServedNetwork:
    """The network before its first step, with one output and normalisation inside; fp32 on the CPU.

    Args:
        config: `architecture`, `initial_weights` and the regularisation that timm builds in.

    Raises:
        ConfigError: timm knows no such architecture, or its ImageNet weights are absent or do not fit.
    """
    options: dict[str, Any] = {"drop_rate": config.drop_rate, "drop_path_rate": config.drop_path_rate}
    if not timm.is_model(config.architecture):
        raise ConfigError(
            f"architecture = {config.architecture!r}: timm {timm.__version__} has no such model"
        )
    if config.initial_weights == "imagenet":
        network: Any = imagenet_network(config.architecture, **options)
        network.reset_classifier(1)
    else:
        network = timm.create_model(config.architecture, num_classes=1, **options)
    return ServedNetwork(network, mean=MEAN, std=STD)


def averaged_network(config: TrainingConfig, checkpoint: Path) -> ServedNetwork:
    """The running average of a checkpoint, as a network, fp32 on the CPU and ready to evaluate.

    Args:
        config: the recipe it was trained by.
        checkpoint: the file that `loop.TrainingState.save` wrote.
    """
    served = ServedNetwork(timm.create_model(config.architecture, num_classes=1), mean=MEAN, std=STD)
    averaged = torch.optim.swa_utils.AveragedModel(served, use_buffers=True)
    averaged.load_state_dict(torch.load(checkpoint, map_location="cpu", weights_only=True)["averaged"])
    served.load_state_dict(averaged.module.state_dict())
    return served.eval()
