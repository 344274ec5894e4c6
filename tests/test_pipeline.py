from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from test_classifier import provenance
from test_isolate import manifest

from batch_fracture import schema
from batch_fracture.bundle import Bundle
from batch_fracture.cluster import Resources
from batch_fracture.pipeline import BLOCK_ROWS, Workers, build_dataset, fetch_and_decode
from batch_fracture.settings import ReadingSettings


def test_entries_become_rows_one_for_one(tmp_path: Path, draw: Any, tiny_bundle: Bundle) -> None:
    draw(tmp_path, 5)
    (tmp_path / "z.txt").write_text("no image")
    rows = fetch_and_decode(manifest(tmp_path), tiny_bundle.input, ReadingSettings())
    assert rows.schema.equals(schema.DECODED)
    assert rows["status"].to_pylist() == ["read"] * 5 + ["skipped"]
    assert [pixels is None or len(pixels) for pixels in rows["pixels"].to_pylist()] == [64 * 64] * 5 + [True]


def test_the_chain_gives_every_entry_back_once(
    tmp_path: Path, draw: Any, tiny_bundle: Bundle, ray_session: None
) -> None:
    count = 3 * BLOCK_ROWS + 5
    draw(tmp_path, count)
    images = manifest(tmp_path)
    workers = Workers.for_cluster(Resources(num_cpus=2, num_gpus=0), num_images=count, on_gpu=False)
    dataset = build_dataset(images, provenance(tiny_bundle), tiny_bundle.input, ReadingSettings(), workers)
    rows = pa.concat_tables(dataset.iter_batches(batch_size=None, batch_format="pyarrow"))
    assert rows.schema.equals(pa.schema([*schema.UNIT_FILE, *schema.WORK]))
    assert sorted(rows["image_uri"].to_pylist()) == images["image_uri"].to_pylist()
    assert rows["probability"].null_count == 0


@pytest.mark.parametrize("num_cpus", [1, 2, 7, 64])
def test_classifiers_leave_cpus_to_the_tasks_that_feed_them(num_cpus: int) -> None:
    workers = Workers.for_cluster(Resources(num_cpus=num_cpus, num_gpus=0), num_images=10**6, on_gpu=False)
    left = num_cpus - workers.num_classifiers * workers.cpus_per_classifier
    assert left >= workers.cpus_per_task


def test_one_classifier_per_gpu_and_no_more_than_blocks() -> None:
    resources = Resources(num_cpus=16, num_gpus=4)
    many = Workers.for_cluster(resources, num_images=10**6, on_gpu=True)
    assert (many.num_classifiers, many.gpus_per_classifier, many.cpus_per_classifier) == (4, 1, 0)
    assert Workers.for_cluster(resources, num_images=10, on_gpu=True).num_classifiers == 1
    assert Workers.for_cluster(resources, num_images=10, on_gpu=False).num_classifiers == 1
