"""The networks that bundles hold weights of: a timm CNN under a pooled head, or under a dense evidence head.

Several of them may answer together, and each may look more than once.

Shapes: B images, L looks at each, S side of the square input, C channels, h x w locations of the evidence map
(S / 16).
"""

from __future__ import annotations

from collections.abc import Sequence

import timm
import torch
from safetensors.torch import load_file
from torch import nn
from torch.nn import functional

from batch_fracture.bundle import Bundle, Member
from batch_fracture.engines.evidence import STRIDES, EvidenceNetwork


class EnsembleNetwork(nn.Module):
    """Several networks of one head, and the mean of their answers.

    Args:
        networks: as `ServedNetwork` takes one; the first sees the image as it is.
        sizes: the side, in pixels, that each of the others sees it scaled to.
    """

    def __init__(self, networks: Sequence[nn.Module], sizes: Sequence[int]) -> None:
        super().__init__()
        self.networks = nn.ModuleList(networks)
        self._sizes = tuple(sizes)

    def forward(self, image_B3SS: torch.Tensor) -> torch.Tensor | tuple[torch.Tensor, torch.Tensor]:
        """Answers as those of one of its networks: (B, 1), or logits and the evidence map."""
        grey_B1SS = image_B3SS[:, :1]  # all three channels are that one, and scaling is slow
        scaled = [
            functional.interpolate(grey_B1SS, size=(size, size), mode="bilinear", antialias=True)
            .expand(-1, 3, -1, -1)
            .contiguous(memory_format=torch.channels_last)
            for size in self._sizes
        ]
        found = [network(image) for network, image in zip(self.networks, (image_B3SS, *scaled), strict=True)]
        if not isinstance(found[0], tuple):
            return _mean(found)
        maps_Bhw = [evidence_Bhw for _, evidence_Bhw in found]
        at_first = [maps_Bhw[0], *(_resized(other, maps_Bhw[0].shape[-1]) for other in maps_Bhw[1:])]
        return _mean([logit_B for logit_B, _ in found]), _mean(at_first)


