"""What a training says of itself: lines on the terminal, and a file of metrics beside the checkpoints."""

from __future__ import annotations

import dataclasses
import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TextIO

from ray.util.queue import Queue

from training.config import TrainingConfig
from training.storage import Folder

METRICS_FILE = "metrics.jsonl"
"""One JSON object a line: the recipe first, then each epoch's metrics."""
_PLAIN_STEPS_EVERY_S = 60.0
"""Where the output is no terminal, how often a line tells of the steps within an epoch."""
Message = Mapping[str, Any]


class MetricsFile:
    """The file of a run's metrics; rewritten whole after each epoch.

    Args:
        folder: of the run.
        config: its recipe.
    """

    def __init__(self, folder: Folder, config: TrainingConfig) -> None:
        self._folder = folder
        recipe = json.dumps({"config": dataclasses.asdict(config)}, default=str)
        before = folder.read(METRICS_FILE).splitlines()[1:] if folder.holds(METRICS_FILE) else []
        self._lines = [recipe, *before]

    def add(self, metrics: Message) -> None:
        """Add an epoch's metrics; epochs from this one on, of an attempt that was cut short, go."""
        kept = [line for line in self._lines[1:] if json.loads(line)["epoch"] < metrics["epoch"]]
        self._lines = [self._lines[0], *kept, json.dumps(metrics)]
        self._folder.write(METRICS_FILE, "\n".join(self._lines) + "\n")


class Screen:
    """Writes progress: a line that moves with the steps on a terminal, and one that stays for each epoch.

    Args:
        num_epochs: of the recipe.
        out: where to.
    """

    def __init__(self, num_epochs: int, out: TextIO) -> None:
        self._num_epochs = num_epochs
        self._out = out
        self._moving = out.isatty()
        self._told_s: float | None = None

    def show(self, message: Message) -> None:
        """A step's message or an epoch's."""
        self._told_s = self._told_s or time.monotonic()
        if "step" not in message:
            self._write(epoch_line(message, self._num_epochs), end="\n")
        elif self._moving:
            self._write(step_line(message, self._num_epochs), end="")
        elif time.monotonic() - self._told_s >= _PLAIN_STEPS_EVERY_S:
            self._write(step_line(message, self._num_epochs), end="\n")

    def _write(self, line: str, *, end: str) -> None:
        self._told_s = time.monotonic()
        back = "\r\x1b[K" if self._moving else ""  # over the line that moves
        self._out.write(back + line + end)
        self._out.flush()


def epoch_line(metrics: Message, num_epochs: int) -> str:
    """One epoch in one line."""
    epoch = int(metrics["epoch"])
    left_s = metrics["trained_s"] / epoch * (num_epochs - epoch)
    auroc = metrics.get("auroc_calibration")
    scored = "" if auroc is None else f"AUROC {auroc:.4f} on the calibration half, "
    return (
        f"epoch {epoch}/{num_epochs}: loss {metrics['loss']:.4f}, {scored}"
        f"{metrics['images_per_s']:.1f} images/s, {left_s / 60:.0f} min left"
    )


def step_line(message: Message, num_epochs: int) -> str:
    """How far an epoch is."""
    share = message["step"] / message["steps"]
    bar = "#" * round(20 * share)
    return (
        f"epoch {message['epoch']}/{num_epochs}: [{bar:<20}] step {message['step']}/{message['steps']}, "
        f"loss {message['loss']:.4f}, {message['images_per_s']:.1f} images/s"
    )


@contextmanager
def messages_to(listener: Callable[[Message], None]) -> Iterator[Queue]:
    """A queue for the workers; what they put into it is heard here, until the context has ended.

    Raises:
        Exception: what the listener raised first, when the context ends without an error of its own.
    """
    messages = Queue(actor_options={"num_cpus": 0})
    failures: list[Exception] = []
    hearing = threading.Thread(target=_hear, args=(messages, listener, failures), daemon=True)
    hearing.start()
    try:
        yield messages
    finally:
        messages.put(None)
        hearing.join()
        messages.shutdown()
    if failures:
        raise failures[0]


def _hear(messages: Queue, listener: Callable[[Message], None], failures: list[Exception]) -> None:
    while (message := messages.get()) is not None:
        try:
            listener(message)
        except Exception as error:  # noqa: BLE001 - raised where the queue's owner waits
            failures.append(error)
