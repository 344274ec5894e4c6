"""The second pass: images that killed or hung a worker, one at a time in disposable child processes.

A child reads under limits of memory, CPU time and wall time. When it dies, its image gets a code and the
next one a new child.
"""

from __future__ import annotations

import multiprocessing
import os
import resource
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess

import pyarrow as pa

from batch_fracture import schema
from batch_fracture.codes import Code
from batch_fracture.preprocess import InputSpec
from batch_fracture.reader import Row, failure, read_image
from batch_fracture.settings import ReadingSettings

START_UP_S = 60.0
"""Allowed to a child for starting Python, beside the image's own limit."""
_SPAWN = multiprocessing.get_context("spawn")


@dataclass(kw_only=True)
class _Child:
    """A process and the one image that it has in flight."""

    process: BaseProcess
    pipe: Connection
    entry: Row
    deadline: float


def read_isolated(
    images: pa.Table, spec: InputSpec, settings: ReadingSettings, *, num_children: int
) -> Iterator[pa.Table]:
    """Read each image in a child process.

    Args:
        images: `schema.MANIFEST`.
        spec: the model's input.
        settings: limits; a child has `memory_limit_bytes` of address space and `time_limit_s` per image.
        num_children: images in flight at once.

    Yields:
        Tables of one `schema.DECODED` row; crashes as `DECODER_CRASHED`, `TIMED_OUT` or `OUT_OF_MEMORY`.
    """
    waiting = images.to_pylist()[::-1]
    children: list[_Child] = []
    try:
        while waiting or children:
            while waiting and len(children) < num_children:
                children.append(_start(waiting.pop(), spec, settings))
            for child in _finished(children):
                children.remove(child)
                yield pa.Table.from_pylist([_outcome(child)], schema=schema.DECODED)
                if child.process.is_alive() and waiting:
                    _hand(child, waiting.pop(), settings)
                    children.append(child)
                else:
                    _end(child)
    finally:
        for child in children:
            _end(child)


def _start(entry: Row, spec: InputSpec, settings: ReadingSettings) -> _Child:
    ours, theirs = _SPAWN.Pipe()
    process = _SPAWN.Process(target=_serve, args=(theirs, spec, settings), daemon=True)
    process.start()
    theirs.close()
    child = _Child(process=process, pipe=ours, entry=entry, deadline=0.0)
    _hand(child, entry, settings)
    child.deadline += START_UP_S
    return child


def _hand(child: _Child, entry: Row, settings: ReadingSettings) -> None:
    child.entry = entry
    child.deadline = time.monotonic() + settings.time_limit_s
    child.pipe.send(entry)


def _finished(children: list[_Child]) -> list[_Child]:
    """Children with an answer, dead ones, and those past their deadline; waits until there is one."""
    while True:
        now = time.monotonic()
        patience = max(0.0, min(child.deadline for child in children) - now)
        ready = wait([c.pipe for c in children] + [c.process.sentinel for c in children], timeout=patience)
        done = [c for c in children if c.pipe in ready or c.process.sentinel in ready]
        late = [c for c in children if c not in done and c.deadline <= time.monotonic()]
        for child in late:
            child.process.kill()
            child.process.join()
        if done or late:
            return done + late


def _outcome(child: _Child) -> Row:
    """The row of the image in flight: the child's answer, or what its death says."""
    timed_out = child.deadline <= time.monotonic() and not child.process.is_alive()
    try:
        if child.pipe.poll():
            row: Row = child.pipe.recv()
            return row
    except EOFError:
        child.process.join()
    code = Code.TIMED_OUT if timed_out else _code_of(child.process.exitcode)
    entry = {key: value for key, value in child.entry.items() if key != "listing_code"}
    return entry | failure(code, "decode", _MESSAGES[code])


_MESSAGES = {
    Code.DECODER_CRASHED: "the decoder crashed; the image was read alone to make sure",
    Code.TIMED_OUT: "the image took longer than the time limit",
    Code.OUT_OF_MEMORY: "the image needs more memory than the limit",
}


def _code_of(exitcode: int | None) -> Code:
    if exitcode == -signal.SIGXCPU:
        return Code.TIMED_OUT
    if exitcode == -signal.SIGKILL:  # not by us, so by the kernel, for memory
        return Code.OUT_OF_MEMORY
    return Code.DECODER_CRASHED


def _end(child: _Child) -> None:
    child.pipe.close()
    child.process.kill()
    child.process.join()


def _serve(pipe: Connection, spec: InputSpec, settings: ReadingSettings) -> None:
    """A child's life: read the images it is handed until the pipe closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    quiet = os.open(os.devnull, os.O_WRONLY)
    os.dup2(quiet, 2)  # a crashing decoder's last words may quote the file
    while True:
        try:
            entry = pipe.recv()
        except EOFError:
            return
        _limit(settings)
        pipe.send(read_image(entry, spec, settings))


def _limit(settings: ReadingSettings) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (settings.memory_limit_bytes, settings.memory_limit_bytes))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    used = resource.getrusage(resource.RUSAGE_SELF)
    seconds = int(used.ru_utime + used.ru_stime + settings.time_limit_s) + 1
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, resource.getrlimit(resource.RLIMIT_CPU)[1]))
