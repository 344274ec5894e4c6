"""What each Ray Train worker does: epochs over its share of the images, and a checkpoint after each.

Shapes: N images, B images of a step, S side of the square input.
"""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import ray
import ray.train
import ray.train.torch
import torch
from torch.nn import functional

from batch_fracture.statistics import auroc
from training.augment import augment
from training.config import TrainingConfig
from training.network import new_network

CHECKPOINT = "training_state.pt"
_EVALUATION_BATCH = 32
_MAX_GRADIENT_NORM = 5.0


@dataclass(frozen=True, kw_only=True)
class InStore:
    """Labelled inputs in Ray's object store, where workers of one node share them."""

    pixels: ray.ObjectRef[Any]
    """uint8 (N, S, S)."""
    label: ray.ObjectRef[Any]
    """float32 (N,), 0 or 1."""

    def get(self) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.float32]]:
        """Both arrays, read-only."""
        pixels_NSS, label_N = ray.get([self.pixels, self.label])
        return pixels_NSS, label_N


def train_worker(settings: dict[str, Any]) -> None:
    """Train, from the newest checkpoint if the run has one; Ray Train calls this on each worker.

    Args:
        settings: `config`, a `TrainingConfig`; `train` and `calibration`, an `InStore` each; `lines`, the
            queue that each epoch's line goes to.
    """
    config: TrainingConfig = settings["config"]
    context = ray.train.get_context()
    rank, world_size = context.get_world_rank(), context.get_world_size()
    pixels_NSS, label_N = settings["train"].get()
    torch.manual_seed(config.seed)  # the same head on every worker
    state = TrainingState(config, num_images=len(label_N))
    for epoch in range(state.epochs_done, config.epochs):
        started_s = time.monotonic()
        seed = int(np.random.SeedSequence((config.seed, epoch, rank)).generate_state(1)[0])
        torch.manual_seed(seed)  # dropout and stochastic depth
        order = shares(len(label_N), config, epoch=epoch, rank=rank, world_size=world_size)
        loss = state.run_epoch(batches(pixels_NSS, label_N, order), torch.Generator().manual_seed(seed))
        images_per_s = world_size * order.size / (time.monotonic() - started_s)
        metrics = {"epoch": epoch + 1, "loss": loss, "images_per_s": images_per_s}
        if rank == 0:
            metrics["auroc_calibration"] = _auroc(state.averaged, *settings["calibration"].get())
        state.trained_s += time.monotonic() - started_s
        metrics["trained_s"] = state.trained_s
        _report(metrics, state, rank=rank)
        if rank == 0:
            settings["lines"].put(progress_line(metrics, config.epochs))


def progress_line(metrics: Mapping[str, float], num_epochs: int) -> str:
    """One epoch in one line, for the terminal."""
    epoch = int(metrics["epoch"])
    left_s = metrics["trained_s"] / epoch * (num_epochs - epoch)
    return (
        f"epoch {epoch}/{num_epochs}: loss {metrics['loss']:.4f}, "
        f"AUROC {metrics['auroc_calibration']:.4f} on the calibration half, "
        f"{metrics['images_per_s']:.1f} images/s, {left_s / 60:.0f} min left"
    )


