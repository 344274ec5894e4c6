"""How long planning takes and how much memory it needs, as archives grow.

Lists 10 k, 100 k and 1 M objects (a stub of ListObjectsV2, a CSV and a Parquet list of the same) against no
table, and against one in which every object was read, by the command itself:

    python -m benchmarks.plan_scale [--sizes 10000,100000,1000000] [--sources s3,csv,parquet] [--repeats 3]

Goals: 1 M planned in under 60 s and 1 GiB; an unchanged archive of 1 M costs seconds, and no Ray start.
"""

from __future__ import annotations

import argparse
import csv
import statistics
import tempfile
from collections.abc import Iterator
from dataclasses import asdict
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from batch_fracture import schema
from batch_fracture.bundle import open_bundle
from batch_fracture.config import RunConfig
from batch_fracture.plan import reading_id
from batch_fracture.results.home import Home, find_home
from batch_fracture.results.table import NewFile, ReadingsTable
from benchmarks import measuring
from benchmarks.stub_s3 import BUCKET, serve_stub, stub_object
from tests.s3_server import credentials

SOURCES = ("s3", "csv", "parquet")
UNIT_ROWS = 2000
READ_DATE = date(2026, 1, 2)
LISTED = ["image_uri", "image_version", "size_bytes", "modified_at"]


def main() -> None:
    """Measure every source at every size, print the table, and say how it grows."""
    options = _options()
    options.cache.mkdir(parents=True, exist_ok=True)
    machine = measuring.machine()
    print(measuring.machine_line(machine))
    found = []
    for size in options.sizes:
        with serve_stub(size) as (endpoint, _pid):
            for source in options.sources:
                for case in ("new", "unchanged"):
                    found.append(_measure(source, case, size, endpoint, options))  # noqa: PERF401 - minutes each
    rows = [list(row.values())[:7] for row in found]
    print()
    measuring.show(["source", "table", "objects", "wall s", "CPU s", "peak MiB", "us/object"], rows)
    print()
    measuring.show(["source", "table", "step", "wall x", "memory x"], _growth(found))
    measuring.save(options.json, {"machine": machine, "runs": found})


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Time and memory of planning, by size of the archive.")
    sizes = [10_000, 100_000, 1_000_000]
    parser.add_argument("--sizes", type=lambda text: [int(n) for n in text.split(",")], default=sizes)
    parser.add_argument("--sources", type=lambda text: text.split(","), default=list(SOURCES))
    parser.add_argument("--repeats", type=int, default=3)
    cache = Path(tempfile.gettempdir()) / "bf-bench-plan"
    parser.add_argument("--cache", type=Path, default=cache, help="keeps tables and lists")
    parser.add_argument("--json", type=Path, help="takes all figures")
    return parser.parse_args()


def _measure(source: str, case: str, size: int, endpoint: str, options: argparse.Namespace) -> dict[str, Any]:
    """Medians of one case. An unchanged archive is run in earnest: nothing is to do, so nothing may start."""
    place = f"s3://{BUCKET}/" if source == "s3" else list_file(options.cache, size, source)
    results = settled_table(options.cache, size) if case == "unchanged" else options.cache / "none"
    flags = ["run", place, "--results", results, *(["--dry-run"] if case == "new" else [])]
    runs = []
    for _ in range(options.repeats + 1):  # the first warms the stub's pages and the disk
        runs.append(measuring.measure(*flags, env=credentials(endpoint)))
        books = runs[-1].report
        if (books["listed"], books["unchanged"]) != (size, size if case == "unchanged" else 0):
            raise RuntimeError(f"{source} {case} {size}: the books are {books}")
    runs = runs[1:]
    wall_s = statistics.median(run.wall_s for run in runs)
    row = {
        "source": source,
        "table": case,
        "objects": size,
        "wall_s": wall_s,
        "cpu_s": statistics.median(run.cpu_s for run in runs),
        "peak_mib": statistics.median(run.peak_mib for run in runs),
        "us_per_object": wall_s / size * 1e6,
        "runs": [asdict(run) for run in runs],
    }
    print(f"{source} {case} {size:,}: {wall_s:.2f} s, {row['peak_mib']:.0f} MiB", flush=True)
    return row