class ServedNetwork(nn.Module):
    """A network with its normalisation: what is exported, and what the torch engine runs.

    Args:
        network: an `EvidenceNetwork`, a timm classifier that maps float32 (B, 3, S, S) to (B, 1), or an
            `EnsembleNetwork` of either.
        mean: of grey in [0, 1].
        std: of grey in [0, 1].
        mirror: answer with the mean over the image and its mirror image, for twice the work.
        closer: answer with the mean over the image and its middle, enlarged, for twice the work.
    """

    def __init__(
        self, network: nn.Module, *, mean: float, std: float, mirror: bool = False, closer: bool = False
    ) -> None:
        super().__init__()
        self.network = network
        self.mean = mean
        self.std = std
        self.mirror = mirror
        self.closer = closer

    @property
    def networks(self) -> list[nn.Module]:
        """Those that answer together, or the only one."""
        return list(self.network.networks) if isinstance(self.network, EnsembleNetwork) else [self.network]

    @property
    def head(self) -> str:
        """`evidence` or `pooled`."""
        return "evidence" if isinstance(self.networks[0], EvidenceNetwork) else "pooled"

    def forward(self, pixels_BSS: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Raw logits, float32 (B,), of uint8 (B, S, S); an evidence head's map, float32 (B, h, w), too."""
        looks = [pixels_BSS.float()]
        if self.closer:
            looks.append(_middle(looks[0]))
        if self.mirror:
            looks += [look_BSS.flip(2) for look_BSS in looks]
        if len(looks) == 1:
            return self.plain(pixels_BSS)
        # One batch of all looks, not a pass for each: the graph stays a chain, which engines can cut.
        found = self.plain(torch.cat(looks))
        logit_LB, *maps = (part.reshape(len(looks), -1, *part.shape[1:]) for part in found)
        return logit_LB.mean(0), *(self._as_one(map_LBhw) for map_LBhw in maps)

    def _as_one(self, map_LBhw: torch.Tensor) -> torch.Tensor:
        """The maps of all looks, laid over each other."""
        if self.mirror:
            plain, mirrored = map_LBhw.chunk(2)
            map_LBhw = (plain + mirrored.flip(3)) / 2
        if not self.closer:
            return map_LBhw[0]
        whole_Bhw, middle_Bhw = map_LBhw.unbind()
        edge = _margin(whole_Bhw.shape[-1] * STRIDES[0]) // STRIDES[0]
        inside_Bhw = whole_Bhw[:, edge:-edge, edge:-edge]
        change_Bhw = (_resized(middle_Bhw, inside_Bhw.shape[-1]) - inside_Bhw) / 2
        return whole_Bhw + functional.pad(change_Bhw, (edge, edge, edge, edge))

    def plain(self, pixels_BSS: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Answers to one look, uint8 or float32 in [0, 255]: training moves images in its own way."""
        found = self.network(self.normalised(pixels_BSS))
        return found if isinstance(found, tuple) else (found.squeeze(1),)

    def normalised(self, pixels_BSS: torch.Tensor) -> torch.Tensor:
        """float32 (B, 3, S, S) in channels_last: grey three times, as networks of colour images want it."""
        grey_B1SS = (pixels_BSS.float().unsqueeze(1) / 255.0 - self.mean) / self.std
        return grey_B1SS.expand(-1, 3, -1, -1).contiguous(memory_format=torch.channels_last)


def bundled_network(
    architecture: str,
    *,
    head: str,
    mean: float,
    std: float,
    mirror: bool = False,
    closer: bool = False,
    others: Sequence[Member] = (),
) -> ServedNetwork:
    """The network that a bundle's weights fit, in evaluation mode, its weights random.

    Args:
        architecture: the timm name.
        head: `evidence` or `pooled`.
        mean: of grey in [0, 1].
        std: of grey in [0, 1].
        mirror: as in `ServedNetwork`.
        closer: as in `ServedNetwork`.
        others: networks that answer together with it.
    """
    networks = [_network(name, head) for name in (architecture, *(other.architecture for other in others))]
    network = EnsembleNetwork(networks, [other.input_size for other in others]) if others else networks[0]
    return ServedNetwork(network, mean=mean, std=std, mirror=mirror, closer=closer).eval()


def network_of(bundle: Bundle) -> ServedNetwork:
    """A bundle's network with its weights, fp32 on the CPU, in evaluation mode."""
    served = bundled_network(
        bundle.architecture,
        head=bundle.head,
        mean=bundle.mean,
        std=bundle.std,
        mirror=bundle.mirror,
        closer=bundle.closer,
        others=bundle.others,
    )
    weights = load_file(bundle.path / "model.safetensors")
    served.network.load_state_dict({name: tensor.float() for name, tensor in weights.items()})
    return served


def _network(architecture: str, head: str) -> nn.Module:
    network: nn.Module = timm.create_model(architecture, num_classes=1)
    return EvidenceNetwork(network) if head == "evidence" else network


def _mean(tensors: Sequence[torch.Tensor]) -> torch.Tensor:
    return torch.stack(list(tensors)).mean(0)


def _margin(side: int) -> int:
    """What a closer look leaves out at each edge, pixels: 32 of 512, in whole places of the evidence map."""
    return (side + 255) // 256 * STRIDES[0]


def _middle(pixels_BSS: torch.Tensor) -> torch.Tensor:
    """Inputs without their margin, as large as before."""
    side, margin = pixels_BSS.shape[-1], _margin(pixels_BSS.shape[-1])
    return _resized(pixels_BSS[:, margin:-margin, margin:-margin], side)


def _resized(image_BSS: torch.Tensor, side: int) -> torch.Tensor:
    """Bilinear, to (B, side, side)."""
    return functional.interpolate(image_BSS.unsqueeze(1), size=(side, side), mode="bilinear").squeeze(1)