class TrainingState:
    """Network, running average, optimiser and schedule; restores itself from Ray Train's newest checkpoint.

    Args:
        config: the recipe.
        num_images: training images over all workers, which with the batch size fixes the schedule.
    """

    def __init__(self, config: TrainingConfig, *, num_images: int) -> None:
        self._config = config
        self._device = ray.train.torch.get_device()
        served = new_network(config)
        served = served.to(device=self._device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.averaged = torch.optim.swa_utils.AveragedModel(
            served, multi_avg_fn=running_average(config.ema_decay), use_buffers=True
        )
        self._served = served
        self._optimiser = torch.optim.AdamW(
            _parameter_groups(served, config.weight_decay), lr=config.learning_rate
        )
        steps_per_epoch = num_images // config.batch_size
        self._schedule = torch.optim.lr_scheduler.LambdaLR(
            self._optimiser, lambda step: learning_rate_factor(step, steps_per_epoch, config)
        )
        self.epochs_done = 0
        self.trained_s = 0.0
        if checkpoint := ray.train.get_checkpoint():
            with checkpoint.as_directory() as folder:
                self._restore(Path(folder) / CHECKPOINT)
        self._wrapped: torch.nn.Module = ray.train.torch.prepare_model(served)

    def run_epoch(
        self, steps: Iterator[tuple[torch.Tensor, torch.Tensor]], generator: torch.Generator
    ) -> float:
        """Train on each batch once; returns the mean loss of this worker's images."""
        self._wrapped.train()
        config = self._config
        weight = torch.tensor(config.positive_weight, device=self._device)
        losses = []
        for pixels_BSS, label_B in steps:
            varied_BSS = augment(pixels_BSS.to(self._device), config.augmentation, generator)
            with torch.autocast(self._device.type, torch.bfloat16, enabled=config.precision == "bf16"):
                logit_B = self._wrapped(varied_BSS)
            loss = functional.binary_cross_entropy_with_logits(
                logit_B.float(), label_B.to(self._device), pos_weight=weight
            )
            self._optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(self._wrapped.parameters(), _MAX_GRADIENT_NORM)
            self._optimiser.step()
            self._schedule.step()
            self.averaged.update_parameters(self._served)
            losses.append(loss.detach())
        self.epochs_done += 1
        return float(torch.stack(losses).mean())

    def save(self, path: Path) -> None:
        """Write everything that going on needs."""
        parts = {name: part.state_dict() for name, part in self._parts().items()}
        torch.save({"epochs_done": self.epochs_done, "trained_s": self.trained_s, **parts}, path)

    def _restore(self, path: Path) -> None:
        saved = torch.load(path, map_location=self._device, weights_only=True)
        self.epochs_done, self.trained_s = saved["epochs_done"], saved["trained_s"]
        for name, part in self._parts().items():
            part.load_state_dict(saved[name])

    def _parts(self) -> dict[str, Any]:
        return {
            "served": self._served,
            "averaged": self.averaged,
            "optimiser": self._optimiser,
            "schedule": self._schedule,
        }


def learning_rate_factor(step: int, steps_per_epoch: int, config: TrainingConfig) -> float:
    """Linear warm-up, then half a cosine to 0: what the peak learning rate is multiplied by."""
    warmup, total = config.warmup_epochs * steps_per_epoch, config.epochs * steps_per_epoch
    if step < warmup:
        return (step + 1) / (warmup + 1)
    return 0.5 * (1.0 + math.cos(math.pi * min(1.0, (step - warmup) / max(1.0, total - warmup))))


def shares(
    num_images: int, config: TrainingConfig, *, epoch: int, rank: int, world_size: int
) -> npt.NDArray[np.intp]:
    """This worker's images of this epoch, intp (steps, B / workers): a new order each epoch, no image twice.

    The last images of the order, too few for a whole step, wait for another epoch.
    """
    order = np.random.default_rng((config.seed, epoch)).permutation(num_images)
    num_steps = num_images // config.batch_size
    step_images = order[: num_steps * config.batch_size].reshape(num_steps, config.batch_size)
    return step_images[:, rank::world_size]


def batches(
    pixels_NSS: npt.NDArray[np.uint8], label_N: npt.NDArray[np.float32], order: npt.NDArray[np.intp]
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Tensors of each row of `order`: uint8 (B, S, S) and float32 (B,)."""
    for index_B in order:
        yield torch.from_numpy(pixels_NSS[index_B]), torch.from_numpy(label_N[index_B])


def served_logits(served: torch.nn.Module, pixels_NSS: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """fp32 logits, float32 (N,), of inputs, uint8 (N, S, S)."""
    served.eval()
    device = next(served.parameters()).device
    logits = []
    with torch.inference_mode():
        for start in range(0, len(pixels_NSS), _EVALUATION_BATCH):
            # A copy: arrays from the object store are read-only, which torch warns of.
            pixels_BSS = torch.from_numpy(pixels_NSS[start : start + _EVALUATION_BATCH].copy())
            logits.append(served(pixels_BSS.to(device)).float().cpu().numpy())
    return np.concatenate(logits)


def running_average(decay: float) -> Any:
    """The running average's update: a shorter memory at first, so that the start is soon forgotten."""

    def update(averages: list[torch.Tensor], values: list[torch.Tensor], num_averaged: torch.Tensor) -> None:
        now = min(decay, (1 + float(num_averaged)) / (10 + float(num_averaged)))
        for average, value in zip(averages, values, strict=True):
            if average.is_floating_point():
                average.lerp_(value, 1 - now)
            else:
                average.copy_(value)  # BatchNorm's count of batches

    return update


def _auroc(
    served: torch.nn.Module, pixels_NSS: npt.NDArray[np.uint8], label_N: npt.NDArray[np.float32]
) -> float:
    return auroc(label_N, served_logits(served, pixels_NSS)).value


def _parameter_groups(network: torch.nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Decay matrices and kernels, not biases or BatchNorm."""
    decayed = [parameter for parameter in network.parameters() if parameter.ndim > 1]
    others = [parameter for parameter in network.parameters() if parameter.ndim <= 1]
    return [{"params": decayed, "weight_decay": weight_decay}, {"params": others, "weight_decay": 0.0}]


def _report(metrics: dict[str, Any], state: TrainingState, *, rank: int) -> None:
    """Hand metrics and, from the first worker, a checkpoint to Ray Train; every worker must call it."""
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = None
        if rank == 0:
            state.save(Path(folder) / CHECKPOINT)
            checkpoint = ray.train.Checkpoint.from_directory(folder)
        ray.train.report(metrics, checkpoint=checkpoint)
