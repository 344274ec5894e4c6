"""Whether a run fills what is added to a cluster.

    python -m benchmarks.growth [--images 6400] [--repeats 3]

Several Ray nodes (raylets) stand on this machine, each pinned to one of its cores. A run connects to one
node, and has that core alone, then to as many as there are cores; then every node should decode and
classify, and twice the cores should read twice as fast. Then a node that has a GPU in name and no CPU, beside
a node with CPUs: all images must be classified on the one, so all must have been decoded on the other.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
from pathlib import Path
from typing import Any

from benchmarks import archives, measuring

_STORE_BYTES = 256 * 2**20


def main() -> None:
    """Measure one node and all, print the table."""
    parser = argparse.ArgumentParser(description="Speed of a run on one Ray node and on more.")
    parser.add_argument("--images", type=int, default=6_400)
    parser.add_argument("--engine", default="openvino-bf16")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", type=Path, help="takes all figures")
    options = parser.parse_args()
    machine = measuring.machine()
    print(measuring.machine_line(machine))
    folder = archives.jpegs(archives.SMALL, options.images)
    found: dict[int, list[dict[str, Any]]] = {1: [], machine["cores"]: []}
    for _ in range(options.repeats):
        for nodes, runs in found.items():
            runs.append(measured([{"num_cpus": 1}] * nodes, folder, options.engine, pinned=True))
    alone = statistics.median(run["steady_images_per_s"] for run in found[1])
    rows: list[list[object]] = []
    for nodes, runs in found.items():
        rate = statistics.median(run["steady_images_per_s"] for run in runs)
        shares = sorted(runs[-1]["nodes"].values())
        rows.append([nodes, rate, rate / alone, ", ".join(f"{share:,}" for share in shares)])
    measuring.show(["nodes of one core", "images/s", "of one", "images by node"], rows)
    mixed = measured([{"num_cpus": 0, "num_gpus": 1}, {"num_cpus": 2}], folder, "torch-fp32", pinned=False)
    print(f"GPU node beside a CPU node: classified on {len(mixed['nodes'])} node, {mixed['images']:,} images")
    measuring.save(options.json, {"machine": machine, "runs": found, "mixed": mixed})


def measured(nodes: list[dict[str, int]], folder: Path, engine: str, *, pinned: bool) -> dict[str, Any]:
    """What one run on a cluster of these nodes, each on its own core where `pinned`, says of itself."""
    from ray.cluster_utils import Cluster  # noqa: PLC0415 - a second to import

    os.environ["RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO"] = "0"
    cluster = Cluster()
    cores = sorted(os.sched_getaffinity(0))
    try:
        for number, node in enumerate(nodes):
            os.sched_setaffinity(0, {cores[number]} if pinned else cores)  # a node's processes inherit it
            cluster.add_node(object_store_memory=_STORE_BYTES, include_dashboard=False, **node)
        os.sched_setaffinity(0, cores[: len(nodes)] if pinned else cores)  # as does the driver
        cluster.wait_for_nodes()
        with tempfile.TemporaryDirectory(prefix="bf-bench-") as results:
            arguments = ("--model", archives.bundle(224), "--engine", engine, "--address", cluster.address)
            run = measuring.measure("run", folder, "--results", Path(results) / "r", *arguments, "--explain")
    finally:
        os.sched_setaffinity(0, cores)
        cluster.shutdown()
    explained: dict[str, Any] = run.report["explain"]
    return explained


if __name__ == "__main__":
    main()
