"""The dense evidence head: a fracture logit for each location, pooled to one for the image.

Shapes: B images, S side of the square input, C channels, h x w locations of the evidence map (S / 16).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn import functional

from batch_fracture.errors import ConfigError

STRIDES = (16, 32)
"""Input pixels between two locations of the features that the evidence head looks at."""
_WIDTH = 96
"""Channels of the evidence head."""
_SHARPNESS = 2.0
_PRIOR_LOGIT = -4.6
"""A location shows a fracture with probability 0.01 before anything is learned (T.-Y. Lin et al., "Focal loss
for dense object detection", ICCV 2017, section 4.1), and an image of 400 locations with 0.17."""


class EvidenceNetwork(nn.Module):
    """A fracture logit for each location, pooled to one for the image.

    Pooling is log-sum-exp, log(sum(exp(2 e))) / 2 + offset with a learned offset: a soft maximum, so that one
    strong location is enough, and all locations learn (P. Pinheiro, R. Collobert, "From image-level to
    pixel-level labeling with convolutional networks", CVPR 2015, section 3.2).

    Args:
        backbone: a timm CNN; what lies behind its last features is removed from it.
        drop_rate: dropout before the last convolution.

    Raises:
        ConfigError: the backbone has no features at both strides.
    """

    def __init__(self, backbone: Any, *, drop_rate: float = 0.0) -> None:
        super().__init__()
        found = {stage["reduction"]: at for at, stage in enumerate(backbone.feature_info)}
        if not set(STRIDES) <= set(found) or not hasattr(backbone, "prune_intermediate_layers"):
            raise ConfigError(
                f'head = "evidence": {type(backbone).__name__} has no features at strides 16 and 32; '
                "choose a CNN such as tf_efficientnet_lite0, or the pooled head"
            )
        self._taps = [found[stride] for stride in STRIDES]
        channels = [backbone.feature_info[tap]["num_chs"] for tap in self._taps]
        backbone.prune_intermediate_layers(self._taps)
        self.backbone = backbone
        self.num_features: int = channels[-1]
        """Channels of the coarser features."""
        self.fine, self.coarse = (_normalised(nn.Conv2d(count, _WIDTH, 1, bias=False)) for count in channels)
        self.around = _normalised(nn.Conv2d(_WIDTH, _WIDTH, 3, padding=1, groups=_WIDTH, bias=False))
        self.mixed = _normalised(nn.Conv2d(_WIDTH, _WIDTH, 1, bias=False))
        self.dropout = nn.Dropout(drop_rate)
        self.logit = nn.Conv2d(_WIDTH, 1, 1)
        self.offset = nn.Parameter(torch.zeros(()))
        nn.init.normal_(self.logit.weight, std=0.01)
        nn.init.constant_(self.logit.bias, _PRIOR_LOGIT)  # type: ignore[arg-type]

    def forward(self, image_B3SS: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Logits, fp32 (B,), and the evidence map, fp32 (B, h, w), of float32 images."""
        return self.look(*self.features(image_B3SS))

    def features(self, image_B3SS: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Fine and coarse features, (B, C, h, w) and (B, C, h / 2, w / 2)."""
        fine, coarse = self.backbone.forward_intermediates(
            image_B3SS, indices=self._taps, intermediates_only=True
        )
        return fine, coarse

    def look(self, fine_BCHW: torch.Tensor, coarse_BCHW: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Logits and evidence map of features."""
        fine = self.fine(fine_BCHW)
        coarse = functional.interpolate(self.coarse(coarse_BCHW), size=fine.shape[-2:], mode="bilinear")
        met = functional.relu(fine + coarse)
        met = met + functional.relu(self.mixed(functional.relu(self.around(met))))
        evidence_Bhw = self.logit(self.dropout(met)).squeeze(1).float()
        pooled_B = torch.logsumexp(_SHARPNESS * evidence_Bhw.flatten(1), dim=1) / _SHARPNESS
        return pooled_B + self.offset.float(), evidence_Bhw


def _normalised(convolution: nn.Conv2d) -> nn.Sequential:
    return nn.Sequential(convolution, nn.BatchNorm2d(convolution.out_channels))
