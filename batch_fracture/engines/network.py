"""The networks that bundles hold weights of: a timm CNN under a pooled head, or under a dense evidence head.

Shapes: B images, S side of the square input, C channels, h x w locations of the evidence map (S / 16).
"""

from __future__ import annotations

from typing import Any

import timm
import torch
from safetensors.torch import load_file
from torch import nn
from torch.nn import functional

from batch_fracture.bundle import Bundle
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


class ServedNetwork(nn.Module):
    """A network with its normalisation: what is exported, and what the torch engine runs.

    Args:
        network: an `EvidenceNetwork`, or a timm classifier that maps float32 (B, 3, S, S) to (B, 1).
        mean: of grey in [0, 1].
        std: of grey in [0, 1].
        mirror: answer with the mean over the image and its mirror image, for twice the work.
    """

    def __init__(self, network: nn.Module, *, mean: float, std: float, mirror: bool = False) -> None:
        super().__init__()
        self.network = network
        self.mean = mean
        self.std = std
        self.mirror = mirror

    @property
    def head(self) -> str:
        """`evidence` or `pooled`."""
        return "evidence" if isinstance(self.network, EvidenceNetwork) else "pooled"

    def forward(self, pixels_BSS: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Raw logits, float32 (B,), of uint8 (B, S, S); an evidence head's map, float32 (B, h, w), too."""
        if not self.mirror:
            return self.plain(pixels_BSS)
        # One batch of twice the size, not two passes: the graph stays a chain, which engines can cut.
        both = self.plain(torch.cat((pixels_BSS, pixels_BSS.flip(2))))
        one, other = zip(*(part.reshape(2, -1, *part.shape[1:]).unbind() for part in both), strict=True)
        maps = [(at + mirrored.flip(2)) / 2 for at, mirrored in zip(one[1:], other[1:], strict=True)]
        return (one[0] + other[0]) / 2, *maps

    def plain(self, pixels_BSS: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Answers without the mirror image, which training looks at in its own way."""
        found = self.network(self.normalised(pixels_BSS))
        return found if isinstance(found, tuple) else (found.squeeze(1),)

    def normalised(self, pixels_BSS: torch.Tensor) -> torch.Tensor:
        """float32 (B, 3, S, S) in channels_last: grey three times, as networks of colour images want it."""
        grey_B1SS = (pixels_BSS.float().unsqueeze(1) / 255.0 - self.mean) / self.std
        return grey_B1SS.expand(-1, 3, -1, -1).contiguous(memory_format=torch.channels_last)


def bundled_network(
    architecture: str, *, head: str, mean: float, std: float, mirror: bool = False
) -> ServedNetwork:
    """The network that a bundle's weights fit, in evaluation mode, its weights random.

    Args:
        architecture: the timm name.
        head: `evidence` or `pooled`.
        mean: of grey in [0, 1].
        std: of grey in [0, 1].
        mirror: as in `ServedNetwork`.
    """
    network = timm.create_model(architecture, num_classes=1)
    if head == "evidence":
        network = EvidenceNetwork(network)
    return ServedNetwork(network, mean=mean, std=std, mirror=mirror).eval()


def network_of(bundle: Bundle) -> ServedNetwork:
    """A bundle's network with its weights, fp32 on the CPU, in evaluation mode."""
    served = bundled_network(
        bundle.architecture, head=bundle.head, mean=bundle.mean, std=bundle.std, mirror=bundle.mirror
    )
    weights = load_file(bundle.path / "model.safetensors")
    served.network.load_state_dict({name: tensor.float() for name, tensor in weights.items()})
    return served


def _normalised(convolution: nn.Conv2d) -> nn.Sequential:
    return nn.Sequential(convolution, nn.BatchNorm2d(convolution.out_channels))
