"""Images per second of a run, against the machine's floor and against what people do today.

    python -m benchmarks.throughput [--rows small,large,start,mixed] [--sides floor] [--images 30000]

small and large: JPEGs of 512 x 406 and of 2500 x 2048 pixels, from the first block to the last, against
`../shared/bench/floor.py` (a process for each core at once, added up), the documented Ray Data pattern
(`../shared/bench/peer_ray_data.py`) and timm's inference script compiled in bf16. start: 100 images and none,
the whole command. mixed: DICOM, PNG and JPEG together, against the sum of each alone. All sides take turns.
"""

from __future__ import annotations

import argparse
import os
import random
import re
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks import archives, measuring

BENCH = measuring.ROOT.parent / "shared" / "bench"
ARCHITECTURE, SIZE = "tf_efficientnet_lite0", 224
_GOALS = {"floor": 0.85, "ray data": {"small": 15.0, "large": 12.0}, "timm": 2.5}
_FLOOR_IMAGES = {"small": 1_000, "large": 300}
_PEER_IMAGES = {"small": 1_000, "large": 300}
_MIXED_IMAGES = 200


def main() -> None:
    """Measure the rows asked for, print their tables."""
    options = _options()
    machine = measuring.machine()
    print(measuring.machine_line(machine))
    found = {row: _ROWS[row](options) for row in options.rows.split(",")}
    measuring.save(options.json, {"machine": machine, "engine": options.engine, "rows": found})


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Speed of a run against its floor and its peers.")
    parser.add_argument("--rows", default="small,large,start,mixed")
    parser.add_argument("--images", type=int, default=30_000, help="of small; large takes a tenth")
    parser.add_argument(
        "--sides", default="floor,ray data,timm", help="what small and large are held against"
    )
    parser.add_argument("--engine", default="openvino-bf16")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", type=Path, help="takes all figures")
    return parser.parse_args()


