"""`run --explain`: where the time of a run went, what bounded it, and what would make it faster.

Workers note seconds in columns of their blocks (`schema.WORK`), which the driver takes off before rows are
kept. Nothing else is measured while a run goes on, so it is measured always.
"""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from batch_fracture import schema

_WORKERS_DO = ("fetch", "decode", "infer")
_MOST = 0.5
"""A stage with more than this share of a run bounds it."""
_BUSY = 0.85
"""Share of the time at which GPUs, or cores, count as busy."""


@dataclass(kw_only=True)
class Watch:
    """Collects the seconds of one command. Seconds of workers add up over all of them."""

    seconds: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))
    """Of the driver's steps: `plan`, `start`, `keep`, `commit`, each of wall time."""
    busy_s: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))
    """Of the workers' stages: CPU time for `decode` and, on CPUs, `infer`; wall time for `fetch`, for `wait`,
    of images between tasks that decode and GPUs that infer, and on GPUs for `infer`."""
    images_of: Counter[str] = field(default_factory=Counter)
    """Images classified by node."""
    cores: int = 0
    classifiers: int = 0
    on_gpu: bool = False
    first_at: float | None = None
    """When the first block came in; on the monotonic clock, as the next one."""
    last_at: float = 0.0
    first_images: int = 0
    """In that block, and in the first blocks of chains before."""
    steady_before_s: float = 0.0
    """Steady seconds of the chains before."""

    @contextmanager
    def time(self, step: str) -> Iterator[None]:
        """Add the seconds of a `with` block to a step of the driver."""
        began_s = time.monotonic()
        try:
            yield
        finally:
            self.seconds[step] += time.monotonic() - began_s

    def begin(self, *, cores: int, classifiers: int, on_gpu: bool) -> None:
        """A chain starts; a command that first finishes an earlier run has two."""
        self.steady_before_s, self.first_at = self.steady_s, None
        self.cores, self.classifiers, self.on_gpu = cores, classifiers, on_gpu

    def take(self, rows: pa.Table) -> pa.Table:
        """Note what a block says of its making, and give its rows without that.

        Args:
            rows: `schema.UNIT_FILE` and `schema.WORK`.
        """
        self.last_at = time.monotonic()
        if self.first_at is None:
            self.first_at = self.last_at
            self.first_images += len(rows)
        for stage in (*_WORKERS_DO, "wait"):
            self.busy_s[stage] += pc.sum(rows[f"{stage}_s"]).as_py() or 0.0
        self.images_of[rows["node"][0].as_py() or ""] += len(rows)
        return rows.select(schema.UNIT_FILE.names)

    @property
    def images(self) -> int:
        """That came in."""
        return self.images_of.total()

    @property
    def steady_s(self) -> float:
        """From the first block to the last, of each chain."""
        return self.steady_before_s + (0.0 if self.first_at is None else self.last_at - self.first_at)

    @property
    def steady_images_per_s(self) -> float | None:
        """Without start and end; None for a run of one block."""
        rest = self.images - self.first_images
        return rest / self.steady_s if rest and self.steady_s else None

    def at_once(self, *stages: str) -> float:
        """How many workers were in these stages on average (Little's law); 0 for a run of one block."""
        if not self.images:
            return 0.0
        return sum(self.busy_s[stage] for stage in stages) / self.images * (self.steady_images_per_s or 0.0)


def explained(watch: Watch, *, total_s: float) -> dict[str, Any]:
    """Plain values: per stage, what bounded the run, and what to change.

    Args:
        watch: of a run that read something.
        total_s: of the whole command.
    """
    stages: dict[str, Any] = {name: {"seconds": watch.seconds[name]} for name in ("plan", "start")}
    for name in _WORKERS_DO:
        busy_s = watch.busy_s[name]
        stages[name] = {
            "seconds": busy_s,
            "images_per_worker_s": watch.images / busy_s if busy_s else None,
            "busy": _busy(watch, name),
        }
    stages |= {name: {"seconds": watch.seconds[name]} for name in ("keep", "commit")}
    bound = _bound(watch, total_s=total_s)
    return {
        "images": watch.images,
        "total_s": total_s,
        "reading_s": watch.steady_s,
        "steady_images_per_s": watch.steady_images_per_s,
        "images_waiting_for_infer": watch.at_once("wait") if watch.on_gpu else None,
        "nodes": dict(watch.images_of),
        "stages": stages,
        "bound": bound,
        "advice": _ADVICE[bound],
    }


