"""FractureClassifier: the actor that turns inputs into logits, probabilities and findings."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from batch_fracture import __version__, schema
from batch_fracture.bundle import open_bundle
from batch_fracture.codes import Status
from batch_fracture.engines import open_engine

_ANSWER = pa.schema([*schema.UNIT_FILE, *schema.WORK])


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """What every row of a run has in common."""

    bundle: str
    """Path of the model bundle."""
    model_digest: str
    operating_point: str
    threshold: float
    engine: str
    engine_asked: bool
    """Whether it must be that engine; else a node that cannot compute so takes the reference."""
    num_threads: int
    settings_digest: str
    run_id: str


class FractureClassifier:
    """Loads the bundle's weights once, then classifies batch after batch.

    Args:
        run: bundle, engine, threshold, and what else each row is to carry.
    """

    def __init__(self, run: Provenance) -> None:
        self._run = run
        self._bundle = open_bundle(run.bundle)
        if self._bundle.digest != run.model_digest:
            raise RuntimeError(f"bundle {run.bundle} changed while the run went on")
        self._node = _node()
        self._engine = open_engine(
            run.engine, self._bundle, num_threads=run.num_threads, asked=run.engine_asked
        )
        # Of this thread alone: others of this process fetch meanwhile.
        self._clock = time.perf_counter if self._engine.on_gpu else time.thread_time

    def __call__(self, batch: pa.Table) -> pa.Table:
        """Finish rows.

        Args:
            batch: `schema.DECODED`; `pixels` holds uint8 (S, S) for read rows and null for all others.

        Returns:
            `schema.UNIT_FILE` with `schema.WORK`, one row per row, in the same order; logit, probability and
            fracture null unless read.
        """
        began_s, busy_s = time.time(), self._clock()
        read = pc.equal(batch["status"], Status.READ.value)
        logit_B = self._logits(batch["pixels"].filter(read))
        probability_B = self._bundle.calibration.probability(logit_B)
        threshold = np.float32(self._run.threshold)
        found = {"logit": logit_B, "probability": probability_B, "fracture": probability_B >= threshold}
        positions = pc.if_else(read, pc.subtract(pc.cumulative_sum(pc.cast(read, pa.int32())), 1), None)
        columns = {name: pc.take(pa.array(values), positions) for name, values in found.items()}
        columns |= self._constants(len(batch), threshold)
        columns |= {name: batch[name] for name in batch.column_names if name != "pixels"}
        columns |= self._work(batch, began_s, self._clock() - busy_s)
        return pa.table(columns).select(_ANSWER.names).cast(_ANSWER)

    def _work(self, batch: pa.Table, began_s: float, busy_s: float) -> dict[str, Any]:
        """What was done for these rows, beside fetching and decoding."""
        wait_s = pc.max_element_wise(pc.subtract(began_s, batch["decoded_at"]), 0.0)
        return {
            "wait_s": wait_s,
            "infer_s": pa.repeat(busy_s / len(batch), len(batch)),
            "node": pa.repeat(self._node, len(batch)),
        }

    def _logits(self, pixels: pa.ChunkedArray) -> npt.NDArray[np.float32]:
        size, count = self._bundle.input.size, self._engine.batch_size
        logits = [
            self._engine(
                np.stack([np.frombuffer(p.as_buffer(), np.uint8) for p in pixels[at : at + count]]).reshape(
                    -1, size, size
                )
            )
            for at in range(0, len(pixels), count)
        ]
        return np.concatenate(logits) if logits else np.empty(0, np.float32)

    def _constants(self, num_rows: int, threshold: np.float32) -> dict[str, pa.Array]:
        run = self._run
        values = {
            "threshold": pa.scalar(threshold),
            "operating_point": pa.scalar(run.operating_point),
            "model": pa.scalar(self._bundle.name),
            "model_digest": pa.scalar(run.model_digest),
            "engine": pa.scalar(self._engine.name),
            "code_version": pa.scalar(__version__),
            "settings_digest": pa.scalar(run.settings_digest),
            "run_id": pa.scalar(run.run_id),
            "read_at": pa.scalar(datetime.now(UTC), schema.TIMESTAMP),
            "pseudonym_key_id": pa.scalar(None, pa.string()),
        }
        return {name: pa.repeat(value, num_rows) for name, value in values.items()}


def _node() -> str:
    """Ray's id of this node; empty where no Ray runs, as in the second pass after one."""
    ray = sys.modules.get("ray")
    return str(ray.get_runtime_context().get_node_id()) if ray and ray.is_initialized() else ""
