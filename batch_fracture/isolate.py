"""The second pass: images that killed or hung a worker, one at a time in disposable child processes.

A child reads under limits of memory, CPU time and wall time. When it dies, its image gets a code and the
next one a new child. It says when the fetch is done, so that a slow store is not blamed on the image.
"""

from __future__ import annotations

import os
import resource
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection, wait
from typing import Any

import pyarrow as pa

from batch_fracture import schema
from batch_fracture.codes import Code
from batch_fracture.errors import BatchFractureError
from batch_fracture.failpoints import failpoint
from batch_fracture.preprocess import InputSpec
from batch_fracture.reader import Row, failure, read_images
from batch_fracture.settings import ReadingSettings
from batch_fracture.store import FETCH_LIMIT_S, FROM_ENVIRONMENT, Access

START_UP_S = 60.0
"""Within which a child must say that it is ready."""
ORPHAN_S = 5.0
"""After its deadline, a child whose parent was killed ends itself."""
_READY, _FETCHED = "ready", "fetched"
_COMMAND = (sys.executable, "-m", "batch_fracture.isolate")
_FEW_THREADS = {"TOKIO_WORKER_THREADS": "1", "MALLOC_ARENA_MAX": "2"}
"""obstore would start a thread, and malloc reserve 64 MB, per CPU: of an address space that is limited."""


Terms = tuple[InputSpec, ReadingSettings, Access]
"""What a child reads under."""


@dataclass(kw_only=True)
class _Child:
    """A process and the one image that it has in flight."""

    process: subprocess.Popen[bytes]
    pipe: Connection
    entry: Row
    deadline: float
    """On the monotonic clock."""
    fetched: bool = False
    """Whether the store has done its part."""
    used: bool = False
    """Whether it has read an image before; what it broke then may kill it now."""


def read_isolated(
    images: pa.Table,
    spec: InputSpec,
    settings: ReadingSettings,
    *,
    num_children: int,
    access: Access = FROM_ENVIRONMENT,
) -> Iterator[pa.Table]:
    """Read each image in a child process.

    Args:
        images: `schema.MANIFEST`.
        spec: the model's input.
        settings: limits; a child has `memory_limit_bytes` of address space and `time_limit_s` per image.
        num_children: images in flight at once.
        access: how buckets are reached.

    Yields:
        Tables of one `schema.DECODED` row; deaths are `DECODER_CRASHED`, `TIMED_OUT`, `OUT_OF_MEMORY`.

    Raises:
        BatchFractureError: a child does not even start, which is no image's fault.
    """
    waiting, children = images.to_pylist()[::-1], list[_Child]()
    try:
        while waiting or children:
            while waiting and len(children) < num_children:
                children.append(_start(waiting.pop(), (spec, settings, access)))
            for child, answer in _answers(children, settings):
                handed = answer is not None and waiting and _hand(child, waiting[-1])
                row = answer if handed else _bury(children, child, answer)
                if handed:
                    waiting.pop()
                if row is None:
                    waiting.append(child.entry)
                else:
                    yield pa.Table.from_pylist([row], schema=schema.DECODED)
    finally:
        for child in children:
            _end(child)


