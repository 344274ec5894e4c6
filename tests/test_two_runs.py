"""Several runs at once on one results location, each a process of its own; on disk and on S3."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from batch_fracture.bundle import Bundle
from batch_fracture.query import query
from batch_fracture.results.home import Home
from batch_fracture.runs import list_runs

pytestmark = pytest.mark.slow

Process = subprocess.Popen[str]


@pytest.fixture
def start(home: Home, tiny_bundle: Bundle) -> Callable[..., Process]:
    """Starts `batch-fracture run` on sources: start(archive, ...)."""

    def start_it(*sources: Path, **options: Any) -> Process:
        command = [sys.executable, "-m", "batch_fracture", "run", *map(str, sources), "--results", home.uri]
        return subprocess.Popen(
            [*command, "--model", str(tiny_bundle.path)], stderr=subprocess.PIPE, text=True, **options
        )

    return start_it


def end(process: Process) -> tuple[int, str]:
    _, said = process.communicate(timeout=300)
    return process.returncode, said


def books(home: Home) -> tuple[int, int]:
    sql = "SELECT count(*) AS n, count(DISTINCT image_uri) AS d FROM readings"
    (row,) = query(home.uri, sql).to_pylist()
    return row["n"], row["d"]


def test_the_same_run_twice_is_done_once_and_a_dead_one_taken_over(
    home: Home, start: Callable[..., Process], draw: Callable[..., Any], tmp_path: Path
) -> None:
    draw(tmp_path / "archive", 300)
    first = start(tmp_path / "archive")
    deadline = time.monotonic() + 60
    while not list_runs(home).num_rows and time.monotonic() < deadline:
        time.sleep(0.1)
    code, said = end(start(tmp_path / "archive"))
    assert (code, f"is being done by process {first.pid} on" in said) == (4, True), said
    assert "Traceback" not in said
    first.send_signal(signal.SIGKILL)
    assert end(first)[0] == -signal.SIGKILL
    code, said = end(start(tmp_path / "archive"))
    assert code == 0, said
    assert "was cut off: finishing it first" in said
    assert books(home) == (300, 300)


def test_runs_of_other_and_of_overlapping_sources_all_commit(
    home: Home, start: Callable[..., Process], draw: Callable[..., Any], tmp_path: Path
) -> None:
    draw(tmp_path / "a", 120)
    draw(tmp_path / "a" / "inner", 150, seed=1)
    draw(tmp_path / "b", 130, seed=2)
    running = [start(tmp_path / name) for name in ("a", "a/inner", "b")]
    for process in running:
        code, said = end(process)
        assert code == 0, said
    assert books(home) == (400, 400)
    runs = query(home.uri, "SELECT read, taken_by_other_runs FROM runs").to_pylist()
    assert sum(run["read"] for run in runs) == 400
    assert sum(run["taken_by_other_runs"] + run["read"] for run in runs) <= 270 + 150 + 130
    code, said = end(start(tmp_path / "a", tmp_path / "b"))
    assert (code, "nothing to do" in said) == (0, True), said
