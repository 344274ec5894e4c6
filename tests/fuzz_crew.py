"""Processes that read broken files for the fuzzer; one that dies is booked and replaced."""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from pathlib import Path

from fuzz_mutations import broken

CHUNK = 50
"""Files that a worker is handed at once."""
STALL_S = 240.0
"""Without a word from a worker; a file that hangs is ended by the reader's own alarm long before."""
PROGRESS_S = 30.0
_COMMAND = (sys.executable, "-W", "always", str(Path(__file__).with_name("fuzz.py")))
_ENVIRONMENT = {
    **dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MALLOC_ARENA_MAX"), "1"),
    **dict.fromkeys(("MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_"), str(2**17)),
}
"""Memory that is freed goes back at once, so that what the next file takes is seen to grow."""


@dataclass(kw_only=True)
class Summary:
    """The books of a series."""

    files: int = 0
    codes: Counter[str] = field(default_factory=Counter)
    formats: Counter[str] = field(default_factory=Counter)
    slowest: tuple[float, int, str] = (0.0, -1, "")
    """Seconds of CPU time, number, seed file."""
    largest: tuple[int, int, str] = (0, -1, "")
    """Bytes of growth, number, seed file."""
    violations: list[tuple[int, str, str]] = field(default_factory=list)
    """Number, seed file, what was wrong."""


@dataclass
class Told:
    """What has been printed of a series."""

    at: float = field(default_factory=time.monotonic)
    violations: int = 0

    def tell(self, summary: Summary) -> None:
        """Print new violations, and now and then how far it is."""
        for number, name, problem in summary.violations[self.violations :]:
            print(f"  file {number}, from {name}: {problem}", flush=True)
        self.violations = len(summary.violations)
        if time.monotonic() - self.at > PROGRESS_S:
            self.at = time.monotonic()
            print(f"{summary.files:,} files, {self.violations} violations", flush=True)


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
        tell: print progress, and violations when they are found.

    Returns:
        The books; Ctrl-C ends the series, and gives those of what was read.
    """
    summary, crew, told = Summary(), list[_Worker](), Told()
    try:
        while True:
            while len(crew) < workers and (chunk := _chunk(numbers)):
                crew.append(_start(task, chunk))
            if not crew:
                return summary
            ready = wait([worker.pipe for worker in crew], timeout=STALL_S)
            for worker in [worker for worker in crew if worker.pipe in ready or not ready]:
                _hear(worker, crew, task, summary, numbers)
            if tell:
                told.tell(summary)
    except KeyboardInterrupt:
        return summary
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
            env={**os.environ, **_ENVIRONMENT},
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


def serve(pipe: Connection) -> None:
    """A worker's life: make and read the files that it is handed until the pipe closes."""
    from fuzz_oracle import PROFILES, Oracle
    from fuzz_planted import FAULTS, WHOLE

    from batch_fracture.reader import read_images

    task: Task = pipe.recv()
    oracle = Oracle()
    with contextlib.suppress(EOFError, ConnectionError):
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
