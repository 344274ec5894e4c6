"""Variations stay small, repeat themselves, and touch nothing when told not to."""

import dataclasses

import numpy as np
import pytest
import torch

from training.augment import augment
from training.config import Augmentation

NOTHING = Augmentation(**{field.name: 0.0 for field in dataclasses.fields(Augmentation)})


def picture(num_images: int = 3, size: int = 32) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(0).integers(20, 200, (num_images, size, size), np.uint8))


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_no_range_no_change() -> None:
    pixels_BSS = picture()
    torch.testing.assert_close(
        augment(pixels_BSS, NOTHING, generator()), pixels_BSS.float(), atol=1e-2, rtol=0
    )


def test_flip_is_left_and_right() -> None:
    pixels_BSS = picture()
    flipped_BSS = augment(pixels_BSS, dataclasses.replace(NOTHING, flip=1.0), generator())
    torch.testing.assert_close(flipped_BSS, pixels_BSS.float().flip(2), atol=1e-2, rtol=0)


def test_translation_is_a_fraction_of_the_side_and_brings_in_black() -> None:
    pixels_BSS = torch.full((64, 32, 32), 100, dtype=torch.uint8)
    moved_BSS = augment(pixels_BSS, dataclasses.replace(NOTHING, translation=0.25), generator())
    black_B = (moved_BSS.amax(dim=1) < 1).sum(dim=1)  # whole black columns
    assert 0 < black_B.max() <= 8
    assert moved_BSS[:, 12:20, 12:20].min() > 99


def test_brightness_is_a_fraction_of_full_scale() -> None:
    pixels_BSS = torch.full((64, 32, 32), 100, dtype=torch.uint8)
    lit_BSS = augment(pixels_BSS, dataclasses.replace(NOTHING, brightness=0.1), generator())
    shift_B = lit_BSS.mean(dim=(1, 2)) - 100
    assert 20 < shift_B.abs().max() <= 25.6
    assert shift_B.min() < 0 < shift_B.max()


@pytest.mark.parametrize("seed", [0, 1])
def test_equal_generators_give_equal_variations_in_range(seed: int) -> None:
    one_BSS = augment(picture(), Augmentation(), generator(seed))
    torch.testing.assert_close(one_BSS, augment(picture(), Augmentation(), generator(seed)))
    assert one_BSS.shape == (3, 32, 32)
    assert one_BSS.min() >= 0
    assert one_BSS.max() <= 255
    assert not torch.equal(one_BSS, augment(picture(), Augmentation(), generator(seed + 1)))