def _jpegs(row: str, options: argparse.Namespace) -> dict[str, Any]:
    """One row of JPEGs, every side in turns."""
    size, count = (
        (archives.SMALL, options.images) if row == "small" else (archives.LARGE, options.images // 10)
    )
    folder = archives.jpegs(size, count)
    with tempfile.TemporaryDirectory(prefix="bf-bench-") as place:
        sample = _sample(folder, Path(place) / "sample", _PEER_IMAGES[row])
        sides: dict[str, Callable[[int], float]] = {
            "ours": lambda turn: _steady(_run([folder], Path(place) / f"r{turn}", options.engine)),
            "floor": lambda turn: _floor(folder, Path(place) / f"f{turn}", _FLOOR_IMAGES[row], turn),
            "ray data": lambda turn: _peer(sample, Path(place) / f"p{turn}"),
        }
        if row == "small":
            sides["timm"] = lambda _turn: _timm(sample)
        wanted = {"ours", *options.sides.split(",")}
        rates = _in_turns({side: run for side, run in sides.items() if side in wanted}, options.repeats)
    medians = {side: statistics.median(values) for side, values in rates.items()}
    print(f"\n{count:,} JPEGs of {size[0]} x {size[1]}, images/s, steady, {options.engine}")
    goals = {side: goal if isinstance(goal, float) else goal[row] for side, goal in _GOALS.items()}
    measuring.show(
        ["side", "median", "lowest", "highest", "ours / side", "goal"],
        [
            [
                side,
                medians[side],
                min(rates[side]),
                max(rates[side]),
                medians["ours"] / medians[side],
                goals.get(side, ""),
            ]
            for side in rates
        ],
    )
    return {
        "images": count,
        "rates": rates,
        "ratios": {side: medians["ours"] / medians[side] for side in rates},
    }


def _start(options: argparse.Namespace) -> dict[str, Any]:
    """The whole command on 100 images, and again when nothing is to do."""
    folder = archives.jpegs(archives.SMALL, 100)
    seconds: dict[str, list[float]] = {"100 images": [], "nothing to do": []}
    with tempfile.TemporaryDirectory(prefix="bf-bench-") as place:
        for turn in range(options.repeats):
            for values in seconds.values():  # the second of them finds all settled
                values.append(_run([folder], Path(place) / f"r{turn}", options.engine).wall_s)
    print("\nThe whole command, seconds")
    measuring.show(
        ["run", "median", "lowest", "highest", "goal"],
        [
            [what, statistics.median(values), min(values), max(values), goal]
            for (what, values), goal in zip(seconds.items(), (10.0, 2.0), strict=True)
        ],
    )
    return seconds


def _mixed(options: argparse.Namespace) -> dict[str, Any]:
    """Kinds of files together, against each alone; seconds of the command beyond those for five files."""
    kinds = archives.mixed(_MIXED_IMAGES)
    sources = {**{kind: [folder] for kind, folder in kinds.items()}, "together": list(kinds.values())}
    seconds: dict[str, list[float]] = {kind: [] for kind in sources}
    with tempfile.TemporaryDirectory(prefix="bf-bench-") as place:
        for turn in range(options.repeats):
            few = _run([archives.jpegs(archives.SMALL, 5)], Path(place) / f"few-{turn}", options.engine)
            for kind, folders in sources.items():
                run = _run(folders, Path(place) / f"{kind}-{turn}", options.engine)
                seconds[kind].append(run.wall_s - few.wall_s)
    medians = {kind: statistics.median(values) for kind, values in seconds.items()}
    parts = sum(median for kind, median in medians.items() if kind != "together")
    print(
        f"\n{_MIXED_IMAGES} files of each kind, 2500 x 2048; seconds beyond a run of 5; goal 1.25 of the sum"
    )
    measuring.show(
        ["files", "seconds", "of the sum"],
        [[kind, median, median / parts] for kind, median in medians.items()],
    )
    return {"seconds": seconds, "of_the_sum": medians["together"] / parts}


_ROWS: dict[str, Callable[[argparse.Namespace], dict[str, Any]]] = {
    "small": lambda options: _jpegs("small", options),
    "large": lambda options: _jpegs("large", options),
    "start": _start,
    "mixed": _mixed,
}


def _in_turns(sides: dict[str, Callable[[int], float]], repeats: int) -> dict[str, list[float]]:
    rates: dict[str, list[float]] = {side: [] for side in sides}
    for turn in range(repeats):
        for side in sides if turn % 2 == 0 else reversed(sides):
            rates[side].append(sides[side](turn))
            print(f"  {side}: {rates[side][-1]:,.1f} images/s", flush=True)
    return rates


def _run(sources: list[Path], results: Path, engine: str) -> measuring.Measured:
    return measuring.measure(
        "run",
        *sources,
        "--results",
        results,
        "--model",
        archives.bundle(SIZE),
        "--engine",
        engine,
        "--explain",
    )


def _steady(run: measuring.Measured) -> float:
    return float(run.report["explain"]["steady_images_per_s"])


def _sample(folder: Path, to: Path, count: int, seed: int = 0) -> Path:
    """A random choice of the files, as links."""
    to.mkdir()
    for path in random.Random(seed).sample(sorted(folder.rglob("*.jpg")), count):
        (to / path.name).symlink_to(path)
    return to


def _floor(folder: Path, place: Path, count: int, turn: int) -> float:
    """The sum over one process for each core, pinned to it."""
    cores = sorted(os.sched_getaffinity(0))
    place.mkdir()
    processes = []
    for core in cores:
        sample = _sample(folder, place / str(core), count, seed=turn * 100 + core)
        floor = [sys.executable, BENCH / "floor.py", sample, ARCHITECTURE, str(SIZE), str(count)]
        command = ["taskset", "-c", str(core), *floor]
        processes.append(
            subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        )
    return sum(_number(process.communicate()[0], "combined_per_s") for process in processes)


def _peer(sample: Path, out: Path) -> float:
    return _number(_said(BENCH / "peer_ray_data.py", sample, out, ARCHITECTURE, SIZE), "images_per_s")


def _timm(sample: Path) -> float:
    return _number(_said("-m", "benchmarks.timm_side", sample, ARCHITECTURE, SIZE), "images_per_s")


def _said(*arguments: object) -> str:
    command = [sys.executable, *map(str, arguments)]
    return subprocess.run(command, check=True, capture_output=True, text=True, cwd=measuring.ROOT).stdout


def _number(text: str, name: str) -> float:
    found = re.search(rf"{name}=([\d.]+)", text)
    if found is None:
        raise RuntimeError(f"no {name} in what a side said:\n{text}")
    return float(found[1])


if __name__ == "__main__":
    main()
