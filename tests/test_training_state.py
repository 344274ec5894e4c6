"""One epoch of the loop without Ray: golden losses, pieces, what is saved, and a loss that is none."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from recipes import recipe

from training.batches import Labelled, load_steps, order_of, pieces_of
from training.config import TrainingConfig
from training.inputs import NO_BOXES
from training.network import best_network
from training.state import DivergedError, TrainingState, averaged_logits

CPU = torch.device("cpu")
GOLDEN = Path(__file__).parent / "golden_losses.json"
"""Losses of three epochs; `python tests/test_training_state.py` writes them anew after a wanted change."""
RECIPES = {
    "pooled": {"positive_weight": 2.0},
    "evidence": {"head": "evidence", "box_weight": 20.0},
    "evidence-careful": {
        "head": "evidence",
        "accumulation": 2,
        "layer_decay": 0.7,
        "frozen_stages": 2,
        "batchnorm": "frozen",
        "balance": "sampler",
        "mixup": 0.2,
    },
    "bf16": {"head": "evidence", "precision": "bf16"},
}


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Two threads that wait for each other on a busy machine make seconds into minutes."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def drawn(num_images: int = 32) -> Labelled:
    """A bright bar stands for a fracture, and has a box."""
    random = np.random.default_rng(0)
    pixels_NSS = random.integers(0, 90, (num_images, 64, 64), np.uint8)
    label_N = (np.arange(num_images) % 4 == 0).astype(np.float32)
    pixels_NSS[label_N == 1, 20:44, 24:40] += 120
    bar = np.array([[24, 20, 40, 44]], np.float32) / 64
    boxes = tuple(bar if label else NO_BOXES for label in label_N)
    return Labelled(pixels=pixels_NSS, label=label_N, boxes=boxes)


def small(**fields: object) -> TrainingConfig:
    return recipe(**{"epochs": 3, "batch_size": 8, "precision": "fp32", "ema_decay": 0.5, "drop_rate": 0.0,
                     "drop_path_rate": 0.0, "learning_rate": 1e-3, **fields})  # fmt: skip


def new_state(config: TrainingConfig) -> TrainingState:
    torch.manual_seed(config.seed)
    return TrainingState(config, steps_per_epoch=4, device=CPU)


def run(state: TrainingState, config: TrainingConfig, epochs: range) -> list[float]:
    """Loss of every step."""
    losses: list[float] = []
    for epoch in epochs:
        pieces = pieces_of(order_of(drawn().label, config, epoch=epoch), config, rank=0, world_size=1)
        steps = load_steps(drawn(), pieces, config, epoch=epoch, device=CPU)
        state.run_epoch(steps, stepped=lambda _number, loss: losses.append(float(loss)))
    return losses


def losses_of(name: str) -> list[float]:
    config = small(**RECIPES[name])
    return run(new_state(config), config, range(3))


@pytest.mark.parametrize("name", RECIPES)
def test_golden_losses(name: str) -> None:
    golden = json.loads(GOLDEN.read_text())[name]
    # Other processors sum in another order; bf16 rounds what that changes.
    assert losses_of(name) == pytest.approx(golden, rel=0.02 if name == "bf16" else 2e-3)


def test_pieces_train_as_the_whole_step_does() -> None:
    losses = []
    for accumulation in (1, 2, 4):
        config = small(head="evidence", batchnorm="frozen", accumulation=accumulation)
        losses.append(run(new_state(config), config, range(2)))
    np.testing.assert_allclose(losses[1], losses[0], rtol=1e-5)
    np.testing.assert_allclose(losses[2], losses[0], rtol=1e-5)


def test_a_restored_state_goes_on_as_if_nothing_had_happened(tmp_path: Path) -> None:
    config = small(head="evidence", layer_decay=0.8)
    whole = new_state(config)
    losses = run(whole, config, range(3))
    first = new_state(config)
    begun = run(first, config, range(2))
    first.trained_s = 12.5
    first.save(tmp_path / "state.pt")
    second = TrainingState(config, steps_per_epoch=4, device=CPU)  # with other random weights
    second.restore(tmp_path / "state.pt")
    assert (second.epochs_done, second.trained_s) == (2, 12.5)
    assert begun + run(second, config, range(2, 3)) == losses
    pixels_NSS = drawn().pixels
    np.testing.assert_array_equal(
        averaged_logits(second.averaged, pixels_NSS), averaged_logits(whole.averaged, pixels_NSS)
    )


def test_the_best_epoch_is_kept_and_of_equals_the_last(tmp_path: Path) -> None:
    config = small(epochs=4)
    state, scores = new_state(config), []
    for epoch, auroc in enumerate((0.7, 0.9, 0.9, 0.8)):
        run(state, config, range(epoch, epoch + 1))
        scores.append((state.score(auroc), averaged_logits(state.averaged, drawn().pixels)))
    assert [best for best, _ in scores] == [1, 2, 3, 3]
    state.save(tmp_path / "state.pt")
    second = new_state(config)
    second.restore(tmp_path / "state.pt")
    assert second.score(0.85) == 3
    second.save(tmp_path / "again.pt")
    for name in ("state.pt", "again.pt"):
        served = best_network(config, tmp_path / name)
        with torch.inference_mode():
            logit_N = served(torch.from_numpy(drawn().pixels))[0].numpy()
        np.testing.assert_allclose(logit_N, scores[2][1], atol=1e-5)
        assert np.abs(logit_N - scores[3][1]).max() > 1e-3


def test_the_last_epoch_is_taken_where_none_is_chosen() -> None:
    config = small(choose_epoch="last")
    state = new_state(config)
    for epoch, auroc in enumerate((0.9, 0.7)):
        run(state, config, range(epoch, epoch + 1))
        assert state.score(auroc) == epoch + 1


def test_adapted_statistics_are_those_of_the_images_and_stay() -> None:
    config = small(head="evidence", batchnorm="adapted")
    state = new_state(config)
    pieces = pieces_of(order_of(drawn().label, config, epoch=0), config, rank=0, world_size=1)
    steps = list(load_steps(drawn(), pieces, config, epoch=0, device=CPU))
    state.adapt(steps)
    trained, averaged = state._trained, state.averaged.module
    with torch.no_grad():
        stems = [
            trained.backbone.conv_stem(trained.served.normalised(batch.pixels_BSS)).mean(dim=(0, 2, 3))
            for batches in steps
            for batch in batches
        ]
    norm = trained.backbone.bn1
    torch.testing.assert_close(norm.running_mean, torch.stack(stems).mean(dim=0), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(averaged.backbone.bn1.running_mean, norm.running_mean)
    head = trained.served.network.fine[1]
    assert head.running_mean.abs().max() == 0  # an evidence head's are live
    before = norm.running_mean.clone()
    run(state, config, range(1))
    assert torch.equal(norm.running_mean, before)
    assert head.running_mean.abs().max() > 0


def test_a_loss_that_is_no_number_ends_the_epoch() -> None:
    config = small(learning_rate=1e30, warmup_epochs=0.0)
    state = new_state(config)
    with pytest.raises(DivergedError) as caught:
        run(state, config, range(3))
    assert caught.value.step >= 2
    assert caught.value.learning_rate > 1e28
    assert state.epochs_done == 0


def test_scores_do_not_depend_on_the_batch() -> None:
    state = new_state(small())
    pixels_NSS = np.random.default_rng(0).integers(0, 256, (35, 64, 64), np.uint8)
    pixels_NSS.setflags(write=False)  # as Ray's object store hands it out
    together = averaged_logits(state.averaged, pixels_NSS)
    alone = np.concatenate([averaged_logits(state.averaged, pixels_NSS[i : i + 1]) for i in range(35)])
    assert (together.dtype, together.shape) == (np.float32, (35,))
    np.testing.assert_allclose(together, alone, atol=1e-5)


if __name__ == "__main__":
    GOLDEN.write_text(json.dumps({name: losses_of(name) for name in RECIPES}, indent=1) + "\n")
