"""Variations stay small, belong to their image, move boxes along, and touch nothing when told not to."""

import dataclasses

import numpy as np
import pytest
import torch

from training.augment import augment, draws
from training.config import Augmentation

NOTHING = Augmentation(**{field.name: 0.0 for field in dataclasses.fields(Augmentation)})
SIZE = 32


def picture(num_images: int = 3) -> torch.Tensor:
    return torch.from_numpy(
        np.random.default_rng(0).integers(20, 200, (num_images, SIZE, SIZE)).astype(np.float32)
    )


def varied(grey_BSS: torch.Tensor, how: Augmentation, *, seed: int = 0, epoch: int = 0) -> torch.Tensor:
    draw_BD = draws(seed, epoch=epoch, images=range(len(grey_BSS)))
    return augment(grey_BSS, torch.zeros_like(grey_BSS), how, draw_BD)[0]


def test_no_range_no_change() -> None:
    torch.testing.assert_close(varied(picture(), NOTHING), picture(), atol=1e-2, rtol=0)


def test_flip_is_left_and_right() -> None:
    flipped_BSS = varied(picture(), dataclasses.replace(NOTHING, flip=1.0))
    torch.testing.assert_close(flipped_BSS, picture().flip(2), atol=1e-2, rtol=0)


def test_translation_is_a_fraction_of_the_side_and_brings_in_black() -> None:
    moved_BSS = varied(torch.full((64, SIZE, SIZE), 100.0), dataclasses.replace(NOTHING, translation=0.25))
    black_B = (moved_BSS.amax(dim=1) < 1).sum(dim=1)  # whole black columns
    assert 0 < black_B.max() <= 8
    assert moved_BSS[:, 12:20, 12:20].min() > 99


def test_brightness_is_a_fraction_of_full_scale() -> None:
    lit_BSS = varied(torch.full((64, SIZE, SIZE), 100.0), dataclasses.replace(NOTHING, brightness=0.1))
    shift_B = lit_BSS.mean(dim=(1, 2)) - 100
    assert 20 < shift_B.abs().max() <= 25.6
    assert shift_B.min() < 0 < shift_B.max()


@pytest.mark.parametrize("seed", [0, 1])
def test_variations_repeat_and_stay_in_range(seed: int) -> None:
    one_BSS = varied(picture(), Augmentation(), seed=seed)
    torch.testing.assert_close(one_BSS, varied(picture(), Augmentation(), seed=seed), rtol=0, atol=0)
    assert one_BSS.shape == (3, SIZE, SIZE)
    assert one_BSS.min() >= 0
    assert one_BSS.max() <= 255
    assert not torch.equal(one_BSS, varied(picture(), Augmentation(), seed=seed + 1))
    assert not torch.equal(one_BSS, varied(picture(), Augmentation(), seed=seed, epoch=1))


def test_an_image_looks_alike_in_any_batch() -> None:
    whole_BSS = varied(picture(4), Augmentation())
    order = [3, 1]
    draw_BD = draws(0, epoch=0, images=order)
    grey_BSS = picture(4)[order]
    some_BSS, _ = augment(grey_BSS, torch.zeros_like(grey_BSS), Augmentation(), draw_BD)
    torch.testing.assert_close(some_BSS, whole_BSS[order], rtol=0, atol=1e-4)


def test_boxes_move_with_the_picture() -> None:
    covered_BSS = torch.zeros(16, SIZE, SIZE)
    covered_BSS[:, 8:16, 4:20] = 1.0
    moves = dataclasses.replace(NOTHING, flip=0.5, rotation_degrees=30, scale=0.2, translation=0.1)
    draw_BD = draws(0, epoch=0, images=range(16))
    moved_BSS, moved_covered_BSS = augment(covered_BSS * 255, covered_BSS, moves, draw_BD)
    torch.testing.assert_close(moved_BSS / 255, moved_covered_BSS, atol=1e-3, rtol=0)
    assert (moved_covered_BSS - covered_BSS).abs().mean() > 0.05
