from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pyarrow as pa
import pytest
from faulty_proxy import serve_faults
from PIL import Image

from batch_fracture import isolate, schema, store
from batch_fracture.failpoints import VARIABLE
from batch_fracture.isolate import read_isolated
from batch_fracture.preprocess import InputSpec
from batch_fracture.settings import ReadingSettings
from batch_fracture.store.bucket import Access, s3_client


def manifest(folder: Path) -> pa.Table:
    listing = store.list_images((str(folder),))
    rows = [{**row, "reading_id": row["image_uri"], "unit": 0} for row in listing.to_pylist()]
    return pa.Table.from_pylist(rows, schema=schema.MANIFEST)


def read(folder: Path, **settings: Any) -> dict[str, str]:
    """Code, or `read`, by file name."""
    rows = read_isolated(manifest(folder), InputSpec(size=64), ReadingSettings(**settings), num_children=2)
    found = [row for table in rows for row in table.to_pylist()]
    assert len(found) == len(list(folder.iterdir()))
    return {Path(row["image_uri"]).name: row["error_code"] or row["status"] for row in found}


def test_each_death_has_its_code_and_the_others_are_read(
    tmp_path: Path, draw: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = draw(tmp_path, 9)
    for number, name in ((1, "crash"), (4, "hang"), (5, "killed"), (8, "crash-too")):
        paths[number].rename(tmp_path / name)
    monkeypatch.setenv(VARIABLE, "decode=segv@crash,decode=hang@hang,decode=kill@killed")
    codes = read(tmp_path, time_limit_s=3.0)
    assert {name: code for name, code in codes.items() if code != "read"} == {
        "crash": "DECODER_CRASHED",
        "crash-too": "DECODER_CRASHED",
        "hang": "TIMED_OUT",
        "killed": "OUT_OF_MEMORY",
    }


def test_an_image_that_needs_more_memory_than_the_limit(tmp_path: Path, draw: Any) -> None:
    draw(tmp_path, 1)
    Image.fromarray(np.zeros((9000, 9000), np.uint8)).save(tmp_path / "large.png", compress_level=1)
    codes = read(tmp_path, memory_limit_bytes=600 * 2**20)
    Image.fromarray(np.zeros((9000, 9000, 3), np.uint8)).save(tmp_path / "larger.png", compress_level=1)
    codes |= read(tmp_path, memory_limit_bytes=600 * 2**20)
    assert codes["image-0-00000.png"] == "read"
    assert codes["larger.png"] == "OUT_OF_MEMORY"


@pytest.mark.parametrize("action", ["segv", "kill"])
def test_a_child_that_dies_after_its_answer_is_not_the_next_images_fault(
    tmp_path: Path, draw: Any, monkeypatch: pytest.MonkeyPatch, action: str
) -> None:
    for number, path in enumerate(draw(tmp_path, 8)):
        path.rename(tmp_path / f"{'poison' if number % 2 else 'good'}-{number}.png")
    monkeypatch.setenv(VARIABLE, f"answered={action}@poison")
    assert set(read(tmp_path).values()) == {"read"}


def test_a_signal_that_ends_a_child_is_not_the_images_fault(
    tmp_path: Path, draw: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw(tmp_path, 1)[0].rename(tmp_path / "hang.png")
    monkeypatch.setenv(VARIABLE, "decode=hang@hang")
    ended: list[int] = []

    def end_the_first_child() -> None:
        reading = [
            child for child in psutil.Process().children() if "batch_fracture.isolate" in child.cmdline()
        ]
        ended.append(reading[0].pid)
        reading[0].terminate()

    timers: list[threading.Timer] = []
    real_hand = isolate._hand

    def hand(*given: Any) -> bool:
        if not timers:  # the first child has started, and gets its image now
            timers.append(threading.Timer(1.0, end_the_first_child))
            timers[0].start()
        return real_hand(*given)

    monkeypatch.setattr(isolate, "_hand", hand)
    assert read(tmp_path, time_limit_s=4.0) == {"hang.png": "TIMED_OUT"}
    assert len(ended) == 1


def test_a_silent_store_is_not_the_images_fault(
    bucket: str, s3_server: str, draw: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = draw(tmp_path, 1)[0]
    s3_client(Access()).put_object(Bucket=bucket, Key="x.png", Body=path.read_bytes())
    listing = store.list_images((f"s3://{bucket}/",)).to_pylist()
    images = pa.Table.from_pylist([{**row, "reading_id": "x", "unit": 0} for row in listing], schema.MANIFEST)
    monkeypatch.setattr(isolate, "FETCH_LIMIT_S", 5.0)
    limits = ReadingSettings(time_limit_s=2.0)
    with serve_faults(s3_server) as proxy:
        access = Access(s3_endpoint=proxy.endpoint)
        proxy.faults = ["slow-down", "slow-down", "slow-down"]  # a second or two, which is the store's time
        (found,) = read_isolated(images, InputSpec(size=64), limits, num_children=1, access=access)
        assert found["status"].to_pylist() == ["read"]
        proxy.always = "stall"
        (found,) = read_isolated(images, InputSpec(size=64), limits, num_children=1, access=access)
    (row,) = found.select(["error_stage", "error_code"]).to_pylist()
    assert row == {"error_stage": "fetch", "error_code": "STORE_ERROR"}
