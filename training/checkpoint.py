"""Checkpoints found again: each holds its recipe, so that any of them becomes a bundle."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ray.train import Checkpoint

from batch_fracture.engines.network import ServedNetwork
from batch_fracture.errors import ConfigError
from training.config import TrainingConfig, config_from
from training.loop import CHECKPOINT, CONFIG, METRICS
from training.network import best_network
from training.storage import Folder, checkpoints_in, open_storage


@dataclass(frozen=True, kw_only=True)
class Trained:
    """What a checkpoint holds."""

    served: ServedNetwork
    """The running average of the best epoch so far, fp32 on the CPU."""
    config: TrainingConfig
    metrics: dict[str, Any]
    """Of its epoch."""


def open_checkpoint(uri: str, **overrides: Any) -> Trained:
    """Read a checkpoint.

    Args:
        uri: the folder of a checkpoint, of a run, or of a storage with one run; the newest one is taken.
        overrides: fields of the recipe that changed since, such as where the images are; None leaves one.

    Raises:
        ConfigError: there is no checkpoint, or more than one run.
    """
    folder = _find(open_storage(uri))
    with Checkpoint(folder.path, filesystem=folder.filesystem).as_directory() as local:
        table = json.loads(Path(local, CONFIG).read_text(encoding="utf-8"))
        config = config_from(table | {key: value for key, value in overrides.items() if value is not None})
        metrics = json.loads(Path(local, METRICS).read_text(encoding="utf-8"))
        return Trained(served=best_network(config, Path(local, CHECKPOINT)), config=config, metrics=metrics)


def _find(folder: Folder) -> Folder:
    """The newest checkpoint in a folder that is one, or that holds some, or that holds a run of some."""
    if folder.holds(CHECKPOINT):
        return folder
    if newest := _newest(folder):
        return newest
    runs = {name: found for name in folder.children() if (found := _newest(folder.child(name)))}
    if len(runs) != 1:
        what = f"it holds several runs: {', '.join(runs)}; name one" if runs else "there is no checkpoint"
        raise ConfigError(f"--checkpoint {folder.uri}: {what}")
    return next(iter(runs.values()))


def _newest(run: Folder) -> Folder | None:
    whole = [run.child(name) for name in checkpoints_in(run) if run.child(name).holds(CHECKPOINT)]
    return whole[-1] if whole else None
