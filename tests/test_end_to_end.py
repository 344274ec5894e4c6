"""The job as its users run it: the command, as a process of its own, on real files."""

from __future__ import annotations

import ctypes
import json
import os
import signal
import struct
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import psutil
import pytest
from deltalake import DeltaTable
from PIL import Image

from batch_fracture.bundle import Bundle

pytestmark = pytest.mark.slow

COMMAND = [sys.executable, "-m", "batch_fracture"]
PR_CAPBSET_DROP, CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH = 24, 1, 2


def as_a_user_who_may_not_read_everything() -> None:
    """Root reads everything only because of two capabilities; give them up before the command starts."""
    for capability in (CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH):
        ctypes.CDLL(None).prctl(PR_CAPBSET_DROP, capability, 0, 0, 0)


def batch_fracture(*arguments: object, expect: int | None = 0, **options: Any) -> dict[str, Any]:
    """Run the command; its JSON object, with what it said as `stderr`."""
    done = subprocess.run(
        [*COMMAND, *map(str, arguments)], capture_output=True, text=True, timeout=500, check=False, **options
    )
    assert expect is None or done.returncode == expect, done.stderr
    printed = json.loads(done.stdout.splitlines()[-1]) if done.stdout else {}
    return {**printed, "stderr": done.stderr}


def readings(results: Path) -> pd.DataFrame:
    return DeltaTable(results / "readings").to_pandas()


