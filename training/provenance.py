"""What a bundle says of where it came from."""

from __future__ import annotations

import hashlib
import os
import platform
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import batch_fracture
from batch_fracture.bundle import sha256_of
from training.config import TrainingConfig
from training.ensemble import networks


def provenance(
    config: TrainingConfig, split: dict[str, Any], *, metrics: dict[str, Any], command: str
) -> dict[str, Any]:
    """What the bundle says of where it came from.

    Args:
        config: the recipe.
        split: the record of `split.Parts`.
        metrics: of the last epoch; `trained_s` counts seconds in epochs, over all resumptions.
        command: how to do it again.
    """
    from training.imagenet import described  # noqa: PLC0415 - seconds, which --help does not wait for

    return {
        "labels_sha256": sha256_of(config.labels),
        "split": split,
        "epoch": metrics["best_epoch"],
        "initial_weights": " and ".join(
            dict.fromkeys(
                described(network.architecture) if network.initial_weights == "imagenet" else "random numbers"
                for network in networks(config)
            )
        ),
        "minutes": round(metrics["trained_s"] / 60, 1),
        "machine": f"{_machine(config.workers)}, {config.workers} Ray Train worker(s)",
        "command": command,
        "code_version": batch_fracture.__version__,
        "code_sha256": code_sha256(),
    }


def code_sha256() -> str:
    """sha256 (hex) over the source that decides weights and inputs: `training`, decoding, preprocessing."""
    root = Path(__file__).parent
    package = Path(batch_fracture.__file__).parent
    return sources_sha256(
        [
            *root.rglob("*.py"),
            *root.rglob("*.c"),
            *(package / "decode").glob("*.py"),
            package / "preprocess.py",
        ]
    )


def sources_sha256(sources: Iterable[Path]) -> str:
    """sha256 (hex) over the names and contents of files, in whatever order they come."""
    digest = hashlib.sha256()
    for source in sorted(sources, key=lambda path: (path.parent.name, path.name)):
        digest.update(source.name.encode() + b"\0" + source.read_bytes() + b"\0")
    return digest.hexdigest()


def _machine(num_workers: int) -> str:
    """What the workers ran on, as `fit.scaling` chooses it."""
    import torch  # noqa: PLC0415 - seconds, which --help does not wait for

    if torch.cuda.device_count() >= num_workers:
        return f"{num_workers} x {torch.cuda.get_device_name()}"
    return f"{os.cpu_count()} CPU cores ({_processor()})"


def _processor() -> str:
    """The processor's name, as far as the system tells."""
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.machine()
