"""Who trains on what in which step: shares, pieces, balance, boxes and blends."""

import dataclasses

import numpy as np
import pytest
import torch
from recipes import recipe

from training.batches import Labelled, load_batch, load_steps, order_of, pieces_of
from training.config import Augmentation, TrainingConfig
from training.inputs import NO_BOXES

NOTHING = Augmentation(flip=0, rotation_degrees=0, scale=0, translation=0, brightness=0, contrast=0, gamma=0)
CPU = torch.device("cpu")


def labels(num_images: int, every: int = 2) -> np.ndarray:
    return (np.arange(num_images) % every == 0).astype(np.float32)


def labelled(num_images: int = 6) -> Labelled:
    """Even images are fractured; 0 has a box, 2 has two, 4 has none."""
    pixels_NSS = np.arange(num_images, dtype=np.uint8)[:, None, None] * np.full((1, 32, 32), 10, np.uint8)
    half, corner = np.array([[0, 0, 0.5, 1]], np.float32), np.array([[0.75, 0.75, 1, 1]], np.float32)
    boxes = [half, NO_BOXES, np.concatenate([half, corner]), *[NO_BOXES] * (num_images - 3)]
    return Labelled(pixels=pixels_NSS, label=labels(num_images), boxes=tuple(boxes))


def load(config: TrainingConfig, index: list[int], *, epoch: int = 0) -> object:
    return load_batch(labelled(), np.array(index), config, epoch=epoch, device=CPU)


@pytest.mark.parametrize(("world_size", "accumulation"), [(1, 1), (2, 1), (2, 2), (4, 2), (1, 8)])
def test_workers_and_pieces_share_each_step_without_overlap(world_size: int, accumulation: int) -> None:
    settings = recipe(batch_size=8, accumulation=accumulation)
    order = order_of(labels(70), settings, epoch=3)
    parts = [pieces_of(order, settings, rank=rank, world_size=world_size) for rank in range(world_size)]
    assert {part.shape for part in parts} == {(8, accumulation, 8 // world_size // accumulation)}
    together = np.concatenate([part.reshape(8, -1) for part in parts], axis=1)
    assert [set(row) for row in together.tolist()] == [set(row) for row in order.tolist()]
    assert len(set(together.ravel().tolist())) == 64  # 70 images are 8 whole steps


def test_each_epoch_and_seed_has_its_own_order() -> None:
    orders = [
        order_of(labels(64), recipe(seed=seed), epoch=epoch).tobytes() for seed in (0, 1) for epoch in (0, 1)
    ]
    assert len(set(orders)) == 4
    assert order_of(labels(64), recipe(), epoch=1).tobytes() == orders[1]


def test_the_sampler_draws_as_many_of_either_label() -> None:
    label_N = labels(80, every=8)
    order = order_of(label_N, recipe(balance="sampler", batch_size=8), epoch=0)
    assert order.shape == (10, 8)
    assert label_N[order].mean() == 0.5
    counts = np.bincount(order.ravel(), minlength=80)
    assert set(counts[label_N == 1]) == {4}  # 10 fractured images stand for 40
    assert counts[label_N == 0].max() == 1
    plain = order_of(label_N, recipe(batch_size=8), epoch=0)
    assert label_N[plain].sum() == 10


def test_batches_follow_the_order() -> None:
    steps = np.array([[[5, 0], [1, 3]], [[3, 1], [4, 2]]])
    found = list(load_steps(labelled(), steps, recipe(augmentation=NOTHING), epoch=0, device=CPU))
    assert [[batch.label_B.tolist() for batch in pieces] for pieces in found] == [
        [[0, 1], [0, 0]],
        [[0, 0], [1, 1]],
    ]
    assert found[0][0].pixels_BSS[:, 0, 0].tolist() == pytest.approx([50, 0], abs=1e-3)


def test_boxes_become_what_they_cover() -> None:
    batch = load(recipe(augmentation=NOTHING), [0, 1, 2, 4])
    assert batch.located_B.tolist() == [1, 1, 1, 0]  # a fracture without a box could be anywhere
    covered_BSS = batch.covered_BSS
    assert covered_BSS.mean(dim=(1, 2)).tolist() == pytest.approx([0.5, 0, 0.5625, 0])
    assert covered_BSS[0, :, :16].min() == 1
    assert covered_BSS[2, 24:, 24:].min() == 1


def test_a_box_thinner_than_a_pixel_is_one_pixel() -> None:
    thin = Labelled(
        pixels=np.zeros((1, 32, 32), np.uint8),
        label=np.ones(1, np.float32),
        boxes=(np.array([[0.5, 0.25, 0.501, 0.75]], np.float32),),
    )
    batch = load_batch(thin, np.array([0]), recipe(augmentation=NOTHING), epoch=0, device=CPU)
    assert batch.covered_BSS.sum() == 16


def test_mixup_blends_pixels_labels_and_boxes_alike() -> None:
    settings = recipe(augmentation=NOTHING, mixup=1.0)
    seen = [load(settings, [0], epoch=epoch) for epoch in range(20)]
    for batch in seen:
        # Image 0 is black, fractured and boxed; image n has grey 10 n: their blend tells the share.
        assert 0 <= batch.label_B[0] <= 1
        assert batch.covered_BSS[0, 0, 0] <= 1
    blended = [batch for batch in seen if 0 < batch.label_B[0] < 1]
    assert len(blended) > 5
    for batch in blended:  # the partner was a normal image: label and box fade together
        assert batch.covered_BSS[0, 0, 0] == pytest.approx(float(batch.label_B[0]), abs=1e-5)
    again = load(settings, [3, 0], epoch=4)
    torch.testing.assert_close(again.pixels_BSS[1], seen[4].pixels_BSS[0], rtol=0, atol=1e-3)


def test_a_blend_is_located_where_both_images_are() -> None:
    settings = recipe(augmentation=NOTHING, mixup=1.0)
    unboxed = dataclasses.replace(labelled(), label=np.ones(6, np.float32), boxes=(NO_BOXES,) * 6)
    half = dataclasses.replace(unboxed, label=np.array([0, 1, 1, 1, 1, 1], np.float32))
    found = [
        float(load_batch(half, np.array([0]), settings, epoch=epoch, device=CPU).located_B[0])
        for epoch in range(20)
    ]
    assert set(found) == {0.0, 1.0}  # image 0 is located; most partners, fractured and without boxes, are not
    assert sum(found) < 10
