"""Everything that training changes, and one epoch of it; knows nothing of Ray.

Shapes: N images, S side of the square input.
"""

from __future__ import annotations

import contextlib
import io
import math
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from batch_fracture.engines.network import ServedNetwork
from training.batches import Batch
from training.config import TrainingConfig
from training.fast_cpu import keep_memory, speed_up
from training.losses import total_loss
from training.network import new_network, norms_of, parameter_groups, train_mode
from training.schedule import learning_rate_factor, running_average

_EVALUATION_BATCH = 32
_MAX_GRADIENT_NORM = 5.0


class DivergedError(Exception):
    """The loss is not a number any more.

    Args:
        step: of the epoch, counted from 1.
        learning_rate: the peak group's at that step.
    """

    def __init__(self, step: int, learning_rate: float) -> None:
        super().__init__(step, learning_rate)
        self.step = step
        self.learning_rate = learning_rate


class TrainingState:
    """Network, running average, optimiser and schedule.

    Args:
        config: the recipe.
        steps_per_epoch: fixes the schedule.
        device: what to train on.
    """

    def __init__(self, config: TrainingConfig, *, steps_per_epoch: int, device: torch.device) -> None:
        self._config = config
        self.device = device
        trained = new_network(config)
        self._trained = trained.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.averaged = torch.optim.swa_utils.AveragedModel(
            self._trained, multi_avg_fn=running_average(config.ema_decay), use_buffers=True
        )
        self._optimiser = torch.optim.AdamW(parameter_groups(self._trained, config))
        self._schedule = torch.optim.lr_scheduler.LambdaLR(
            self._optimiser, lambda step: learning_rate_factor(step, steps_per_epoch, config)
        )
        self._stepped: nn.Module = self._trained
        self._sped_up = False
        self.epochs_done = 0
        self.trained_s = 0.0
        self._best_epoch, self._best_auroc = 0, -math.inf
        self._best = self.averaged.module.state_dict()

    @property
    def learning_rate(self) -> float:
        """Of the next step, the head's; earlier layers may have a lower one."""
        return float(max(self._schedule.get_last_lr()))

    def adapt(self, steps: Iterable[list[Batch]]) -> None:
        """Take the statistics of the timm network's BatchNorm from these images, averaged over batches.

        Networks of photographs see radiographs darker and flatter than they were taught to (Y. Li et al.,
        "Revisiting batch normalization for practical domain adaptation", 2016, arXiv 1603.04779).
        """
        self._trained.eval()
        norms = norms_of(self._trained.backbone)
        momenta = [norm.momentum for norm in norms]
        for norm in norms:
            norm.train()
            norm.reset_running_stats()
            norm.momentum = None  # the plain average of all batches
        for pieces in steps:
            for batch in pieces:
                with torch.no_grad(), self._autocast():
                    self._trained(batch.pixels_BSS)
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
        self.averaged.module.load_state_dict(self._trained.state_dict())

    def wrap(self, wrapper: Callable[[nn.Module], nn.Module]) -> None:
        """Let steps go through what makes workers share gradients."""
        self._stepped = wrapper(self._trained)

    def run_epoch(
        self, steps: Iterable[list[Batch]], *, stepped: Callable[[int, torch.Tensor], None] = lambda *_: None
    ) -> torch.Tensor:
        """Train on each step's pieces once.

        Args:
            steps: this worker's pieces of each step.
            stepped: told the number of each step that is done, and its loss.

        Returns:
            The mean loss of this worker's images, ().

        Raises:
            DivergedError: gradients are no numbers any more; every worker sees it at the same step.
        """
        train_mode(self._trained, batchnorm=self._config.batchnorm)
        if self._config.precision == "bf16" and self.device.type == "cpu" and not self._sped_up:
            keep_memory()
            speed_up(self._trained.backbone, fold=self._config.batchnorm != "live")
            self._sped_up = True
        losses = []
        for number, pieces in enumerate(steps, start=1):
            losses.append(self._step(number, pieces))
            stepped(number, losses[-1])
        self.epochs_done += 1
        return torch.stack(losses).mean()

    def _step(self, number: int, pieces: list[Batch]) -> torch.Tensor:
        config = self._config
        self._optimiser.zero_grad()
        loss = torch.zeros((), device=self.device)
        for left, batch in zip(range(len(pieces) - 1, -1, -1), pieces, strict=True):
            # Only the last piece's backward pass makes workers share gradients.
            waits = (
                getattr(self._stepped, "no_sync", contextlib.nullcontext) if left else contextlib.nullcontext
            )
            with waits():
                with self._autocast():
                    answers = self._stepped(batch.pixels_BSS)
                part = total_loss(answers, batch, config) / len(pieces)
                part.backward()  # type: ignore[no-untyped-call]
            loss += part.detach()
        norm = nn.utils.clip_grad_norm_(self._stepped.parameters(), _MAX_GRADIENT_NORM)
        if not math.isfinite(float(norm)):
            raise DivergedError(number, self.learning_rate)
        self._optimiser.step()
        self._schedule.step()
        self.averaged.update_parameters(self._trained)
        return loss

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self._config.precision == "bf16")

    def score(self, auroc: float) -> int:
        """Take note of the running average's AUROC after an epoch: the best one's weights are exported.

        Returns:
            The epoch with the highest so far, of equal ones the last; with `choose_epoch = "last"` this one.
        """
        if auroc >= self._best_auroc or self._config.choose_epoch == "last":
            self._best_epoch, self._best_auroc = self.epochs_done, auroc
            self._best = {name: value.clone() for name, value in self.averaged.module.state_dict().items()}
        return self._best_epoch

    def save(self, path: Path) -> None:
        """Write everything that going on needs, and the best weights, which `network.best_network` reads."""
        parts = {name: part.state_dict() for name, part in self._parts().items()}
        best = {"best_epoch": self._best_epoch, "best_auroc": self._best_auroc, "best": self._best}
        content = io.BytesIO()  # written whole: torch's own writer hides why a disk refuses
        torch.save({"epochs_done": self.epochs_done, "trained_s": self.trained_s, **best, **parts}, content)
        path.write_bytes(content.getbuffer())

    def restore(self, path: Path) -> None:
        """Go on from what `save` wrote."""
        saved = torch.load(path, map_location=self.device, weights_only=True)
        self.epochs_done, self.trained_s = saved["epochs_done"], saved["trained_s"]
        self._best_epoch, self._best_auroc, self._best = (
            saved[name] for name in ("best_epoch", "best_auroc", "best")
        )
        for name, part in self._parts().items():
            part.load_state_dict(saved[name])

    def _parts(self) -> dict[str, Any]:
        return {
            "trained": self._trained,
            "averaged": self.averaged,
            "optimiser": self._optimiser,
            "schedule": self._schedule,
        }


def averaged_logits(averaged: nn.Module, pixels_NSS: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """`served_logits` of the running average."""
    served: Any = averaged.module.served  # type: ignore[union-attr]
    return served_logits(served, pixels_NSS)


def served_logits(served: ServedNetwork, pixels_NSS: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """fp32 logits, float32 (N,), of inputs, uint8 (N, S, S), by a network as it would be exported."""
    served.eval().to(memory_format=torch.channels_last)
    device = next(served.parameters()).device
    logits = [np.zeros(0, np.float32)]
    with torch.inference_mode():
        for start in range(0, len(pixels_NSS), _EVALUATION_BATCH):
            # A copy: arrays from the object store are read-only, which torch warns of.
            pixels_BSS = torch.from_numpy(pixels_NSS[start : start + _EVALUATION_BATCH].copy())
            logits.append(served(pixels_BSS.to(device))[0].float().cpu().numpy())
    return np.concatenate(logits)
