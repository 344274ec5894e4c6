"""The driver's part of the reading: run the chain, watch for an outage, read again alone what was lost."""

from __future__ import annotations

import contextlib
import os
import queue
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa

from batch_fracture import engines
from batch_fracture.bundle import Bundle
from batch_fracture.classifier import FractureClassifier, Provenance
from batch_fracture.cluster import Resources, ray_cluster
from batch_fracture.codes import Code
from batch_fracture.endings import COMPLETE, INTERRUPTED, LATE, Ending, OutageGuard
from batch_fracture.errors import BatchFractureError
from batch_fracture.explain import Watch
from batch_fracture.interrupt import Interrupt
from batch_fracture.isolate import read_isolated
from batch_fracture.results.manifest import Manifest
from batch_fracture.results.units import UnitWriter
from batch_fracture.screen import Screen
from batch_fracture.settings import ReadingSettings
from batch_fracture.store import Access

if TYPE_CHECKING:
    from ray.data import Dataset

POLL_S = 0.2
"""How long a signal may go unheard."""
GRACE_S = 20.0
"""After a signal or the deadline, units that were begun may be finished so long, and no other is begun.
Schedulers must wait longer than that before they kill."""
LEAVE_WITHIN_S = 5.0
"""How long the chain may take to end at its next batch, before Ray is shut down under it."""
MIN_LOST, LOST_SHARE = 100, 0.01
"""More images than both that crash or stall even alone mean that this machine is at fault: the run stops."""


_LOST_FOR = frozenset({Code.DECODER_CRASHED, Code.TIMED_OUT, Code.OUT_OF_MEMORY})


@dataclass(frozen=True, kw_only=True)
class Job:
    """A run that is to be read."""

    manifest: Manifest
    model: Bundle
    engine: str | None
    """As asked for; None chooses by hardware."""
    address: str
    settings: ReadingSettings
    access: Access


def log_file(run_id: str) -> Path:
    """Where Ray's log of a run goes: the user's state folder (XDG), else a private temporary one."""
    try:
        home = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state")
        folder = home / "batch-fracture"
        folder.mkdir(parents=True, exist_ok=True)
        usable = os.access(folder, os.W_OK)
    except (OSError, RuntimeError):  # not writable, or no home at all
        usable = False
    return (folder if usable else Path(tempfile.mkdtemp(prefix="batch-fracture-"))) / f"{run_id}.log"


