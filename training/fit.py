"""Run the loop under Ray Train, on this machine's Ray or one already connected, and hand back the network."""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import ray
from ray.train import CheckpointConfig, LoggingConfig, Result, RunConfig, ScalingConfig
from ray.train.torch import TorchTrainer
from ray.util.queue import Queue

from batch_fracture.bundle import sha256_of
from batch_fracture.engines.torch_engine import ServedNetwork
from batch_fracture.errors import ConfigError
from training.config import TrainingConfig
from training.inputs import Examples
from training.loop import CHECKPOINT, InStore, train_worker
from training.network import averaged_network

_NOT_DECISIVE = ("images", "labels", "name", "out", "source", "workers")
"""Fields that leave the course of training as it is; labels count by content."""
_SNAPSHOT = "checkpoint_manager_snapshot.json"
"""What Ray Train writes beside the checkpoints of a run, and `Result.from_path` needs."""


def fit(
    config: TrainingConfig, train: Examples, calibration: Examples, *, storage: Path
) -> tuple[ServedNetwork, dict[str, Any]]:
    """Train; when the same command was cut short, go on from its newest checkpoint.

    Args:
        config: the recipe.
        train: what the network learns from.
        calibration: what each epoch's line reports on; it decides nothing here.
        storage: where checkpoints are kept, one folder for each recipe and table of labels.

    Returns:
        The averaged network of the last epoch, fp32 on the CPU, and that epoch's metrics.

    Raises:
        ConfigError: there are too few images for one step.
        ray.train.TrainingFailedError: a worker failed; checkpoints stay.
    """
    if len(train.rows) < config.batch_size:
        raise ConfigError(
            f"batch_size = {config.batch_size}: there are only {len(train.rows)} training images"
        )
    folder = storage.absolute() / run_name(config)
    result = _finished(folder, config) or _run(config, train, calibration, folder)
    if result.checkpoint is None or result.metrics is None:
        raise AssertionError("the loop reports a checkpoint after each epoch")
    with result.checkpoint.as_directory() as checkpoint:
        return averaged_network(config, Path(checkpoint) / CHECKPOINT), result.metrics


def _finished(folder: Path, config: TrainingConfig) -> Result | None:
    """The result of an earlier run of the same command, if that reached its last epoch."""
    if not (folder / _SNAPSHOT).is_file():  # none yet, or cut short before the first epoch ended
        return None
    logging.getLogger("ray.train").setLevel(logging.ERROR)  # it warns of the very snapshot that is wanted
    result: Result = Result.from_path(str(folder))
    return result if result.metrics and result.metrics["epoch"] == config.epochs else None


def _run(config: TrainingConfig, train: Examples, calibration: Examples, folder: Path) -> Result:
    """Ray Train, from the newest checkpoint in `folder` if there is one."""
    with ray_session(), lines_on_terminal() as lines:
        trainer = TorchTrainer(
            train_worker,
            train_loop_config={
                "config": config,
                "train": _put(train),
                "calibration": _put(calibration),
                "lines": lines,
            },
            scaling_config=scaling(config.workers),
            run_config=RunConfig(  # type: ignore[call-arg]
                name=folder.name,
                storage_path=str(folder.parent),
                checkpoint_config=CheckpointConfig(num_to_keep=2),
                logging_config=LoggingConfig(log_level="ERROR"),
            ),
        )
        return trainer.fit()


def run_name(config: TrainingConfig) -> str:
    """The checkpoint folder: equal for equal recipes and labels, so that only those are resumed."""
    fields = {key: str(value) for key, value in asdict(config).items() if key not in _NOT_DECISIVE}
    fields["labels_sha256"] = sha256_of(config.labels)
    digest = hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()
    return f"{config.name}-{digest[:12]}"


def scaling(num_workers: int) -> ScalingConfig:
    """A GPU for each worker where Ray has any, else an equal share of its CPUs."""
    resources: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
    if resources.get("GPU", 0) >= num_workers:
        return ScalingConfig(num_workers=num_workers, use_gpu=True)
    cpus = int(resources["CPU"])
    return ScalingConfig(
        num_workers=num_workers, resources_per_worker={"CPU": cpus // num_workers or cpus / num_workers}
    )


@contextmanager
def ray_session() -> Iterator[None]:
    """Ray for the length of the context: the one connected, else a local one with its own short folder."""
    if ray.is_initialized():
        yield
        return
    folder = tempfile.mkdtemp(prefix="bf-")  # short: sockets below it have at most 107 characters
    try:
        ray.init(
            address="local",
            include_dashboard=False,
            log_to_driver=False,
            logging_level=logging.ERROR,
            _temp_dir=folder,
        )
        yield
    finally:
        ray.shutdown()
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def lines_on_terminal() -> Iterator[Queue]:
    """A queue whose lines appear on this terminal while the context lasts, without Ray's prefixes."""
    lines = Queue(actor_options={"num_cpus": 0})
    printer = threading.Thread(target=_print_lines, args=(lines,), daemon=True)
    printer.start()
    try:
        yield lines
    finally:
        lines.put(None)
        printer.join()
        lines.shutdown()


def _print_lines(lines: Queue) -> None:
    while (line := lines.get()) is not None:
        print(line, flush=True)


def _put(examples: Examples) -> InStore:
    return InStore(pixels=ray.put(examples.pixels_NSS), label=ray.put(examples.label_N))
