"""`make fuzz`: a million broken files; no process dies, each is one row, with words and memory in bounds.

Each file follows from `--seed` and its number. Worker processes read them; one that dies is replaced, and its
file is a violation. Files of violations are kept; they come from synthetic seeds or from ../shared/dicom.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import tempfile
import time
from multiprocessing.connection import Connection
from pathlib import Path

from fuzz_crew import Summary, Task, fuzz, serve
from fuzz_mutations import broken


def main() -> int:
    """A series; 1 when there were violations."""
    options = _options()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # which ends the series as Ctrl-C does
    began, with_shared = time.monotonic(), not options.synthetic
    task = Task(seed=options.seed, with_shared=with_shared)
    numbers = [options.only] if options.only is not None else range(options.files)
    print(f"seed {options.seed}: {len(numbers):,} files, {options.workers} workers", flush=True)
    summary = fuzz(task, iter(numbers), options.workers, tell=True)
    print(f"\n{summary.files:,} files in {time.monotonic() - began:.0f} s")
    for title, counts in (("by code", summary.codes), ("by format", summary.formats)):
        print(f"{title}: " + ", ".join(f"{name} {count:,}" for name, count in counts.most_common()))
    seconds, number, name = summary.slowest
    print(f"slowest {seconds:.2f} s of CPU time (file {number}, from {name})")
    growth, number, name = summary.largest
    print(f"largest growth {growth / 2**20:,.0f} MiB (file {number}, from {name})")
    print(f"violations: {len(summary.violations)}")
    if summary.violations:
        _keep(summary, task)
    return int(bool(summary.violations))


def _keep(summary: Summary, task: Task) -> None:
    folder = Path(tempfile.mkdtemp(prefix="bf-fuzz-"))
    for number, _, _ in summary.violations:
        content = broken(task.seed, number, with_shared=task.with_shared)[1]
        (folder / f"seed-{task.seed}-file-{number}").write_bytes(content)
    print(
        f"the files are kept in {folder}; one alone again: python {__file__} --seed {task.seed} --only NUMBER"
    )


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Broken files; each must become one row.")
    parser.add_argument("--files", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=20261123)
    parser.add_argument("--workers", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--only", type=int, metavar="NUMBER", help="this file of the series alone")
    parser.add_argument("--synthetic", action="store_true", help="leave ../shared out")
    return parser.parse_args()


if __name__ == "__main__":
    if sys.argv[1:2] == ["--worker"]:
        serve(Connection(int(sys.argv[2])))
    else:
        sys.exit(main())
