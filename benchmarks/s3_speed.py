"""Images per second from S3, against the same run from local disk.

The same archive is read from disk and from a SeaweedFS server on this machine, in turns:

    python -m benchmarks.s3_speed [--archive ../shared/radiographs] [--images N] [--repeats 3] [--json FILE]

The server takes CPU time of the machine that the run would have elsewhere, so the measure is
images / (wall seconds x cores - CPU seconds of the server), for both. Goal: S3 at 90 % of local disk or more.
"""

from __future__ import annotations

import argparse
import io
import statistics
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import boto3
import numpy as np
import psutil
from PIL import Image

from benchmarks import measuring
from tests.s3_server import credentials, serve_s3

BUCKET, PREFIX = "speed", "archive"
GOAL = 0.9


def main() -> None:
    """Measure both in turns, print medians and their ratio."""
    options = _options()
    machine = measuring.machine()
    print(measuring.machine_line(machine))
    runs: dict[str, list[dict[str, Any]]] = {"disk": [], "s3": []}
    with tempfile.TemporaryDirectory(prefix="bf-bench-s3-") as folder, serve_s3() as (endpoint, pid):
        archive = options.archive if options.images is None else _draw(Path(folder) / "a", options.images)
        env = credentials(endpoint)
        _upload(archive, env)
        sources = {"disk": str(archive), "s3": f"s3://{BUCKET}/{PREFIX}"}
        for turn in range(options.repeats):
            for where in runs if turn % 2 == 0 else reversed(runs):
                results = Path(folder) / f"results-{where}-{turn}"
                runs[where].append(_measure(sources[where], results, env, pid, options))
                print(where, {k: round(v, 2) for k, v in runs[where][-1].items()}, flush=True)
    _show(runs)
    measuring.save(options.json, {"machine": machine, "runs": runs})


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Speed of reading from S3 against local disk.")
    shared = measuring.ROOT.parent / "shared" / "radiographs"
    parser.add_argument("--archive", type=Path, default=shared, help="a folder of images")
    parser.add_argument("--images", type=int, help="draw so many JPEGs instead")
    parser.add_argument("--model", default="fracatlas-lite0")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", type=Path, help="takes all figures")
    return parser.parse_args()


def _measure(
    source: str, results: Path, env: dict[str, str], server: int, options: argparse.Namespace
) -> dict[str, float]:
    """One run into an empty table on disk; `rate` is images per second of CPU that the run could have had."""
    before = sum(psutil.Process(server).cpu_times()[:2])
    run = measuring.measure("run", source, "--results", results, "--model", options.model, env=env)
    server_s = sum(psutil.Process(server).cpu_times()[:2]) - before
    cores, images = measuring.machine()["cores"], run.report["read"]
    return {
        "images": images,
        "wall_s": run.wall_s,
        "server_cpu_s": server_s,
        "images_per_wall_s": images / run.wall_s,
        "reading_images_per_s": run.report["images_per_s"] or 0.0,
        "rate": images / (run.wall_s * cores - server_s),
    }


def _show(runs: dict[str, list[dict[str, Any]]]) -> None:
    names = list(runs["disk"][0])
    medians = {
        where: {n: statistics.median(r[n] for r in found) for n in names} for where, found in runs.items()
    }
    ratios = [medians["s3"][name] / medians["disk"][name] if medians["disk"][name] else 0.0 for name in names]
    rows = [[where, *(float(medians[where][name]) for name in names)] for where in medians]
    print()
    measuring.show(["source", *names], [*rows, ["s3 / disk", *ratios]])
    ratio = medians["s3"]["rate"] / medians["disk"]["rate"]
    print(f"\nS3 is at {ratio:.1%} of local disk: {'goal met' if ratio >= GOAL else f'short of {GOAL:.0%}'}")


def _upload(archive: Path, env: dict[str, str]) -> None:
    client = boto3.client(
        "s3",
        endpoint_url=env["AWS_ENDPOINT_URL"],
        region_name=env["AWS_REGION"],
        aws_access_key_id=env["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=env["AWS_SECRET_ACCESS_KEY"],
    )
    client.create_bucket(Bucket=BUCKET)

    def put(path: Path) -> None:
        client.put_object(Bucket=BUCKET, Key=f"{PREFIX}/{path.relative_to(archive)}", Body=path.read_bytes())

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(put, _files(archive)))


def _files(archive: Path) -> Iterator[Path]:
    return (path for path in sorted(archive.rglob("*")) if path.is_file())


def _draw(folder: Path, count: int) -> Path:
    """JPEGs of a radiograph's size in FracAtlas: 373 x 454."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    shade = np.add.outer(np.arange(454), np.arange(373)) / 827 * 200
    for number in range(count):
        pixels = (shade + rng.normal(0, 12, shade.shape)).clip(0, 255).astype(np.uint8)
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, format="JPEG", quality=90)
        (folder / f"{number:06d}.jpg").write_bytes(file.getvalue())
    return folder


if __name__ == "__main__":
    main()
