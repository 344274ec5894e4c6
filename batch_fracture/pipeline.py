"""READ FIRST: the whole job as one visible Ray Data chain.

    on CPUs   manifest entries -> Reader (an actor for each core: both steps in one process) -> finished rows
    on GPUs   manifest entries -> fetch_and_decode (CPU tasks) -> FractureClassifier (actors) -> finished rows

Every entry that goes in comes out as one row, bad input included. Only an image that kills or hangs its
worker takes its block along; those are missing at the end, and `isolate` reads them one by one.
"""

from __future__ import annotations

import resource
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import ray
from ray.data import ActorPoolStrategy, DataContext, Dataset

from batch_fracture import schema
from batch_fracture.bundle import Bundle
from batch_fracture.classifier import FractureClassifier, Provenance
from batch_fracture.cluster import Resources
from batch_fracture.preprocess import InputSpec
from batch_fracture.reader import Row, read_images
from batch_fracture.settings import ReadingSettings
from batch_fracture.store import FROM_ENVIRONMENT, Access

BLOCK_ROWS = 128
"""Images per task: a second or so of a core, 8 MB of inputs at 256 pixels, and what one crash makes read
again. With 256 of them a run is 3 % faster."""
_READER_BYTES, _SEEN_PIXELS, _PIXEL_BYTES = 3 * 2**29, 384**2, 768
"""Memory of one reader, which has read 3,000 images: 1.4 GiB with a network that looks once at 384 pixels.
Four looks at 512 pixels took 0.6 GiB more, two images at a time."""
MIN_MISSING, MISSING_SHARE = 100, 0.01
"""More lost blocks than both, each with an image that killed its worker, are no accident: the run stops."""


def reader_bytes(model: Bundle) -> int:
    """Memory that one reader on a CPU should have with this model."""
    seen = model.num_looks * model.input.size**2
    return _READER_BYTES + max(0, seen - _SEEN_PIXELS) * _PIXEL_BYTES


def build_dataset(
    images: pa.Table,
    run: Provenance,
    spec: InputSpec,
    settings: ReadingSettings,
    workers: Workers,
    *,
    access: Access = FROM_ENVIRONMENT,
) -> Dataset:
    """The chain, lazily.

    Args:
        images: `schema.MANIFEST`, the entries to read, in this order.
        run: model, engine, and what each row carries.
        spec: the model's input.
        settings: limits and modalities.
        workers: how many of what.
        access: how buckets are reached.

    Returns:
        `schema.UNIT_FILE` and `schema.WORK`; iterate over its batches to run it. Blocks come in any order.
    """
    _tolerate(max(MIN_MISSING, int(len(images) * MISSING_SHARE)))
    blocks = ray.data.from_arrow([images.slice(at, BLOCK_ROWS) for at in range(0, len(images), BLOCK_ROWS)])
    if not workers.decode_apart:
        return blocks.map_batches(
            Reader, fn_constructor_args=(run, spec, settings, access), **workers.of_actors()
        )
    return blocks.map_batches(
        fetch_and_decode,  # type: ignore[arg-type]  # Ray's types know no further arguments
        fn_args=(spec, settings, access),
        batch_size=None,
        batch_format="pyarrow",
        num_cpus=1,
        max_retries=1,  # Ray's default tries a crashing image for ever
    ).map_batches(FractureClassifier, fn_constructor_args=(run,), **workers.of_actors())


def _tolerate(lost_blocks: int) -> None:
    context = DataContext.get_current()
    context.enable_progress_bars = False
    context.max_errored_blocks = lost_blocks


def fetch_and_decode(
    batch: pa.Table, spec: InputSpec, settings: ReadingSettings, access: Access = FROM_ENVIRONMENT
) -> pa.Table:
    """From manifest entries to decoded rows, one for one; `schema.MANIFEST` in, `schema.DECODED` out.

    An image that hangs kills this worker; see `reader.read_images`.
    """
    return _decoded(read_images(batch.to_pylist(), spec, settings, access))


def _decoded(rows: Iterator[Row]) -> pa.Table:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # the memory of a decoder that crashes holds its image
    decoded, now_s = list(rows), time.time()
    return pa.Table.from_pylist([row | {"decoded_at": now_s} for row in decoded], schema=schema.DECODED)


class Reader:
    """Fetches, decodes and classifies in one process: a core does not move images between two.

    Two blocks at a time: while one is decoded and classified, the bytes of the next are on their way.

    Args:
        run: as for `FractureClassifier`.
        spec: the model's input.
        settings: limits and modalities.
        access: how buckets are reached.
    """

    def __init__(self, run: Provenance, spec: InputSpec, settings: ReadingSettings, access: Access) -> None:
        self._reading = (spec, settings, access)
        self._classify = FractureClassifier(run)
        self._core = threading.Lock()

    def __call__(self, batch: pa.Table) -> pa.Table:
        """From manifest entries to finished rows, one for one."""
        rows = read_images(batch.to_pylist(), *self._reading)  # from here on bytes are fetched
        with self._core:
            # The whole block is decoded first: classifying 16 or 64 images at a time in between costs 8 %.
            return self._classify(_decoded(rows))


@dataclass(frozen=True, kw_only=True)
class Workers:
    """How many actors the cluster's CPUs or GPUs carry, and what each takes of them."""

    num_actors: int
    cpus_per_actor: int
    gpus_per_actor: int
    decode_apart: bool
    """Whether tasks decode on the CPUs, of any node, for actors that only classify."""
    short_of_memory: bool = False
    """Whether more cores would have a reader if there were more memory."""

    def of_actors(self) -> dict[str, Any]:
        """What Ray Data is told of them."""
        in_flight, at_once = (4, 1) if self.decode_apart else (2, 2)  # a crash makes all in flight read again
        return {
            "compute": ActorPoolStrategy(
                size=self.num_actors,
                max_tasks_in_flight_per_actor=in_flight,
                max_concurrent_calls_per_actor=at_once,
                enable_true_multi_threading=at_once > 1,
            ),
            "num_cpus": self.cpus_per_actor,
            "num_gpus": self.gpus_per_actor,
            "batch_size": BLOCK_ROWS,  # a whole block; for GPUs Ray wants the number said
            "batch_format": "pyarrow",
            "max_task_retries": 1,
        }

    @classmethod
    def for_cluster(
        cls, resources: Resources, *, num_images: int, on_gpu: bool, reader_bytes: int
    ) -> Workers:
        """One classifier for each GPU, and the CPUs decode; else one single-threaded reader for each core.

        There are no more of them than blocks, nor than memory carries at `reader_bytes` each. Two readers for
        a core take turns, and empty its cache for each other: an eighth slower.
        """
        num_blocks = -(-num_images // BLOCK_ROWS)
        if on_gpu:
            return cls(
                num_actors=min(resources.num_gpus, num_blocks),
                cpus_per_actor=0,
                gpus_per_actor=1,
                decode_apart=True,
            )
        carried = resources.memory_bytes // reader_bytes if resources.memory_bytes else resources.num_cpus
        return cls(
            num_actors=max(1, min(resources.num_cpus, num_blocks, carried)),
            cpus_per_actor=1,
            gpus_per_actor=0,
            decode_apart=False,
            short_of_memory=carried < min(resources.num_cpus, num_blocks),
        )