def _start(entry: Row, terms: Terms) -> _Child:
    ours, theirs = socket.socketpair()
    with theirs:
        process = subprocess.Popen(
            [*_COMMAND, str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
            start_new_session=True,  # a signal to the run's group is the run's to handle
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,  # a crashing decoder's last words may quote the file
            env={**_FEW_THREADS, **os.environ},
        )
    child = _Child(process=process, pipe=Connection(ours.detach()), entry=entry, deadline=0.0)
    if not _greet(child, terms) or not _hand(child, entry):
        _end(child)
        raise BatchFractureError(f"a reading process did not start ({' '.join(_COMMAND)})")
    child.used = False
    return child


def _greet(child: _Child, terms: Terms) -> bool:
    """Tell a child what to read under; False when it does not answer."""
    try:
        child.pipe.send(terms)
    except OSError:
        return False
    return child.pipe.poll(START_UP_S) and _answer(child) == _READY


def _hand(child: _Child, entry: Row) -> bool:
    """Give a child its next image; False when it is dead already."""
    try:
        child.pipe.send(entry)
    except OSError:
        return False
    child.used = True
    child.entry, child.fetched = entry, False
    child.deadline = time.monotonic() + FETCH_LIMIT_S
    return True


def _finished(children: list[_Child]) -> list[_Child]:
    """Children with an answer, dead ones (their pipe has ended), and those past their deadline."""
    patience = max(0.0, min(child.deadline for child in children) - time.monotonic())
    ready = wait([child.pipe for child in children], timeout=patience)
    now = time.monotonic()
    return [child for child in children if child.pipe in ready or child.deadline <= now]


def _answers(children: list[_Child], settings: ReadingSettings) -> Iterator[tuple[_Child, Row | None]]:
    """Children that are done, and the row of each; None for a dead or late one."""
    for child in _finished(children):
        answer = _answer(child)
        if answer == _FETCHED:
            child.fetched = True
            child.deadline = time.monotonic() + settings.time_limit_s
        else:
            yield child, answer


def _answer(child: _Child) -> Any:
    """What the child has sent, its row or that it goes on; None when it died or is late."""
    try:
        return child.pipe.recv() if child.pipe.poll() else None
    except (EOFError, OSError):  # it died before, or within, its answer
        return None


def _bury(children: list[_Child], child: _Child, answer: Row | None) -> Row | None:
    """End a child; its answer, or what its death says of its image."""
    children.remove(child)
    row = answer or _epitaph(child)
    _end(child)
    return row


def _epitaph(child: _Child) -> Row | None:
    """The row of an image whose child died or is late; None when it is not to blame: try a fresh child."""
    if child.deadline <= time.monotonic() and child.process.poll() is None:
        code = Code.TIMED_OUT
    elif child.used or -child.process.wait() in _NOT_THE_IMAGES_FAULT:
        return None
    else:
        code = _DEATHS.get(-child.process.wait(), Code.DECODER_CRASHED)
    if code is Code.TIMED_OUT and not child.fetched:
        code = Code.STORE_ERROR
    entry = {key: value for key, value in child.entry.items() if key != "listing_code"}
    return entry | failure(code, "decode" if child.fetched else "fetch", _MESSAGES[code])


_NOT_THE_IMAGES_FAULT = frozenset({signal.SIGTERM, signal.SIGHUP, signal.SIGINT})
_DEATHS: dict[int, Code] = {
    signal.SIGALRM: Code.TIMED_OUT,
    signal.SIGXCPU: Code.TIMED_OUT,
    signal.SIGKILL: Code.OUT_OF_MEMORY,  # not by us, so by the kernel, for memory
}
_MESSAGES = {
    Code.DECODER_CRASHED: "the decoder crashed, also when the image was read alone",
    Code.TIMED_OUT: "the image took longer than the time limit",
    Code.OUT_OF_MEMORY: "the image needs more memory than the limit",
    Code.STORE_ERROR: "the store did not give the image in time",
}


def _end(child: _Child) -> None:
    child.pipe.close()
    child.process.kill()
    child.process.wait()


def _serve(pipe: Connection) -> None:
    """A child's life: read the images it is handed until the pipe closes."""
    spec, settings, access = pipe.recv()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (settings.memory_limit_bytes, settings.memory_limit_bytes))
    pipe.send(_READY)

    def fetched() -> None:
        _limit_cpu(settings.time_limit_s)
        pipe.send(_FETCHED)

    patient = replace(settings, time_limit_s=settings.time_limit_s + ORPHAN_S)
    while True:
        try:
            entry = pipe.recv()
        except EOFError:
            return
        for row in read_images([entry], spec, patient, access, fetched=fetched):
            pipe.send(row)
        failpoint("answered", entry["image_uri"])


def _limit_cpu(seconds: float) -> None:
    used = resource.getrusage(resource.RUSAGE_SELF)
    soft = int(used.ru_utime + used.ru_stime + seconds) + 1
    resource.setrlimit(resource.RLIMIT_CPU, (soft, resource.getrlimit(resource.RLIMIT_CPU)[1]))


if __name__ == "__main__":
    _serve(Connection(int(sys.argv[1])))
    os._exit(0)  # no clean-up: a damaged heap must not crash the way out
