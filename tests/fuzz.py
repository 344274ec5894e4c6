"""`make fuzz`: a million broken files; no process dies, each is one row, with words and memory in bounds.

Each file follows from `--seed` and its number. Worker processes read them; one that dies is replaced, and its
file is a violation. Files of violations are kept; they come from synthetic seeds or from ../shared/dicom.
"""

from __future__ import annotations

import argparse
import itertools
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from pathlib import Path

from fuzz_mutations import broken

CHUNK = 50
"""Files that a worker is handed at once."""
STALL_S = 120.0
"""Without a word from a worker; a file that hangs is ended by the reader's own alarm long before."""
PROGRESS_S = 30.0
_COMMAND = (sys.executable, "-W", "always", __file__)
_FEW_THREADS = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "2"}


@dataclass(kw_only=True)
class Summary:
    """The books of a series."""

    files: int = 0
    codes: Counter[str] = field(default_factory=Counter)
    formats: Counter[str] = field(default_factory=Counter)
    slowest: tuple[float, int, str] = (0.0, -1, "")
    """Seconds, number, seed file."""
    largest: tuple[int, int, str] = (0, -1, "")
    """Bytes of growth, number, seed file."""
    violations: list[tuple[int, str, str]] = field(default_factory=list)
    """Number, seed file, what was wrong."""


@dataclass(kw_only=True)
class Task:
    """What a worker is asked for."""

    seed: int
    with_shared: bool
    planted: tuple[str, ...] = ()
    """A fault for each file, in the place of the reader; see `fuzz_planted`."""


@dataclass(kw_only=True)
class _Worker:
    process: subprocess.Popen[bytes]
    pipe: Connection
    waiting: list[int]
    """Numbers that it was handed and has not answered for, in order."""


def fuzz(task: Task, numbers: Iterator[int], workers: int, tell: bool = False) -> Summary:
    """Read files by number in worker processes.

    Args:
        task: the series.
        numbers: of the files.
        workers: how many processes.
        tell: print progress.
    """
    summary, crew, told = Summary(), list[_Worker](), time.monotonic()
    try:
        while True:
            while len(crew) < workers and (chunk := _chunk(numbers)):
                crew.append(_start(task, chunk))
            if not crew:
                return summary
            ready = wait([worker.pipe for worker in crew], timeout=STALL_S)
            for worker in [worker for worker in crew if worker.pipe in ready or not ready]:
                _hear(worker, crew, task, summary, numbers)
            if tell and time.monotonic() - told > PROGRESS_S:
                told = time.monotonic()
                print(f"{summary.files:,} files, {len(summary.violations)} violations", flush=True)
    finally:
        for worker in crew:
            _end(worker)


def _chunk(numbers: Iterator[int]) -> list[int]:
    return list(itertools.islice(numbers, CHUNK))


def _start(task: Task, chunk: list[int]) -> _Worker:
    ours, theirs = socket.socketpair()
    with theirs:
        process = subprocess.Popen(
            [*_COMMAND, "--worker", str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            env={**os.environ, **_FEW_THREADS},
        )
    pipe = Connection(ours.detach())
    pipe.send(task)
    pipe.send(chunk)
    return _Worker(process=process, pipe=pipe, waiting=list(chunk))


def _hear(worker: _Worker, crew: list[_Worker], task: Task, summary: Summary, numbers: Iterator[int]) -> None:
    """One answer of a worker, or its death."""
    try:
        answer = worker.pipe.recv() if worker.pipe.poll() else None
    except (EOFError, OSError):
        answer = None
    if answer is not None:
        _book(summary, worker.waiting.pop(0), answer)
        if not worker.waiting and (chunk := _chunk(numbers)):
            worker.waiting = list(chunk)
            worker.pipe.send(chunk)
        elif not worker.waiting:
            crew.remove(worker)
            _end(worker)
        return
    crew.remove(worker)
    number, left = worker.waiting[0], worker.waiting[1:]
    ended = worker.process.poll() if worker.process.poll() is not None else _wait(worker)
    summary.files += 1
    summary.codes["none"] += 1
    said = "hung" if ended in (None, -signal.SIGALRM) else f"the process died ({ended})"
    summary.violations.append((number, broken(task.seed, number, with_shared=task.with_shared)[0], said))
    _end(worker)
    if left:
        crew.append(_start(task, left))


def _wait(worker: _Worker) -> int | None:
    """How it ended; None when it goes on, and hangs."""
    try:
        return worker.process.wait(timeout=2.0)
    except subprocess.TimeoutExpired:
        return None


def _end(worker: _Worker) -> None:
    worker.pipe.close()
    worker.process.kill()
    worker.process.wait()


def _book(summary: Summary, number: int, answer: tuple[str, str, str, float, int, list[str]]) -> None:
    name, code, media_type, seconds, growth, problems = answer
    summary.files += 1
    summary.codes[code] += 1
    summary.formats[media_type] += 1
    summary.slowest = max(summary.slowest, (seconds, number, name))
    summary.largest = max(summary.largest, (growth, number, name))
    summary.violations += [(number, name, problem) for problem in problems]


def _serve(pipe: Connection) -> None:
    """A worker's life: make and read the files that it is handed until the pipe closes."""
    from fuzz_oracle import PROFILES, Oracle
    from fuzz_planted import FAULTS, WHOLE

    from batch_fracture.reader import read_images

    task: Task = pipe.recv()
    oracle = Oracle()
    try:
        while True:
            for number in pipe.recv():
                name, content = broken(task.seed, number, with_shared=task.with_shared)
                read = read_images
                if task.planted:
                    content, read = WHOLE, FAULTS[task.planted[number]]
                found = oracle.check(content, PROFILES[number % len(PROFILES)], read)
                pipe.send(
                    (name, found.code, found.media_type, found.seconds, found.growth_bytes, found.problems)
                )
    except (EOFError, ConnectionError):
        oracle.close()


def main() -> int:
    """A series; 1 when there were violations."""
    options = _options()
    began, with_shared = time.monotonic(), not options.synthetic
    task = Task(seed=options.seed, with_shared=with_shared)
    numbers = [options.only] if options.only is not None else range(options.files)
    print(f"seed {options.seed}: {len(numbers):,} files, {options.workers} workers", flush=True)
    summary = fuzz(task, iter(numbers), options.workers, tell=True)
    print(f"\n{summary.files:,} files in {time.monotonic() - began:.0f} s")
    for title, counts in (("by code", summary.codes), ("by format", summary.formats)):
        print(f"{title}: " + ", ".join(f"{name} {count:,}" for name, count in counts.most_common()))
    print(f"slowest {summary.slowest[0]:.2f} s (file {summary.slowest[1]}, from {summary.slowest[2]})")
    growth, number, name = summary.largest
    print(f"largest growth {growth / 2**20:,.0f} MiB (file {number}, from {name})")
    print(f"violations: {len(summary.violations)}")
    if summary.violations:
        _keep(summary, task)
    return int(bool(summary.violations))


def _keep(summary: Summary, task: Task) -> None:
    folder = Path(tempfile.mkdtemp(prefix="bf-fuzz-"))
    for number, name, problem in summary.violations:
        print(f"  file {number}, from {name}: {problem}")
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
        from fuzz import _serve as serve  # the pickled Task must be that of the module, not of __main__

        serve(Connection(int(sys.argv[2])))
    else:
        from fuzz import main as run

        sys.exit(run())
