"""What must hold after every case of the chaos harness, checked from files alone."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from chaos_places import Committed, Place, committed, records, rows_of


@dataclass
class Counts:
    """What was done, what was left lying, and (from `lost` on) what went wrong."""

    kills: int = 0
    runs: int = 0
    committed: int = 0
    no_ray: int = 0
    """Runs that ended with an error because Ray did not start in time: the next one goes on."""
    litter: int = 0
    """Files that no reader sees: half-written ones, and those of a run that died while it cleaned up."""
    lost: int = 0
    doubled: int = 0
    extra: int = 0
    wrong: int = 0
    """Rows with another status than their image deserves."""
    changed: int = 0
    """Files of earlier table versions that are not what they were."""
    problems: list[str] = field(default_factory=list)
    """Everything else, in words."""

    @property
    def violations(self) -> int:
        return self.lost + self.doubled + self.extra + self.wrong + self.changed + len(self.problems)

    def __iadd__(self, other: Counts) -> Counts:
        for name, value in vars(other).items():
            setattr(self, name, getattr(self, name) + value)
        return self


Expected = dict[tuple[str, str], str]
"""(image_uri, image_version) of every image that any night has listed -> its status."""


def check(results: Place, expected: Expected, before: Committed) -> tuple[Counts, Committed]:
    """Compare the table with what it must hold, and with what it held before.

    Args:
        results: the results location; no run is at work there.
        expected: one row for each of these, and none else.
        before: the table when the case began.

    Returns:
        What was found wrong, and the table now.
    """
    now = committed(results)
    rows = list(rows_of(results, now.newest()))
    counts = Counts(committed=now.version - before.version)
    held = Counter((row["image_uri"], row["image_version"].strip('"')) for row in rows)
    counts.lost = sum(key not in held for key in expected)
    counts.extra = sum(key not in expected for key in held)
    counts.doubled = sum(count - 1 for count in held.values())
    counts.wrong = sum(
        expected.get((row["image_uri"], row["image_version"].strip('"')), row["status"]) != row["status"]
        for row in rows
    )
    counts.changed = sum(now.digests.get(name) != digest for name, digest in before.digests.items())
    counts.changed += sum(now.files.get(version) != files for version, files in before.files.items())
    names = results.versions()
    counts.litter = sum(name.startswith("_work/") or name.endswith(".partial") for name in names)
    counts.problems = [*_problems_of_files(names, now), *_problems_of_runs(results, now, rows)]
    return counts, now


def _problems_of_files(names: dict[str, str], now: Committed) -> list[str]:
    """Files that nobody knows, and work that nobody finishes."""
    problems = []
    standing = {name for name in names if name.startswith("readings/") and name.endswith(".parquet")}
    standing -= {name for name in standing if "/_delta_log/" in name}
    if unknown := sorted(standing - set(now.newest())):
        problems.append(f"files that a glob reads and the log does not know: {unknown}")
    if gone := sorted(set(now.newest()) - standing):
        problems.append(f"files that the log knows and that are gone: {gone}")
    if len(set(now.newest())) != len(now.newest()):
        problems.append("a file was added twice")
    if work := sorted(
        name for name in names if name.startswith("_work/") and name.endswith("/manifest.parquet")
    ):
        problems.append(f"runs were left unfinished: {work}")
    return problems


def _problems_of_runs(results: Place, now: Committed, rows: list[dict[str, Any]]) -> list[str]:
    """Each run that is in the table came in with one commit, and its record says what the table says."""
    problems = []
    held, told = Counter(row["run_id"] for row in rows), records(results)
    for run_id in sorted(set(held) | set(told)):
        record = told.get(run_id)
        counted = record["read"] + record["skipped"] + record["failed"] if record else None
        if counted != held[run_id]:
            problems.append(f"run {run_id}: {held[run_id]} rows, but the record says {counted}")
    for (_, one), (version, other) in pairwise(now.files.items()):
        runs = {name.rpartition("/")[2][:25] for name in set(other) - set(one)}
        if len(runs) > 1:
            problems.append(f"version {version} holds files of {len(runs)} runs")
    return problems
