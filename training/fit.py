"""Run the loop under Ray Train, on this machine's Ray or one already connected, and hand back the network."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import ray
from ray.train import (
    Checkpoint,
    CheckpointConfig,
    FailureConfig,
    LoggingConfig,
    Result,
    RunConfig,
    ScalingConfig,
    TrainingFailedError,
)
from ray.train.torch import TorchTrainer

from batch_fracture.bundle import sha256_of
from batch_fracture.cluster import make_folder, remove_leftovers
from batch_fracture.engines.network import ServedNetwork
from batch_fracture.errors import BatchFractureError, ConfigError, WriteError
from training.config import TrainingConfig
from training.fast_cpu import LARGE_PAGES
from training.inputs import Examples
from training.loop import CHECKPOINT, METRICS, InStore, train_worker
from training.network import best_network
from training.progress import Message, MetricsFile, Screen, messages_to
from training.storage import SNAPSHOT, Folder, checkpoints_in, held, open_storage, refusal, tidy
from training.tracking import open_tracker

_NOT_DECISIVE = (
    *("images", "labels", "name", "out", "source", "workers", "keep_checkpoints", "max_failures"),
    *("mirror", "closer", "fp32_stride", "soup", "ensemble"),
)
"""Fields that leave the course of training as it is; labels count by content."""


class TrainingError(BatchFractureError):
    """Training came to no end; the newest whole checkpoint stays."""


def fit(
    config: TrainingConfig, train: Examples, calibration: Examples, *, storage: str
) -> tuple[ServedNetwork, dict[str, Any]]:
    """Train; when the same command was cut short, go on from its newest checkpoint.

    Args:
        config: the recipe.
        train: what the network learns from.
        calibration: what each epoch's line reports on; the epoch with the highest AUROC there is taken.
        storage: where checkpoints are kept, one folder for each recipe and table of labels: a folder, or
            `s3://bucket/prefix`.

    Returns:
        The running average of the best epoch, fp32 on the CPU, and the last epoch's metrics.

    Raises:
        ConfigError: there are too few images for one step, or `storage` is no place.
        WriteError: `storage` takes no more.
        TrainingError: the loss is not a number, or workers died more often than `max_failures`.
        WorkHeldError: another process of this machine trains this recipe.
    """
    if len(train.rows) < config.batch_size:
        raise ConfigError(
            f"batch_size = {config.batch_size}: there are only {len(train.rows)} training images"
        )
    folder = open_storage(storage).child(run_name(config))
    with held(folder):
        newest = tidy(folder, CHECKPOINT)
        result = _finished(folder, config) or _run(config, train, calibration, folder, newest)
    if result.checkpoint is None or result.metrics is None:
        raise AssertionError("the loop reports a checkpoint after each epoch")
    with result.checkpoint.as_directory() as checkpoint:
        return best_network(config, Path(checkpoint) / CHECKPOINT), result.metrics


def _finished(folder: Folder, config: TrainingConfig) -> Result | None:
    """The result of an earlier run of the same command, if that reached its last epoch."""
    if not folder.holds(SNAPSHOT):  # none yet, or cut short before the first epoch ended
        return None
    logging.getLogger("ray.train").setLevel(logging.ERROR)  # it warns of the very snapshot that is wanted
    result: Result = Result.from_path(folder.path, storage_filesystem=folder.filesystem)
    return result if result.metrics and result.metrics["epoch"] == config.epochs else None


def _run(
    config: TrainingConfig, train: Examples, calibration: Examples, folder: Folder, newest: str | None
) -> Result:
    """Ray Train, from the newest checkpoint in `folder` if there is one."""
    screen, metrics = Screen(config.epochs, sys.stdout), MetricsFile(folder, config)
    for name in checkpoints_in(
        folder
    ):  # a driver that was killed may not have written the newest epoch's line
        metrics.add(json.loads(folder.child(name).read(METRICS)))
    with open_tracker(folder, config) as track, ray_session(_bytes_of(train, calibration)):

        def hear(message: Message) -> None:
            screen.show(message)
            if "step" not in message:
                metrics.add(message)
                track(message)

        with messages_to(hear) as messages:
            settings = {
                "config": config,
                "train": _put(train),
                "calibration": _put(calibration),
                "messages": messages,
                "resume": newest and Checkpoint(folder.child(newest).path, filesystem=folder.filesystem),
            }
            result = _fitted(settings, folder)
    if told := result.return_value:  # type: ignore[attr-defined]
        raise TrainingError(
            f"the loss is not a number any more at epoch {told['epoch']}, step {told['step']}, learning rate "
            f'{told["learning_rate"]:.3g}; lower learning_rate, or set precision = "fp32". The checkpoint of '
            f"epoch {told['epoch'] - 1} is kept in {folder.uri}"
            if told["epoch"] > 1
            else f"the loss is not a number at epoch 1, step {told['step']}, learning rate "
            f'{told["learning_rate"]:.3g}; lower learning_rate, or set precision = "fp32"'
        )
    return result


def _fitted(settings: dict[str, Any], folder: Folder) -> Result:
    """What Ray Train makes of it; its errors in our words."""
    config: TrainingConfig = settings["config"]
    trainer = TorchTrainer(
        train_worker,  # type: ignore[arg-type]
        train_loop_config=settings,
        scaling_config=scaling(config.workers),
        run_config=RunConfig(  # type: ignore[call-arg]
            name=folder.path.rpartition("/")[2],
            storage_path=folder.path.rpartition("/")[0],
            storage_filesystem=folder.filesystem,
            failure_config=FailureConfig(max_failures=config.max_failures),
            checkpoint_config=CheckpointConfig(num_to_keep=config.keep_checkpoints),
            logging_config=LoggingConfig(log_level="CRITICAL"),
        ),
    )
    try:
        return trainer.fit()
    except TrainingFailedError as error:
        raise _in_our_words(error, folder) from error


def _in_our_words(error: TrainingFailedError, folder: Folder) -> BatchFractureError:
    """What failed: the storage, or a worker."""
    causes = [*getattr(error, "worker_failures", {}).values(), getattr(error, "controller_failure", None)]
    for cause in causes:
        if isinstance(cause, OSError):
            return WriteError(refusal(folder, cause))
    text = next((str(cause).strip().partition("\n")[0] for cause in causes if cause), str(error))
    return TrainingError(
        f"training failed: {text}. The newest checkpoint is kept in {folder.uri}: the same command goes on "
        "from it. A worker that dies again and again may want for memory: a smaller batch_size, or "
        "accumulation, needs less"
    )


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
def ray_session(store_bytes: int) -> Iterator[None]:
    """Ray for the length of the context: the one connected, else a local one with a short folder of its own.

    Args:
        store_bytes: what its object store must hold.
    """
    if ray.is_initialized():
        yield
        return
    remove_leftovers()
    os.environ.setdefault("GLIBC_TUNABLES", LARGE_PAGES)
    folder = make_folder()
    try:
        ray.init(
            address="local",
            include_dashboard=False,
            log_to_driver=False,
            logging_level=logging.ERROR,
            object_store_memory=store_bytes,
            _temp_dir=str(folder),
        )
        yield
    finally:
        ray.shutdown()
        shutil.rmtree(folder, ignore_errors=True)


def _bytes_of(*parts: Examples) -> int:
    """Room for the images in the object store, with some to spare for what Ray itself puts there."""
    return 128 * 2**20 + sum(int(part.pixels_NSS.nbytes * 1.1) for part in parts)


def _put(examples: Examples) -> InStore:
    return InStore(
        pixels=ray.put(examples.pixels_NSS),
        label=ray.put(examples.label_N),
        boxes=ray.put(examples.all_boxes),
    )
