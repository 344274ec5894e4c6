"""Whether a run's driver needs more memory the longer it runs.

Reads 30,000 and then 300,000 small images (hard links to a few hundred drawn ones) with a tiny model, and
samples the driver's unique memory (USS), and the raylet's resident one, object store and all, twice a second:

    python -m benchmarks.run_memory [--counts 30000,300000] [--json FILE]

The driver holds the manifest, and the rows of every unit that is open; memory that its allocators have once
had they keep, so the first units raise it in steps. What counts is the median of each quarter of the images,
and the slope over the second half in bytes per image. The peak comes with the commit, after the reading.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from PIL import Image

from benchmarks import measuring

DISTINCT = 300
SAMPLED_EVERY_S = 0.5


@dataclass(frozen=True, kw_only=True)
class Sample:
    """The driver at one moment."""

    second: float
    uss_mib: float
    rss_mib: float
    store_mib: float
    """Resident memory of the raylet, whose object store is a mapped file."""
    rows: int
    """Rows in finished units."""


def main() -> None:
    """Measure each count, print the table."""
    parser = argparse.ArgumentParser(description="Memory of the driver over a run.")
    parser.add_argument(
        "--counts", type=lambda text: [int(n) for n in text.split(",")], default=[30_000, 300_000]
    )
    parser.add_argument("--json", type=Path, help="takes all samples")
    options = parser.parse_args()
    machine, found = measuring.machine(), []
    print(measuring.machine_line(machine))
    with tempfile.TemporaryDirectory(prefix="bf-bench-memory-") as folder:
        bundle = Path(folder) / "tiny"
        writer = [sys.executable, measuring.ROOT / "tests" / "tiny.py", bundle]
        subprocess.run(writer, check=True, stdout=subprocess.DEVNULL)
        for count in options.counts:
            archive = draw_archive(Path(folder) / f"archive-{count}", count)
            found.append(_measure(archive, Path(folder) / f"results-{count}", bundle, count))
    print()
    header = [
        "images",
        "wall s",
        "images/s, steady",
        *(f"USS quarter {number} MiB" for number in (1, 2, 3, 4)),
        *(f"raylet quarter {number} MiB" for number in (1, 2, 3, 4)),
        "slope B/image",
        "USS peak MiB",
        "RSS peak MiB",
    ]
    measuring.show(header, [list(row.values())[: len(header)] for row in found])
    measuring.save(options.json, {"machine": machine, "runs": found})


def draw_archive(folder: Path, count: int) -> Path:
    """So many names of a few hundred different small PNG files, a thousand in a folder."""
    rng, drawn = np.random.default_rng(0), folder / "drawn"
    drawn.mkdir(parents=True)
    originals = [drawn / f"{number:03d}.png" for number in range(min(DISTINCT, count))]
    for path in originals:
        Image.fromarray(rng.integers(0, 256, (64, 48), np.uint8)).save(path)
    for number in range(len(originals), count):
        link = folder / f"{number // 1000:03d}" / f"{number:06d}.png"
        link.parent.mkdir(exist_ok=True)
        link.hardlink_to(originals[number % DISTINCT])
    return folder


def _measure(archive: Path, results: Path, bundle: Path, count: int) -> dict[str, Any]:
    command = [*measuring.COMMAND, "run", str(archive), "--results", str(results), "--model", str(bundle)]
    command += ["--explain", "--json"]
    began, samples = time.monotonic(), list[Sample]()
    with subprocess.Popen(
        command, cwd=measuring.ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as process:
        while process.poll() is None:
            samples += _sample(process.pid, results, time.monotonic() - began, count)
            time.sleep(SAMPLED_EVERY_S)
        said = process.communicate()[0]
    wall_s = time.monotonic() - began
    if process.returncode:
        raise RuntimeError(f"{command} ended with {process.returncode}")
    reading = [sample for sample in samples if 0 < sample.rows < count]
    return {
        "images": count,
        "wall_s": wall_s,
        "images_per_s": json.loads(said)["explain"]["steady_images_per_s"],
        **{
            f"{of}_quarter_{number}_mib": quarter(reading, number, count, of=f"{of}_mib")
            for of in ("uss", "store")
            for number in (1, 2, 3, 4)
        },
        "slope_bytes_per_image": slope([sample for sample in reading if sample.rows >= count / 2]),
        "uss_peak_mib": max(sample.uss_mib for sample in samples),
        "rss_peak_mib": max(sample.rss_mib for sample in samples),
        "samples": [vars(sample) for sample in samples],
    }


def _sample(pid: int, results: Path, second: float, count: int) -> list[Sample]:
    """One sample, or none when the driver has just ended. Units are of one size, but for the last."""
    units = len(list(results.glob("_work/*/units/*.parquet")))
    try:
        driver = psutil.Process(pid)
        memory = driver.memory_full_info()
        store = sum(child.memory_info().rss for child in driver.children() if child.name() == "raylet")
    except psutil.NoSuchProcess:
        return []
    rows = min(count, units * min(2000, max(100, -(-count // 32))))
    uss_mib, rss_mib, store_mib = (value / 2**20 for value in (memory.uss, memory.rss, store))
    return [Sample(second=second, uss_mib=uss_mib, rss_mib=rss_mib, store_mib=store_mib, rows=rows)]


def quarter(samples: list[Sample], number: int, count: int, *, of: str) -> float:
    """Median memory in MiB while one quarter of the images, 1 to 4, was read; NaN without a sample."""
    of_it = [getattr(sample, of) for sample in samples if number - 1 <= 4 * sample.rows / count < number]
    return statistics.median(of_it) if of_it else float("nan")


def slope(samples: list[Sample]) -> float:
    """Bytes of unique memory per image, by least squares; NaN of fewer than three samples."""
    if len(samples) < 3 or samples[0].rows == samples[-1].rows:
        return float("nan")
    rows, uss = ([getattr(sample, name) for sample in samples] for name in ("rows", "uss_mib"))
    return float(np.polyfit(rows, uss, 1)[0] * 2**20)


if __name__ == "__main__":
    os.environ.setdefault("RAY_ENABLE_AUTO_CONNECT", "0")
    main()
