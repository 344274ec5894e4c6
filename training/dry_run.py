"""What a training will need, found out in seconds: labels, images, memory, time."""

from __future__ import annotations

import resource
import time

import numpy as np
import psutil
import torch

from batch_fracture.errors import ConfigError
from training.batches import Labelled, load_batch
from training.config import TrainingConfig
from training.ensemble import networks, trainings
from training.inputs import NO_BOXES, decode_images
from training.soup import members
from training.split import Parts
from training.state import TrainingState

_TRIED_IMAGES = 4
_GIB = 2**30


def rehearse(config: TrainingConfig, parts: Parts) -> list[str]:
    """Read a few images, train one step on drawn ones, and say what the whole will take.

    Args:
        config: the recipe.
        parts: all labelled images; their table has been checked.

    Returns:
        Lines for the terminal.

    Raises:
        LabelsError: one of the images tried cannot be read.
        ConfigError: the recipe does not fit the network, the images or the machine's memory.
    """
    for training in trainings(config):
        if len(parts.train) < training.batch_size:
            raise ConfigError(
                f"batch_size = {training.batch_size}: there are only {len(parts.train)} training images"
            )
    lines: list[str] = []
    needed, capacity = 0, _Capacity()
    for network in networks(config):
        if config.ensemble:
            lines.append(f"network: {network.architecture} at {network.input_size} pixels")
        said, network_bytes = _rehearsed(network, parts, capacity)
        lines += said
        needed = max(needed, network_bytes)
    lines.append(
        f"memory: about {needed / _GIB:.1f} GiB of {capacity.free / _GIB:.1f} GiB free on {capacity.name}"
    )
    if needed > capacity.free:
        raise ConfigError(
            f"{lines[-1]}: too much; a smaller batch_size or input_size, fewer workers, or more accumulation "
            "needs less"
        )
    return [*lines, "dry run: labels, images and recipe are in order; nothing was trained or written"]


class _Capacity:
    """The device's name, and its free memory in bytes before any step."""

    def __init__(self) -> None:
        self.gpu = torch.cuda.is_available()
        self.name = torch.cuda.get_device_name() if self.gpu else "the CPU"
        self.free = torch.cuda.mem_get_info()[0] if self.gpu else psutil.virtual_memory().available
        self.used = self.peak_bytes()
        """The most that this process has held until then."""

    def peak_bytes(self) -> int:
        """The most memory that this process has held."""
        if self.gpu:
            return torch.cuda.max_memory_allocated()
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _rehearsed(network: TrainingConfig, parts: Parts, capacity: _Capacity) -> tuple[list[str], int]:
    """What one network will take, in words, and the bytes that its training holds at once."""
    rows = parts.rows
    chosen = np.linspace(0, len(rows) - 1, min(_TRIED_IMAGES, len(rows))).astype(int)
    started_s = time.monotonic()
    decode_images(network.labels, [rows[index] for index in chosen], network.input)
    decode_s = (time.monotonic() - started_s) / len(chosen) * len(rows)
    step_s, step_bytes = _one_step(network, capacity)
    inputs_bytes = len(rows) * network.input_size**2
    epochs = sum(training.epochs for training in members(network))
    minutes = epochs * (len(parts.train) // network.batch_size) * step_s / 60
    # Inputs lie in this process and in Ray's object store.
    needed = network.workers * step_bytes + (0 if capacity.gpu else 2 * inputs_bytes)
    return [
        f"images: {len(rows):,}, {inputs_bytes / _GIB:.2f} GiB decoded, {decode_s:.0f} s the first time",
        f"one step: {step_s:.2f} s on {capacity.name}; {epochs} epochs in about {minutes:.0f} min",
    ], needed


def _one_step(config: TrainingConfig, capacity: _Capacity) -> tuple[float, int]:
    """Seconds and bytes of one worker's share of a step, on drawn images."""
    share = config.batch_size // config.workers
    before = torch.get_num_threads()
    torch.set_num_threads(max(1, before // config.workers))
    try:
        state = TrainingState(
            config, steps_per_epoch=1, device=torch.device("cuda" if capacity.gpu else "cpu")
        )
        size = config.input_size
        drawn = Labelled(
            pixels=np.random.default_rng(0).integers(0, 256, (share, size, size), np.uint8),
            label=(np.arange(share) % 2).astype(np.float32),
            boxes=(NO_BOXES,) * share,
        )
        pieces = np.arange(share).reshape(config.accumulation, -1)
        started_s = time.monotonic()
        batches = [load_batch(drawn, index_B, config, epoch=0, device=state.device) for index_B in pieces]
        float(state.run_epoch([batches]))
        return time.monotonic() - started_s, capacity.peak_bytes() - capacity.used
    finally:
        torch.set_num_threads(before)
