"""Which images meet in which step, and what a step needs of them, on the training device.

Shapes: N training images, B images of a step or a piece of one, S side of the square input.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from training.augment import augment, draws
from training.config import TrainingConfig
from training.inputs import Boxes

_MIXUP = 1
"""Keeps the draws of mixup apart from those of augmentation, which share seed, epoch and image."""


@dataclass(frozen=True, kw_only=True)
class Labelled:
    """Inputs as the workers hold them."""

    pixels: npt.NDArray[np.uint8]
    """(N, S, S)."""
    label: npt.NDArray[np.float32]
    """(N,), 0 or 1."""
    boxes: tuple[Boxes, ...]
    """Of each input."""


@dataclass(frozen=True, kw_only=True)
class Batch:
    """What the network is shown, and what it should say; float32 on the training device."""

    pixels_BSS: torch.Tensor  # noqa: N815 - a shape suffix
    """Varied, in [0, 255]."""
    label_B: torch.Tensor  # noqa: N815
    """0 to 1: mixup blends labels."""
    covered_BSS: torch.Tensor  # noqa: N815
    """How far boxes cover each pixel, 0 to 1."""
    located_B: torch.Tensor  # noqa: N815
    """1 where `covered_BSS` tells all: boxes were drawn, or nothing is fractured. Else 0."""


def order_of(label_N: npt.NDArray[np.float32], config: TrainingConfig, *, epoch: int) -> npt.NDArray[np.intp]:
    """The images of an epoch, intp (steps, B), in a new order each epoch.

    Each comes once at the most; the last ones, too few for a whole step, wait for another epoch. With
    `balance = "sampler"` half of them are fractured, some more than once, and half are not.
    """
    random = np.random.default_rng((config.seed, epoch))
    order = random.permutation(len(label_N))
    if config.balance == "sampler":
        halves = [np.resize(order[label_N[order] == label], len(order) // 2) for label in (0, 1)]
        order = random.permutation(np.concatenate(halves))
    num_steps = len(order) // config.batch_size
    return order[: num_steps * config.batch_size].reshape(num_steps, config.batch_size)


def pieces_of(
    order: npt.NDArray[np.intp], config: TrainingConfig, *, rank: int, world_size: int
) -> npt.NDArray[np.intp]:
    """This worker's share of each step, cut for accumulation, intp (steps, pieces, B / workers / pieces)."""
    share = order[:, rank::world_size]
    return share.reshape(len(share), config.accumulation, -1)


def load_steps(
    labelled: Labelled,
    steps: npt.NDArray[np.intp],
    config: TrainingConfig,
    *,
    epoch: int,
    device: torch.device,
) -> Iterator[list[Batch]]:
    """The pieces of each step.

    Args:
        labelled: all training images.
        steps: of `pieces_of`.
        config: the recipe.
        epoch: counted from 0.
        device: where images are varied and trained on.
    """
    for pieces in steps:
        yield [load_batch(labelled, index_B, config, epoch=epoch, device=device) for index_B in pieces]


def load_batch(
    labelled: Labelled,
    index_B: npt.NDArray[np.intp],
    config: TrainingConfig,
    *,
    epoch: int,
    device: torch.device,
) -> Batch:
    """Vary the images of these numbers; each by its own draws, so that it looks alike on any worker."""
    plain = _plain(labelled, index_B, device)
    if config.mixup:
        other_B, share_B = _partners(len(labelled.label), index_B, config, epoch=epoch)
        plain = _blend(plain, _plain(labelled, other_B, device), share_B)
    draw_BD = draws(config.seed, epoch=epoch, images=index_B.tolist())
    pixels_BSS, covered_BSS = augment(plain.pixels_BSS, plain.covered_BSS, config.augmentation, draw_BD)
    return Batch(
        pixels_BSS=pixels_BSS, label_B=plain.label_B, covered_BSS=covered_BSS, located_B=plain.located_B
    )


def _plain(labelled: Labelled, index_B: npt.NDArray[np.intp], device: torch.device) -> Batch:
    """Images as they are."""
    boxes = [labelled.boxes[index] for index in index_B]
    label_B = torch.from_numpy(labelled.label[index_B])
    boxed_B = torch.tensor([len(boxes_K4) > 0 for boxes_K4 in boxes])
    pixels_BSS = torch.from_numpy(labelled.pixels[index_B]).to(device).float()
    return Batch(
        pixels_BSS=pixels_BSS,
        label_B=label_B.to(device),
        covered_BSS=_covered(boxes, pixels_BSS),
        located_B=(boxed_B | (label_B == 0)).float().to(device),
    )


def _covered(boxes: list[Boxes], pixels_BSS: torch.Tensor) -> torch.Tensor:
    """1 where a box lies, a pixel at the least, and 0 elsewhere."""
    covered_BSS = torch.zeros_like(pixels_BSS)
    size = pixels_BSS.shape[-1]
    for covered_SS, boxes_K4 in zip(covered_BSS, boxes, strict=True):
        for left, top, right, bottom in (boxes_K4 * size).round().astype(int).tolist():
            covered_SS[top : max(bottom, top + 1), left : max(right, left + 1)] = 1.0
    return covered_BSS


def _partners(
    num_images: int, index_B: npt.NDArray[np.intp], config: TrainingConfig, *, epoch: int
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.float32]]:
    """For each image another one of all, and its own share in the blend (H. Zhang et al., ICLR 2018)."""
    randoms = [np.random.default_rng((config.seed, epoch, index, _MIXUP)) for index in index_B]
    other_B = np.array([random.integers(num_images) for random in randoms], np.intp)
    share_B = np.array([random.beta(config.mixup, config.mixup) for random in randoms], np.float32)
    return other_B, share_B


def _blend(one: Batch, other: Batch, share_B: npt.NDArray[np.float32]) -> Batch:
    """Boxes fade with their image; a blend is located where both images are."""
    share = torch.from_numpy(share_B).to(one.pixels_BSS.device)
    wide = share.view(-1, 1, 1)
    return Batch(
        pixels_BSS=torch.lerp(other.pixels_BSS, one.pixels_BSS, wide),
        label_B=torch.lerp(other.label_B, one.label_B, share),
        covered_BSS=torch.lerp(other.covered_BSS, one.covered_BSS, wide),
        located_B=one.located_B * other.located_B,
    )
