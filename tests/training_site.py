"""A small training on disk: drawn images, their table, a recipe, and processes that can be killed."""

from __future__ import annotations

import contextlib
import csv
import json
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from PIL import Image

SIZE = 64


def draw_images(folder: Path) -> Path:
    """64 small pictures and their table; a bright bar stands for a fracture."""
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(0)
    with (folder / "labels.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["image_uri", "label", "group", "split", "region"])
        for number in range(64):
            label = number % 2
            grey_HW = random.integers(0, 90, (80, 60), np.uint8)
            if label:
                grey_HW[20:60, 20:40] += 120
            Image.fromarray(grey_HW).save(folder / f"{number}.png")
            table.writerow(
                [f"{number}.png", label, f"g{number // 2}", "train" if number < 32 else "val", "hand"]
            )
    return folder / "labels.csv"


def write_recipe(folder: Path, **changes: Any) -> Path:
    """A TOML file for these images; `changes` win."""
    fields = {
        "name": "tiny",
        "labels": str(folder / "labels.csv"),
        "images": str(folder),
        "out": str(folder / "bundle"),
        "architecture": "test_efficientnet_ln",
        "initial_weights": "random",
        "input_size": SIZE,
        "epochs": 2,
        "batch_size": 4,
        "learning_rate": 0.001,
        "ema_decay": 0.5,
        "workers": 2,
    } | changes
    path = folder / "tiny.toml"
    lines = [f"{key} = {json.dumps(value)}" for key, value in fields.items()]
    source = '[source]\nname = "drawn"\nlicence = "CC0"\ncitation = "these tests"\n'
    path.write_text("\n".join([*lines, source]), encoding="utf-8")
    return path


def metrics_of(storage: Path) -> list[dict[str, Any]]:
    """Epochs in the file of metrics of the one run in a storage."""
    files = list(storage.glob("*/metrics.jsonl"))
    lines = files[0].read_text(encoding="utf-8").splitlines()[1:] if files else []
    return [json.loads(line) for line in lines]


def train_workers() -> list[psutil.Process]:
    """Ray Train's workers below this process."""
    found = []
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            if "RayTrainWorker" in " ".join(process.cmdline()):
                found.append(process)
    return found


@contextlib.contextmanager
def meanwhile(ready: Callable[[], bool], act: Callable[[], None]) -> Iterator[list[str]]:
    """Act once, beside the body, as soon as it is time; the list tells that it was done."""
    done: list[str] = []
    ended = threading.Event()

    def wait() -> None:
        while not ended.is_set():
            if ready():
                act()
                done.append("acted")
                return
            time.sleep(0.02)

    beside = threading.Thread(target=wait)
    beside.start()
    try:
        yield done
    finally:
        ended.set()
        beside.join()