def _growth(found: list[dict[str, Any]]) -> list[list[object]]:
    """Each size against the one before it, of the same source and case."""
    rows: list[list[object]] = []
    last: dict[tuple[str, str], dict[str, Any]] = {}
    for row in found:
        before = last.get((row["source"], row["table"]))
        if before:
            step = f"{before['objects']:,} -> {row['objects']:,}"
            ratios = (row[name] / before[name] for name in ("wall_s", "peak_mib"))
            rows.append([row["source"], row["table"], step, *ratios])
        last[row["source"], row["table"]] = row
    return rows


def list_file(cache: Path, size: int, kind: str) -> Path:
    """A list of the stub's objects, made once."""
    path = cache / f"objects-{size}.{kind}"
    if path.exists():
        return path
    partial = path.with_suffix(".partial")
    if kind == "csv":
        with partial.open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(LISTED)
            for batch in _listed(size):
                writer.writerows(zip(*batch.select(LISTED).to_pydict().values(), strict=True))
    else:
        with pq.ParquetWriter(partial, pa.schema([schema.LISTING.field(name) for name in LISTED])) as writer:
            for batch in _listed(size):
                writer.write_table(batch.select(LISTED))
    partial.rename(path)
    return path


def settled_table(cache: Path, size: int) -> Path:
    """Results in which every object of the stub was read by the shipped model, made once."""
    results = cache / f"results-{size}"
    if results.exists():
        return results
    config = RunConfig(source=(f"s3://{BUCKET}/",), results=str(results))
    purpose = config.purpose(open_bundle(config.model))
    with tempfile.TemporaryDirectory(dir=cache) as folder:
        commit_units(Path(folder) / "results", _units(size, purpose.model_digest, purpose.settings_digest))
        (Path(folder) / "results").rename(results)
    return results


def commit_units(results: Path, units: Iterator[pa.Table]) -> None:
    """A table of those units, in one commit of the project's own."""
    home = find_home(str(results), create=True)
    table = ReadingsTable.open_or_create(home)
    run_id, files = f"{READ_DATE:%Y%m%d}-0123456789abcdef", []
    folder = Path(f"{Home.READINGS}/{schema.PARTITION}={READ_DATE}")
    (results / folder).mkdir()
    for number, unit in enumerate(units):
        name = folder / f"{run_id}-{number:06d}.parquet"
        pq.write_table(unit, results / name, compression="zstd")
        size_bytes = (results / name).stat().st_size
        files.append(NewFile(name=str(name), size_bytes=size_bytes, num_rows=len(unit)))
    if not table.commit(files, run_id=run_id, read_date=str(READ_DATE)):
        raise RuntimeError(f"{results}: the table did not take the commit")


def _units(size: int, model_digest: str, settings_digest: str) -> Iterator[pa.Table]:
    fixed = {
        "media_type": "application/dicom",
        "status": "read",
        "model": "fracatlas-lite0",
        "model_digest": model_digest,
        "settings_digest": settings_digest,
        "engine": "openvino-fp32",
    }
    for batch in _listed(size):
        names = zip(batch["image_uri"].to_pylist(), batch["image_version"].to_pylist(), strict=True)
        ids = pa.array([reading_id(uri, version, model_digest) for uri, version in names])
        known = {name: batch[name] for name in LISTED} | {"reading_id": ids}
        known |= {name: pa.array([value] * len(batch)) for name, value in fixed.items()}
        unknown = {name: pa.nulls(len(batch)) for name in schema.UNIT_FILE.names if name not in known}
        yield pa.table(known | unknown).select(schema.UNIT_FILE.names).cast(schema.UNIT_FILE)


def _listed(size: int) -> Iterator[pa.Table]:
    """The stub's objects as S3 lists them, a unit at a time."""
    for start in range(0, size, UNIT_ROWS):
        objects = [stub_object(number) for number in range(start, min(size, start + UNIT_ROWS))]
        rows = [
            {
                "image_uri": f"s3://{BUCKET}/{listed.key}",
                "image_version": listed.etag,
                "size_bytes": listed.size_bytes,
                "modified_at": listed.modified_at,
            }
            for listed in objects
        ]
        yield pa.Table.from_pylist(rows, schema=schema.LISTING)


if __name__ == "__main__":
    main()
