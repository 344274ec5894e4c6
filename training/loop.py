"""READ SECOND. What each Ray Train worker does: its share of each epoch, and a checkpoint after it."""

from __future__ import annotations

import dataclasses
import json
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import ray
import ray.train
import ray.train.torch
import torch

from batch_fracture.statistics import auroc
from training.batches import Labelled, load_steps, order_of, pieces_of
from training.config import TrainingConfig
from training.state import DivergedError, TrainingState, averaged_logits

CHECKPOINT, CONFIG, METRICS = "training_state.pt", "config.json", "metrics.json"
"""The files of a checkpoint: all that training changes, the recipe, and the epoch's metrics."""
_STEP_MESSAGE_EVERY_S = 1.0
_ADAPTING_STEPS = 40
"""Batches that BatchNorm's statistics are taken from, where they are taken before the first step."""
_HEAD_SEED = 0
"""Of weights that are not pretrained: the same on every worker, and in every training of a soup, whatever its
`seed`. The mean of networks whose heads were drawn apart knows next to nothing."""


@dataclass(frozen=True, kw_only=True)
class InStore:
    """Labelled inputs in Ray's object store, where workers of one node share them."""

    pixels: ray.ObjectRef[Any]
    label: ray.ObjectRef[Any]
    boxes: ray.ObjectRef[Any]

    def get(self) -> Labelled:
        """Arrays, read-only."""
        pixels_NSS, label_N, boxes = ray.get([self.pixels, self.label, self.boxes])
        return Labelled(pixels=pixels_NSS, label=label_N, boxes=boxes)


def train_worker(settings: dict[str, Any]) -> dict[str, Any] | None:
    """Train, from the newest checkpoint if the run has one; Ray Train calls this on each worker.

    Args:
        settings: `config`, a `TrainingConfig`; `train` and `calibration`, an `InStore` each; `messages`, the
            queue that progress goes to; `resume`, a checkpoint for a run that Ray knows none of, or None.

    Returns:
        Where the loss stopped being a number, if it did: `epoch`, `step` and `learning_rate`.
    """
    config: TrainingConfig = settings["config"]
    context = ray.train.get_context()
    rank, world_size = context.get_world_rank(), context.get_world_size()
    labelled, calibration = settings["train"].get(), settings["calibration"].get()
    state = _start(config, labelled, settings["resume"])
    for epoch in range(state.epochs_done, config.epochs):
        started_s = time.monotonic()
        seed = int(np.random.SeedSequence((config.seed, epoch, rank)).generate_state(1)[0])
        torch.manual_seed(seed)  # dropout and stochastic depth
        order = order_of(labelled.label, config, epoch=epoch)
        pieces = pieces_of(order, config, rank=rank, world_size=world_size)
        steps = load_steps(labelled, pieces, config, epoch=epoch, device=state.device)
        tell = _step_teller(settings["messages"], epoch=epoch + 1, order=order) if rank == 0 else _say_nothing
        try:
            loss = state.run_epoch(steps, stepped=tell)
            metrics = {"epoch": epoch + 1, "loss": _mean_of_workers(loss, world_size)}
            metrics["images_per_s"] = order.size / (time.monotonic() - started_s)
            if (epoch + 1) % config.score_every == 0 or epoch + 1 == config.epochs:
                metrics |= _scored(state, calibration, rank=rank, world_size=world_size, step=len(order))
        except DivergedError as error:
            return {"epoch": epoch + 1, "step": error.step, "learning_rate": error.learning_rate}
        state.trained_s += time.monotonic() - started_s
        metrics["trained_s"] = state.trained_s
        _report(metrics, state, config, rank=rank)
        if rank == 0:
            settings["messages"].put(metrics)
    return None


def _start(config: TrainingConfig, labelled: Labelled, resume: ray.train.Checkpoint | None) -> TrainingState:
    """The state as it starts or as the newest checkpoint has it; gradients are shared from here on."""
    torch.manual_seed(_HEAD_SEED)
    num_steps = len(order_of(labelled.label, config, epoch=0))
    state = TrainingState(config, steps_per_epoch=num_steps, device=ray.train.torch.get_device())
    if checkpoint := ray.train.get_checkpoint() or resume:
        with checkpoint.as_directory() as folder:
            state.restore(Path(folder) / CHECKPOINT)
    elif config.batchnorm == "adapted":
        order = order_of(labelled.label, config, epoch=config.epochs)[:_ADAPTING_STEPS]
        pieces = pieces_of(order, config, rank=0, world_size=1)  # all of them, alike on every worker
        state.adapt(load_steps(labelled, pieces, config, epoch=config.epochs, device=state.device))
    state.wrap(ray.train.torch.prepare_model)
    return state


def _step_teller(messages: Any, *, epoch: int, order: Any) -> Callable[[int, torch.Tensor], None]:
    """Tells the terminal about steps, once a second at the most."""
    began_s = told_s = time.monotonic()

    def tell(step: int, loss: torch.Tensor) -> None:
        nonlocal told_s
        now_s = time.monotonic()
        if now_s - told_s < _STEP_MESSAGE_EVERY_S:
            return
        told_s = now_s
        speed = step * order.shape[1] / (now_s - began_s)
        messages.put(
            {"epoch": epoch, "step": step, "steps": len(order), "loss": float(loss), "images_per_s": speed}
        )

    return tell


def _say_nothing(_step: int, _loss: torch.Tensor) -> None:
    pass


def _mean_of_workers(loss: torch.Tensor, world_size: int) -> float:
    if world_size > 1:
        torch.distributed.all_reduce(loss)
    return float(loss) / world_size


def _scored(
    state: TrainingState, calibration: Labelled, *, rank: int, world_size: int, step: int
) -> dict[str, float]:
    """The epoch's AUROC, and the best epoch so far.

    Raises:
        DivergedError: the epoch's last step went too far for the network, and still had had gradients that
            were numbers.
    """
    score_N = _score(state, calibration.pixels, rank=rank, world_size=world_size)
    if not np.isfinite(score_N).all():
        raise DivergedError(step, state.learning_rate)
    value = auroc(calibration.label, score_N).value
    return {"auroc_calibration": value, "best_epoch": state.score(value)}


def _score(
    state: TrainingState, pixels_NSS: npt.NDArray[np.uint8], *, rank: int, world_size: int
) -> npt.NDArray[np.float32]:
    """Logits of the averaged network, float32 (N,), the same on all workers; each scores its share."""
    if world_size == 1:
        return averaged_logits(state.averaged, pixels_NSS)
    for buffer in state.averaged.buffers():  # BatchNorm's statistics may differ; the first worker's are saved
        torch.distributed.broadcast(buffer, src=0)
    shares: list[Any] = [None] * world_size
    torch.distributed.all_gather_object(shares, averaged_logits(state.averaged, pixels_NSS[rank::world_size]))
    score_N = np.empty(len(pixels_NSS), np.float32)
    for other, share in enumerate(shares):
        score_N[other::world_size] = share
    return score_N


def _report(metrics: dict[str, Any], state: TrainingState, config: TrainingConfig, *, rank: int) -> None:
    """Hand metrics and, from the first worker, a checkpoint to Ray Train; every worker must call it."""
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = None
        if rank == 0:
            state.save(Path(folder) / CHECKPOINT)
            for name, table in ((CONFIG, dataclasses.asdict(config)), (METRICS, metrics)):
                Path(folder, name).write_text(json.dumps(table, default=str, indent=2), encoding="utf-8")
            checkpoint = ray.train.Checkpoint.from_directory(folder)
        ray.train.report(metrics, checkpoint=checkpoint)
