"""The network that is trained, as it starts and as it ends."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import timm
import torch
from timm.models import group_parameters
from timm.optim import param_groups_layer_decay  # type: ignore[attr-defined]
from torch import nn

from batch_fracture.engines.evidence import EvidenceNetwork
from batch_fracture.engines.network import ServedNetwork, bundled_network
from batch_fracture.errors import ConfigError
from training.config import TrainingConfig
from training.imagenet import MEAN, STD, imagenet_network


class Answers(NamedTuple):
    """What the network says of B images in training."""

    logit_B: torch.Tensor  # noqa: N815 - a shape suffix
    evidence_Bhw: torch.Tensor | None  # noqa: N815 - a shape suffix
    auxiliary_B: torch.Tensor | None  # noqa: N815 - a shape suffix


class TrainedNetwork(nn.Module):
    """The network that will serve, with what only training needs: a plain head beside the evidence head.

    Args:
        served: what is exported.
        auxiliary: whether it has the plain head.
    """

    def __init__(self, served: ServedNetwork, *, auxiliary: bool) -> None:
        super().__init__()
        self.served = served
        network = served.network
        self.auxiliary = (
            nn.Linear(network.num_features, 1) if auxiliary and isinstance(network, EvidenceNetwork) else None
        )

    @property
    def backbone(self) -> Any:
        """The timm network."""
        network = self.served.network
        return network.backbone if isinstance(network, EvidenceNetwork) else network

    def forward(self, pixels_BSS: torch.Tensor) -> Answers:
        """Answers to inputs in [0, 255]."""
        network = self.served.network
        if not isinstance(network, EvidenceNetwork):
            return Answers(self.served.plain(pixels_BSS)[0], None, None)
        fine, coarse = network.features(self.served.normalised(pixels_BSS))
        logit_B, evidence_Bhw = network.look(fine, coarse)
        plain_B1 = self.auxiliary(coarse.mean(dim=(2, 3))) if self.auxiliary else None
        return Answers(logit_B, evidence_Bhw, None if plain_B1 is None else plain_B1.squeeze(1))


def new_network(config: TrainingConfig) -> TrainedNetwork:
    """The network before its first step, with normalisation inside; fp32 on the CPU.

    Args:
        config: `architecture`, `head`, `initial_weights` and the regularisation that timm builds in.

    Raises:
        ConfigError: timm knows no such architecture, it has not so many stages, or its ImageNet weights are
            absent or do not fit.
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
    if config.head == "evidence":
        network = EvidenceNetwork(network, drop_rate=config.drop_rate)
    trained = TrainedNetwork(
        ServedNetwork(network, mean=MEAN, std=STD, mirror=config.mirror),
        auxiliary=config.auxiliary_weight > 0,
    )
    _freeze(trained, config.frozen_stages)
    return trained


def best_network(config: TrainingConfig, checkpoint: Path) -> ServedNetwork:
    """The running average of a checkpoint's best epoch, as a network, fp32 on the CPU and ready to evaluate.

    Args:
        config: the recipe it was trained by.
        checkpoint: the file that `state.TrainingState.save` wrote.
    """
    served = bundled_network(config.architecture, head=config.head, mean=MEAN, std=STD, mirror=config.mirror)
    trained = TrainedNetwork(served, auxiliary=config.auxiliary_weight > 0)
    trained.load_state_dict(torch.load(checkpoint, map_location="cpu", weights_only=True)["best"])
    return served.eval()


def train_mode(trained: TrainedNetwork, *, batchnorm: str) -> None:
    """Switch to training, all but frozen stages and the BatchNorm whose statistics `batchnorm` keeps."""
    trained.train()
    frozen_norms = {"live": [], "adapted": norms_of(trained.backbone), "frozen": norms_of(trained)}[batchnorm]
    for norm in frozen_norms:
        norm.eval()
    for module in trained.modules():
        parameters = list(module.parameters())
        if parameters and not any(parameter.requires_grad for parameter in parameters):
            module.eval()


def norms_of(network: nn.Module) -> list[Any]:
    """All BatchNorm in a network."""
    return [module for module in network.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]


def parameter_groups(trained: TrainedNetwork, config: TrainingConfig) -> list[dict[str, Any]]:
    """For AdamW: matrices and kernels decay, biases and BatchNorm do not; early layers learn more slowly."""
    groups: list[dict[str, Any]] = param_groups_layer_decay(
        trained.backbone, weight_decay=config.weight_decay, layer_decay=config.layer_decay
    )
    known = {id(parameter) for group in groups for parameter in group["params"]}
    rest = [p for p in trained.parameters() if p.requires_grad and id(p) not in known]
    for decay in (True, False):
        parameters = [parameter for parameter in rest if (parameter.ndim > 1) == decay]
        groups.append({"params": parameters, "weight_decay": config.weight_decay * decay, "lr_scale": 1.0})
    return [{**group, "lr": config.learning_rate * group["lr_scale"]} for group in groups if group["params"]]


def _freeze(trained: TrainedNetwork, num_stages: int) -> None:
    """Take the first stages, as timm groups them, out of training."""
    backbone = trained.backbone
    if not num_stages:
        return
    stage_of: dict[str, int] = group_parameters(backbone, backbone.group_matcher(coarse=True), reverse=True)
    last = max(stage_of.values())
    if num_stages > last:
        raise ConfigError(
            f"frozen_stages = {num_stages}: {type(backbone).__name__} has only {last} to freeze"
        )
    for name, parameter in backbone.named_parameters():
        if stage_of[name] < num_stages:
            parameter.requires_grad_(False)