class Reading:
    """Reads every image of a job that has no row yet into units.

    Args:
        job: the run.
        writer: collects rows; holds the units that were finished before.
        screen: shows the progress.
        stop: asked between blocks.
        watch: told where the time goes.
    """

    def __init__(self, job: Job, writer: UnitWriter, screen: Screen, stop: Interrupt, watch: Watch) -> None:
        self._job = job
        self._writer = writer
        self._screen = screen
        self._stop = stop
        self._watch = watch
        self._log_file = log_file(job.manifest.run_id)
        self._finishing: set[int] | None = None
        self._grace_ends = 0.0
        self._began = 0.0

    def read(self) -> Ending:
        """Run the chain, then the second pass over what it lost.

        Raises:
            BatchFractureError: the chain failed as a whole, or far too many images crash or stall.
        """
        images = self._writer.missing()
        if not len(images):
            return COMPLETE
        self._began = time.monotonic()
        with ray_cluster(self._job.address, self._log_file) as resources:
            run = _provenance(self._job, resources)
            ending = self._run_chain(images, run, resources)
        if ending is COMPLETE and len(self._writer.missing()):
            ending = self._read_lost(run)
        return ending

    def _run_chain(self, images: pa.Table, run: Provenance, resources: Resources) -> Ending:
        from ray.exceptions import RayError  # noqa: PLC0415 - Ray is loaded only when there is work

        from batch_fracture.pipeline import Workers, build_dataset, reader_bytes  # noqa: PLC0415 - likewise

        on_gpu = engines.on_gpu(run.engine) and resources.num_gpus > 0
        job, guard = self._job, OutageGuard()
        workers = Workers.for_cluster(
            resources, num_images=len(images), on_gpu=on_gpu, reader_bytes=reader_bytes(job.model)
        )
        if workers.short_of_memory:
            self._screen.note(f"memory allows {workers.num_actors} of {resources.num_cpus} readers")
        self._watch.begin(cores=resources.num_cpus, classifiers=workers.num_actors, on_gpu=on_gpu)
        dataset = build_dataset(images, run, job.model.input, job.settings, workers, access=job.access)
        try:
            for rows in _batches_while(self._goes_on, dataset):
                self._take(rows)
                if guard.see(rows):
                    self._writer.discard(guard.units)
                    return guard.ending()
        except RayError as error:
            cause = str(error).strip().splitlines()[-1]
            raise BatchFractureError(
                f"run {job.manifest.run_id} stopped: {cause} (log: {self._log_file}); "
                "finished units are kept, run again to go on"
            ) from error
        return self._stopped() or COMPLETE

    def _goes_on(self) -> bool:
        """Until a stop is asked for; then while units that were begun may be finished."""
        if not self._stop.requested:
            return True
        if self._finishing is None:
            self._finishing, self._grace_ends = set(self._writer.begun), time.monotonic() + GRACE_S
        return bool(self._finishing & self._writer.begun) and time.monotonic() < self._grace_ends

    def _stopped(self) -> Ending | None:
        if not self._stop.requested:
            return None
        return INTERRUPTED if self._stop.signalled else LATE

    def _read_lost(self, run: Provenance) -> Ending:
        """The second pass over images that were lost with their workers."""
        job, lost = self._job, self._writer.missing()
        self._screen.note(f"{len(lost)} images were lost with a worker that died: reading them one by one")
        classifier = FractureClassifier(run)
        most = max(MIN_LOST, len(job.manifest.images) * LOST_SHARE)
        causes: Counter[str] = Counter()
        num_children = len(os.sched_getaffinity(0))
        for decoded in read_isolated(
            lost, job.model.input, job.settings, num_children=num_children, access=job.access
        ):
            rows = classifier(decoded)
            self._take(rows)
            causes.update(code for code in rows["error_code"].to_pylist() if code in _LOST_FOR)
            for cause, count in causes.most_common(1):
                if count > most:
                    raise BatchFractureError(
                        f"run {job.manifest.run_id} stopped: {count} images ended with {cause}, too many "
                        "to be the images' fault; nothing was committed; check this machine's memory"
                    )
            if ending := self._stopped():
                return ending
        return COMPLETE

    def _take(self, rows: pa.Table) -> None:
        if self._watch.first_at is None:
            self._watch.seconds["start"] += time.monotonic() - self._began
        kept = self._watch.take(rows)
        with self._watch.time("keep"):
            self._writer.add(kept)
        self._screen.progress(kept)


def _batches_while(goes_on: Callable[[], bool], dataset: Dataset) -> Iterator[pa.Table]:
    """The chain's batches. It runs in a thread, so that a stop is heard while no batch comes."""
    ready: queue.Queue[pa.Table | BaseException | None] = queue.Queue(maxsize=4)
    left = threading.Event()

    def put(item: pa.Table | BaseException | None) -> None:
        while not left.is_set():
            with contextlib.suppress(queue.Full):
                ready.put(item, timeout=POLL_S)
                return

    def pump() -> None:
        try:
            for rows in dataset.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0):
                put(rows)
                if left.is_set():
                    return
            put(None)
        except BaseException as error:  # noqa: BLE001 - raised again by the one who waits
            put(error)

    chain = threading.Thread(target=pump, name="chain", daemon=True)
    chain.start()
    try:
        while goes_on():
            with contextlib.suppress(queue.Empty):
                item = ready.get(timeout=POLL_S)
                if isinstance(item, BaseException):
                    raise item
                if item is None:
                    return
                yield item
    finally:
        left.set()
        chain.join(LEAVE_WITHIN_S)


def _provenance(job: Job, resources: Resources) -> Provenance:
    purpose = job.manifest.purpose
    return Provenance(
        bundle=str(job.model.path),
        model_digest=job.model.digest,
        operating_point=purpose.operating_point,
        threshold=purpose.threshold,
        engine=engines.choose(job.engine, job.model, num_gpus=resources.num_gpus),
        engine_asked=job.engine is not None,
        num_threads=1,
        settings_digest=purpose.settings_digest,
        run_id=job.manifest.run_id,
    )
