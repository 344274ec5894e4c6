"""READ FIRST: the whole job as one visible Ray Data chain.

    manifest entries -> fetch_and_decode (CPU tasks) -> FractureClassifier (actors) -> finished rows

Every entry that goes in comes out as one row, bad input included. Only an image that kills or hangs its
worker takes its block along; those are missing at the end, and `isolate` reads them one by one.
"""

from __future__ import annotations

import resource
import time
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import ray
from ray.data import ActorPoolStrategy, DataContext, Dataset

from batch_fracture import schema
from batch_fracture.classifier import FractureClassifier, Provenance
from batch_fracture.cluster import Resources
from batch_fracture.preprocess import InputSpec
from batch_fracture.reader import read_images
from batch_fracture.settings import ReadingSettings
from batch_fracture.store import FROM_ENVIRONMENT, Access

BLOCK_ROWS = 128
"""Images per task: 0.1 to 1 s of decoding JPEGs, 8 MB of inputs at 256 pixels, and what one crash makes read
again. With 64 of them, Ray's work for each task cost a fifth of the speed."""
MIN_MISSING, MISSING_SHARE = 100, 0.01
"""More lost blocks than both, each with an image that killed its worker, are no accident: the run stops."""


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
    return (
        ray.data.from_arrow([images.slice(at, BLOCK_ROWS) for at in range(0, len(images), BLOCK_ROWS)])
        .map_batches(
            fetch_and_decode,  # type: ignore[arg-type]  # Ray's types know no further arguments
            fn_args=(spec, settings, access),
            **_batches_of(None),
            num_cpus=workers.cpus_per_task,
            max_retries=1,  # Ray's default tries a crashing image for ever
        )
        .map_batches(
            FractureClassifier,
            fn_constructor_args=(run,),
            **_batches_of(BLOCK_ROWS),  # a whole block, as above; for GPUs Ray wants the number said
            **workers.of_classifiers(),
            max_task_retries=1,
        )
    )


def _batches_of(rows: int | None) -> dict[str, Any]:
    return {"batch_size": rows, "batch_format": "pyarrow"}


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
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # the memory of a decoder that crashes holds its image
    rows = list(read_images(batch.to_pylist(), spec, settings, access))
    now_s = time.time()
    return pa.Table.from_pylist([row | {"decoded_at": now_s} for row in rows], schema=schema.DECODED)


@dataclass(frozen=True, kw_only=True)
class Workers:
    """How the cluster's CPUs and GPUs are shared between the two stages."""

    num_classifiers: int
    threads_per_classifier: int
    cpus_per_classifier: float
    gpus_per_classifier: int
    cpus_per_task: float

    def of_classifiers(self) -> dict[str, Any]:
        """What Ray Data is told of their number and needs."""
        return {
            "compute": ActorPoolStrategy(size=self.num_classifiers, max_tasks_in_flight_per_actor=4),
            "num_cpus": self.cpus_per_classifier,
            "num_gpus": self.gpus_per_classifier,
        }

    @classmethod
    def for_cluster(cls, resources: Resources, *, num_images: int, on_gpu: bool) -> Workers:
        """One classifier per GPU, else one single-threaded per CPU core that shares its core with decoding.

        The classifiers never hold every CPU, or the tasks that feed them could not start. There are no more
        of them than blocks.
        """
        num_blocks = -(-num_images // BLOCK_ROWS)
        if on_gpu:
            return cls(
                num_classifiers=min(resources.num_gpus, num_blocks),
                threads_per_classifier=1,
                cpus_per_classifier=0,
                gpus_per_classifier=1,
                cpus_per_task=1,
            )
        return cls(
            num_classifiers=min(resources.num_cpus, num_blocks),
            threads_per_classifier=1,
            cpus_per_classifier=0.5,
            gpus_per_classifier=0,
            cpus_per_task=0.5,
        )
