from __future__ import annotations

import dataclasses
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from test_classifier import provenance
from test_isolate import manifest

from batch_fracture import schema
from batch_fracture.bundle import Bundle
from batch_fracture.classifier import FractureClassifier
from batch_fracture.cluster import Resources
from batch_fracture.pipeline import BLOCK_ROWS, Reader, Workers, build_dataset, fetch_and_decode, reader_bytes
from batch_fracture.preprocess import InputSpec
from batch_fracture.settings import ReadingSettings
from batch_fracture.store import FROM_ENVIRONMENT, ahead, reading

GIB = 2**30


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
    workers = Workers.for_cluster(
        Resources(num_cpus=2, num_gpus=0, memory_bytes=0), num_images=count, on_gpu=False, reader_bytes=GIB
    )
    dataset = build_dataset(images, provenance(tiny_bundle), tiny_bundle.input, ReadingSettings(), workers)
    rows = pa.concat_tables(dataset.iter_batches(batch_size=None, batch_format="pyarrow"))
    assert rows.schema.equals(pa.schema([*schema.UNIT_FILE, *schema.WORK]))
    assert sorted(rows["image_uri"].to_pylist()) == images["image_uri"].to_pylist()
    assert rows["probability"].null_count == 0


@pytest.mark.parametrize("num_cpus", [1, 2, 7, 64])
def test_one_reader_for_each_core_and_no_more_than_blocks(num_cpus: int) -> None:
    cluster = Resources(num_cpus=num_cpus, num_gpus=0, memory_bytes=10**12)
    many = Workers.for_cluster(cluster, num_images=10**6, on_gpu=False, reader_bytes=GIB)
    assert (many.num_actors, many.cpus_per_actor, many.gpus_per_actor) == (num_cpus, 1, 0)
    assert not many.decode_apart
    assert Workers.for_cluster(cluster, num_images=BLOCK_ROWS, on_gpu=False, reader_bytes=GIB).num_actors == 1


@pytest.mark.parametrize(("readers", "num_actors"), [(0.5, 1), (3.9, 3), (8, 8), (20, 8)])
def test_no_more_readers_than_memory_carries(readers: float, num_actors: int) -> None:
    cluster = Resources(num_cpus=8, num_gpus=0, memory_bytes=int(readers * GIB))
    workers = Workers.for_cluster(cluster, num_images=10**6, on_gpu=False, reader_bytes=GIB)
    assert (workers.num_actors, workers.short_of_memory) == (num_actors, num_actors < 8)
    assert (
        not Workers.for_cluster(cluster, num_images=1, on_gpu=False, reader_bytes=GIB).short_of_memory
        or readers < 1
    )


def test_a_reader_needs_more_memory_the_more_its_model_looks_at(tiny_bundle: Bundle) -> None:
    def needed(size: int, *, mirror: bool = False, closer: bool = False) -> float:
        seen = {"input": InputSpec(size=size), "mirror": mirror, "closer": closer}
        return reader_bytes(dataclasses.replace(tiny_bundle, **seen)) / GIB

    assert needed(64) == needed(384) == 1.5
    assert needed(384, mirror=True) == pytest.approx(1.6, abs=0.05)
    assert needed(512, mirror=True, closer=True) == pytest.approx(2.1, abs=0.1)


def test_one_classifier_for_each_gpu_leaves_all_cpus_to_the_tasks_that_feed_it() -> None:
    resources = Resources(num_cpus=16, num_gpus=4, memory_bytes=10**12)
    many = Workers.for_cluster(resources, num_images=10**6, on_gpu=True, reader_bytes=GIB)
    assert (many.num_actors, many.gpus_per_actor, many.cpus_per_actor) == (4, 1, 0)
    assert many.decode_apart
    assert Workers.for_cluster(resources, num_images=10, on_gpu=True, reader_bytes=GIB).num_actors == 1


def test_a_reader_answers_as_the_two_steps_apart(tmp_path: Path, draw: Any, tiny_bundle: Bundle) -> None:
    draw(tmp_path, 9)
    (tmp_path / "image-0-00003.png").write_bytes(b"no image")
    entries, spec, settings = manifest(tmp_path), tiny_bundle.input, ReadingSettings()
    run = provenance(tiny_bundle)
    together = Reader(run, spec, settings, FROM_ENVIRONMENT)(entries)
    apart = FractureClassifier(run)(fetch_and_decode(entries, spec, settings))
    told_by_the_clock = {"read_at", *(field.name for field in schema.WORK)}
    kept = [name for name in apart.column_names if name not in told_by_the_clock]
    assert together.schema.equals(apart.schema)
    assert together.select(kept).combine_chunks().equals(apart.select(kept))


def test_the_next_block_is_fetched_while_one_is_decoded(
    tmp_path: Path, draw: Any, tiny_bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw(tmp_path, 9)
    fetched: list[str] = []
    monkeypatch.setattr(
        ahead, "read_bytes", lambda uri, *rest: fetched.append(uri) or reading.read_bytes(uri, *rest)
    )
    entries = manifest(tmp_path)
    reader = Reader(provenance(tiny_bundle), tiny_bundle.input, ReadingSettings(), FROM_ENVIRONMENT)
    with ThreadPoolExecutor(1) as pool:
        with reader._core:  # as the block before it holds it
            rows = pool.submit(reader, entries)
            deadline = time.monotonic() + 5
            while len(fetched) < 9 and time.monotonic() < deadline:
                time.sleep(0.01)
            assert len(fetched) == 9
            assert not rows.done()
        assert rows.result(timeout=30)["status"].to_pylist() == ["read"] * 9
