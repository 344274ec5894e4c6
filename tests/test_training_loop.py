"""The pieces of the loop, each on its own; the whole is in test_training_train.py."""

from pathlib import Path

import numpy as np
import pytest
import torch

from training.config import Source, TrainingConfig
from training.loop import batches, learning_rate_factor, progress_line, running_average, served_logits, shares
from training.network import new_network


def config(**fields: object) -> TrainingConfig:
    least = {"name": "m", "labels": Path("l"), "images": Path("i"), "out": Path("o")}
    source = Source(name="drawn", licence="CC0", citation="us")
    return TrainingConfig(
        **least, source=source, initial_weights="random", architecture="test_resnet", **fields
    )


@pytest.mark.parametrize("world_size", [1, 2, 4])
def test_workers_share_each_epoch_without_overlap(world_size: int) -> None:
    settings = config(batch_size=8)
    parts = [shares(70, settings, epoch=3, rank=rank, world_size=world_size) for rank in range(world_size)]
    assert {part.shape for part in parts} == {(8, 8 // world_size)}
    seen = np.concatenate([part.ravel() for part in parts])
    assert len(set(seen.tolist())) == 64  # 70 images are 8 whole steps
    whole = shares(70, settings, epoch=3, rank=0, world_size=1)
    assert [set(row) for row in np.concatenate(parts, axis=1)] == [set(row) for row in whole]


def test_each_epoch_and_seed_has_its_own_order() -> None:
    orders = [
        shares(64, config(seed=seed), epoch=epoch, rank=0, world_size=1).tobytes()
        for seed in (0, 1)
        for epoch in (0, 1)
    ]
    assert len(set(orders)) == 4
    assert shares(64, config(), epoch=1, rank=0, world_size=1).tobytes() == orders[1]


def test_learning_rate_rises_in_a_line_then_falls_in_half_a_cosine() -> None:
    settings = config(epochs=5, warmup_epochs=1.0)
    factors = [learning_rate_factor(step, 10, settings) for step in range(50)]
    assert np.allclose(np.diff(factors[:10]), 1 / 11)
    assert factors[10] == 1.0
    assert factors[30] == pytest.approx(0.5)
    assert np.all(np.diff(factors[10:]) < 0)
    assert learning_rate_factor(50, 10, settings) == pytest.approx(0.0, abs=1e-12)


def test_running_average_by_hand() -> None:
    average, value = [torch.zeros(2), torch.tensor(1)], [torch.ones(2), torch.tensor(5)]
    update = running_average(0.9)
    update(average, value, torch.tensor(0))  # at first 1 / 10 is kept
    assert average[0].tolist() == pytest.approx([0.9, 0.9])
    update(average, value, torch.tensor(10_000))
    assert average[0].tolist() == pytest.approx([0.91, 0.91])
    assert average[1] == 5


def test_batches_follow_the_order() -> None:
    pixels_NSS = np.arange(6, dtype=np.uint8)[:, None, None] * np.ones((1, 4, 4), np.uint8)
    label_N = np.arange(6, dtype=np.float32)
    found = list(batches(pixels_NSS, label_N, np.array([[5, 0], [3, 1]])))
    assert [label_B.tolist() for _, label_B in found] == [[5, 0], [3, 1]]
    assert [pixels_BSS[:, 0, 0].tolist() for pixels_BSS, _ in found] == [[5, 0], [3, 1]]


def test_scores_do_not_depend_on_the_batch() -> None:
    torch.manual_seed(0)
    served = new_network(config(input_size=32))
    pixels_NSS = np.random.default_rng(0).integers(0, 256, (35, 32, 32), np.uint8)
    pixels_NSS.setflags(write=False)  # as Ray's object store hands it out
    together = served_logits(served, pixels_NSS)
    alone = np.concatenate([served_logits(served, pixels_NSS[i : i + 1]) for i in range(35)])
    assert together.dtype == np.float32
    np.testing.assert_allclose(together, alone, atol=1e-5)


def test_progress_is_one_plain_line() -> None:
    metrics = {"epoch": 3, "loss": 0.42, "auroc_calibration": 0.8, "images_per_s": 17.04, "trained_s": 360.0}
    assert progress_line(metrics, 8) == (
        "epoch 3/8: loss 0.4200, AUROC 0.8000 on the calibration half, 17.0 images/s, 10 min left"
    )
