"""Runs on clusters of several Ray nodes, on this machine: real raylets, by Ray's own cluster utilities."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from batch_fracture.bundle import Bundle
from batch_fracture.pipeline import BLOCK_ROWS

pytestmark = pytest.mark.slow
BLOCKS = 6
COMMAND = [sys.executable, "-m", "batch_fracture", "run"]

Run = Callable[..., dict[str, Any]]


@pytest.fixture
def run_on(tmp_path: Path, draw: Any, tiny_bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> Iterator[Run]:
    """Reads six blocks on a cluster of these nodes: what the run says of itself."""
    from ray.cluster_utils import Cluster

    monkeypatch.setenv("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # as Ray asks to be told, in capitals
    draw(tmp_path / "images", BLOCKS * BLOCK_ROWS)
    cluster = Cluster()

    def run(*nodes: dict[str, int], engine: str) -> dict[str, Any]:
        for node in nodes:
            cluster.add_node(object_store_memory=128 * 2**20, include_dashboard=False, **node)
        cluster.wait_for_nodes()
        flags = ["--address", cluster.address, "--model", str(tiny_bundle.path), "--engine", engine]
        done = subprocess.run(
            [*COMMAND, "images", "--results", "results", *flags, "--explain", "--json"],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )
        assert done.returncode == 0, done.stderr
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    yield run
    cluster.shutdown()


def test_added_nodes_classify(run_on: Run) -> None:
    report = run_on({"num_cpus": 1}, {"num_cpus": 1}, engine="openvino-fp32")
    by_node = Counter(report["explain"]["nodes"])
    assert by_node.total() == BLOCKS * BLOCK_ROWS
    assert len(by_node) == 2
    assert min(by_node.values()) >= BLOCK_ROWS


def test_nodes_without_gpus_decode_for_one_without_cpus(run_on: Run) -> None:
    """A GPU in name: torch finds none and takes the CPU, but Ray places everything as if it were there."""
    report = run_on({"num_cpus": 0, "num_gpus": 1}, {"num_cpus": 1}, engine="torch-fp32")
    assert list(report["explain"]["nodes"].values()) == [BLOCKS * BLOCK_ROWS]
    assert report["explain"]["stages"]["decode"]["seconds"] > 0