def _busy(watch: Watch, *stages: str) -> dict[str, float]:
    """Share of all cores, or of all GPUs, that stages kept busy, as {"cores": 0.4}.

    Fetching keeps none, and a run of one block says nothing of it.
    """
    on_gpus = watch.on_gpu and "infer" in stages
    number = watch.classifiers if on_gpus else watch.cores
    if "fetch" in stages or not number or watch.steady_images_per_s is None:
        return {}
    return {"GPUs" if on_gpus else "cores": watch.at_once(*stages) / number}


_ADVICE = {
    "table": "listing and committing take longest: more images a run, or fewer small files",
    "start": "starting Ray and the model takes longest: nothing to gain but by larger runs",
    "driver": "the driver keeps rows as fast as it can: a faster disk for the results",
    "fetch": "the store gives bytes no faster: run nearer to it, or on more nodes",
    "GPU": "the GPUs are busy: add one, or choose a faster engine",
    "GPU feed": "the GPUs wait for images: add CPU nodes",
    "infer": "the CPUs classify most of the time: add CPU nodes or a GPU, or take a faster engine or model",
    "decode": "the CPUs decode most of the time: add CPU nodes",
}


def _bound(watch: Watch, *, total_s: float) -> str:
    """The key of `_ADVICE` that fits."""
    seconds, busy_s = watch.seconds, watch.busy_s
    if watch.steady_s < _MOST * total_s:
        return "table" if seconds["plan"] + seconds["commit"] > seconds["start"] else "start"
    if seconds["keep"] > _MOST * watch.steady_s:
        return "driver"
    on_cores = ("decode",) if watch.on_gpu else ("decode", "infer")
    waits_for_bytes = busy_s["fetch"] > _MOST * sum(busy_s[stage] for stage in _WORKERS_DO)
    if waits_for_bytes and _busy(watch, *on_cores).get("cores", 0.0) < _BUSY:
        return "fetch"
    if watch.on_gpu:
        return "GPU" if _busy(watch, "infer").get("GPUs", 0.0) > _BUSY else "GPU feed"
    return "infer" if busy_s["infer"] > busy_s["decode"] else "decode"


def as_lines(found: dict[str, Any]) -> list[str]:
    """What `explained` found, for people."""
    shown = {
        "plan": "list and plan",
        "start": "start Ray and the model",
        "fetch": "fetch, all workers",
        "decode": "decode, all workers",
        "infer": "infer, all workers",
        "keep": "keep finished rows",
        "commit": "prove and commit",
    }
    lines = ["", "  where the time went          seconds   images/s and worker           busy"]
    for name, text in shown.items():
        stage = found["stages"][name]
        rate, busy = stage.get("images_per_worker_s"), stage.get("busy")
        lines.append(
            f"    {text:<24} {stage['seconds']:>9,.1f}"
            + (f"{rate:>22,.1f}" if rate is not None else "")
            + "".join(f"{f'{share:.0%} of {of}':>15}" for of, share in (busy or {}).items())
        )
    steady = found["steady_images_per_s"]
    speed = f"{steady:,.1f} images/s from the first block to the last; " if steady else ""
    waiting, nodes = found["images_waiting_for_infer"], len(found["nodes"])
    queued = "" if waiting is None else f"{waiting:,.0f} decoded images waiting on average; "
    lines += [
        f"    {speed}{queued}{nodes} node{'s' * (nodes != 1)}",
        f"    {found['bound']}-bound: {found['advice']}",
    ]
    return lines