@pytest.fixture(autouse=True)
def temporary(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A temporary folder of this test's runs alone; its name is short, because Ray puts sockets into it."""
    with tempfile.TemporaryDirectory(prefix="e", dir="/tmp", ignore_cleanup_errors=True) as folder:
        monkeypatch.setenv("TMPDIR", folder)
        yield


def leftovers() -> list[Path]:
    """Ray folders of runs that are gone."""
    return list(Path(os.environ["TMPDIR"]).glob("bf-ray-*"))


def write_bomb(path: Path) -> None:
    """A valid PNG of 60,000 x 60,000 pixels (3.6 GB unpacked) in 3.5 MB."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    row, packer = bytes(60_001), zlib.compressobj(9)
    packed = b"".join(packer.compress(row * 1000) for _ in range(60)) + packer.flush()
    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 0, 0, 0, 0)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", packed) + chunk(b"IEND", b"")
    )


def write_odd_files(folder: Path) -> dict[str, str | None]:
    """One of each; returns the expected code by name, None for read."""
    picture = Image.fromarray(np.tile(np.arange(200, dtype=np.uint8), (150, 1)))
    (folder / "empty.jpg").write_bytes(b"")
    (folder / "text.jpg").write_text("Dear colleague")
    write_bomb(folder / "bomb.png")
    picture.save(folder / "moving.gif", save_all=True, append_images=[picture.rotate(90)])
    (folder / "broken-link.png").symlink_to(folder / "nowhere.png")
    picture.save(folder / "unreadable.png")
    (folder / "unreadable.png").chmod(0o000)
    picture.save(folder / "new\nline.png")
    picture.save(os.fsdecode(os.fsencode(folder) + b"/not-utf8-\xff.png"), format="PNG")
    picture.convert("CMYK").save(folder / "cmyk.jpg")
    picture.convert("P").save(folder / "palette.png")
    picture.convert("LA").save(folder / "alpha.png")
    exif = Image.Exif()
    exif[0x0112] = 6
    picture.rotate(90, expand=True).save(folder / "rotated.jpg", exif=exif)
    return {
        "empty.jpg": "NOT_AN_IMAGE",
        "text.jpg": "NOT_AN_IMAGE",
        "bomb.png": "TOO_LARGE",
        "moving.gif": "ANIMATED",
        "broken-link.png": "GONE",
        "unreadable.png": "ACCESS_DENIED",
        "new\nline.png": None,
        "not-utf8-\\xff.png": "NAME_UNREADABLE",
        "cmyk.jpg": None,
        "palette.png": None,
        "alpha.png": None,
        "rotated.jpg": None,
    }


def run_watched(*arguments: object, **options: Any) -> tuple[int, int]:
    """Run the command; (exit code, largest resident size in bytes of any of its processes)."""
    process = psutil.Popen([*COMMAND, *map(str, arguments)], stderr=subprocess.PIPE, **options)
    largest = 0
    while process.poll() is None:
        for one in [process, *process.children(recursive=True)]:
            try:
                largest = max(largest, one.memory_info().rss)
            except psutil.NoSuchProcess:
                continue
        time.sleep(0.1)
    process.stderr.close()
    return process.returncode, largest


def test_bad_input_is_a_row(tmp_path: Path, shared: Path, tiny_bundle: Bundle) -> None:
    archive, results = tmp_path / "archive", tmp_path / "results"
    archive.mkdir()
    expected = write_odd_files(archive)
    damaged = shared / "radiographs_damaged"
    code, largest = run_watched(
        "run", archive, damaged, "--results", results, "--model", tiny_bundle.path, "--max-failed", "1",
        preexec_fn=as_a_user_who_may_not_read_everything,
    )  # fmt: skip
    (archive / "unreadable.png").chmod(0o644)
    assert code == 0
    assert largest < 1.5 * 2**30
    table = DeltaTable(results / "readings").to_pyarrow_table()
    found = dict(zip(table["image_uri"].to_pylist(), table["error_code"].to_pylist(), strict=True))
    assert {
        uri.removeprefix(f"{archive}/"): c for uri, c in found.items() if uri.startswith(f"{archive}/")
    } == expected
    codes = [c for uri, c in found.items() if uri.startswith(f"{damaged}/")]
    assert codes == ["TRUNCATED"] * 30
    assert table.num_rows == len(expected) + 30
    assert leftovers() == []

    again = batch_fracture(
        "run", archive, damaged, "--results", results, "--model", tiny_bundle.path, "--json"
    )
    assert again["retried_later"] == 3


def test_an_image_that_crashes_its_worker_costs_one_row(
    tmp_path: Path, draw: Any, tiny_bundle: Bundle
) -> None:
    paths = draw(tmp_path / "archive", 200)
    paths[70].rename(paths[70].with_name("crash.png"))
    report = batch_fracture(
        "run", tmp_path / "archive", "--results", tmp_path / "results", "--model", tiny_bundle.path, "--json",
        env={**os.environ, "BATCH_FRACTURE_FAILPOINTS": "decode=segv@crash.png"},
    )  # fmt: skip
    assert (report["read"], report["failed"], report["codes"]) == (199, 1, {"DECODER_CRASHED": 1})


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_run_cleanly(
    tmp_path: Path, draw: Callable[..., Any], tiny_bundle: Bundle, number: signal.Signals
) -> None:
    archive, results = tmp_path / "archive", tmp_path / "results"
    draw(archive, 6000)
    run = ("run", archive, "--results", results, "--model", tiny_bundle.path)
    process = subprocess.Popen(
        [*COMMAND, *map(str, run)],
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(number, signal.SIG_DFL),  # a caller in the background ignores SIGINT
    )
    deadline = time.monotonic() + 60
    while not list(results.glob("_work/*/units/*.parquet")) and time.monotonic() < deadline:
        time.sleep(0.05)
    os.killpg(process.pid, number)  # as a terminal does: to the whole group
    _, said = process.communicate(timeout=60)
    assert process.returncode == 4, said
    assert f"{number.name} received" in said
    assert "the same command goes on" in said
    assert "Traceback" not in said
    committed = len(readings(results))
    assert 0 < committed < 6000
    assert not list(Path("/tmp/ray").glob(f"session_*_{process.pid}"))
    report = batch_fracture(*run, "--json")
    assert (report["unchanged"], report["read"]) == (committed, 6000 - committed)
    assert readings(results)["image_uri"].nunique() == len(readings(results)) == 6000


def test_the_real_archive(tmp_path: Path, shared: Path) -> None:
    archive, results = shared / "radiographs", tmp_path / "results"
    run = ("run", archive, "--results", results, "--model", "fracatlas-lite0", "--json")
    report = batch_fracture(*run, "--log-format", "json")
    events = [json.loads(line)["event"] for line in report["stderr"].splitlines()]  # and nothing of Ray's
    assert (set(events), events[-1]) == ({"note", "progress", "finished"}, "finished")
    assert (report["listed"], report["read"], report["skipped"], report["failed"]) == (3330, 3328, 2, 0)
    assert report["codes"] == {"NOT_AN_IMAGE": 2}
    DeltaTable(results / "readings").create_checkpoint()
    files = sorted(results.glob("readings/read_date=*/*.parquet"))
    glob = f"{results}/readings/read_date=*/*.parquet"
    counts = [
        pd.read_parquet(files)["status"].value_counts().to_dict(),
        pl.scan_delta(str(results / "readings")).collect()["status"].to_pandas().value_counts().to_dict(),
        duckdb.sql(f"SELECT status FROM '{glob}'").df()["status"].value_counts().to_dict(),
        readings(results)["status"].value_counts().to_dict(),
    ]
    assert counts == [{"read": 3328, "skipped": 2}] * 4

    again = batch_fracture(*run)
    assert again["outcome"] == "nothing_to_do"
    assert again["unchanged"] == 3330

    labels = pd.read_csv(archive / "labels.csv").set_index("path")
    rows = readings(results).query("status == 'read'")
    labelled = rows.assign(label=rows["image_uri"].str.removeprefix(f"{archive}/").map(labels["label"]))
    positive, negative = (labelled.query(f"label == {value}")["probability"] for value in (1, 0))
    assert positive.median() > negative.median()
