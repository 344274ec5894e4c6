"""Ray for one run: started quietly in a short folder of its own, which is removed afterwards."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import secrets
import shutil
import signal
import socket
import sys
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

from batch_fracture.errors import BatchFractureError, ConfigError

MAX_OBJECT_STORE_BYTES = 2 * 2**30
"""Blocks in flight need far less; a run must not take a third of the machine, which is Ray's default."""
MIN_OBJECT_STORE_BYTES = 96 * 2**20
KILL_AFTER_S = 0.3
"""Within which this process has disconnected from a cluster that ends with it."""
CONNECT_WITHIN_S = 10.0
KEPT_LOGS = 20
"""Logs of so many runs are kept."""
_FOLDER = re.compile(r"bf-ray-(\d+)-([0-9a-f]{8})(-\d+)?")
_MAX_NAMESAKES = 10
_TOKEN = "RAY_AUTH_TOKEN"  # noqa: S105 - the name of it


@dataclass(frozen=True, kw_only=True)
class Resources:
    """What Ray offers to this run."""

    num_cpus: int
    num_gpus: int
    memory_bytes: int
    """For workers, beside the object store, as Ray counts it; 0 where it does not."""


@contextlib.contextmanager
def ray_cluster(address: str, log_file: Path) -> Iterator[Resources]:
    """Connect to a cluster, or start one on this machine, for the `with` block.

    Args:
        address: `local` starts one; `auto` finds a running one; else HOST:PORT.
        log_file: takes Ray's log lines, which stay off the screen.

    A program that is connected to Ray already keeps its connection, whatever the address.

    Raises:
        ConfigError: no cluster answers at the address.
        BatchFractureError: Ray did not start.
    """
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    os.environ["RAY_ENABLE_AUTO_CONNECT"] = "0"  # a late call after shutdown must not start another Ray
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing leaves the hospital
    _refuse_dead_address(address)
    with _streams_to(log_file):
        import ray  # noqa: PLC0415 - a second; only runs with work pay it

        if ray.is_initialized():
            yield _resources()
            return
        folder = make_folder() if address == "local" else None
        before = set(psutil.Process().children())
        try:
            with _signals_kept(), _token_of_its_own(wanted=folder is not None):
                _connect(address, folder)
            yield _resources()
        finally:
            _shut_down(set(psutil.Process().children()) - before)
            if folder:
                shutil.rmtree(folder, ignore_errors=True)


def _refuse_dead_address(address: str) -> None:
    """Ray itself would knock for minutes."""
    host, _, port = address.rpartition(":")
    if address in ("local", "auto") or "://" in address:
        return
    try:
        socket.create_connection((host, int(port)), timeout=CONNECT_WITHIN_S).close()
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"no Ray cluster answers at {address!r} ({error}); --address local starts one here"
        ) from error


@contextlib.contextmanager
def _signals_kept() -> Iterator[None]:
    """Keep SIGTERM ours while Ray starts: it would install a handler of its own, and its processes would die.

    A scheduler sends SIGTERM to a whole group or job, a closing terminal SIGHUP. Processes that are started
    while these are blocked keep them blocked, so that this one can finish what they are doing.
    """
    handler = signal.getsignal(signal.SIGTERM)
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGHUP})
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, handler)
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)


@contextlib.contextmanager
def _token_of_its_own(*, wanted: bool) -> Iterator[None]:
    """Nobody else may use a Ray that we start; Ray would save its token in a home that may not be there."""
    if not wanted or _TOKEN in os.environ:
        yield
        return
    os.environ[_TOKEN] = secrets.token_hex(32)
    try:
        yield
    finally:
        del os.environ[_TOKEN]


def _shut_down(started: set[psutil.Process]) -> None:
    """Disconnect, and kill the processes that were started for us, which do not hear Ray's own SIGTERM."""
    import ray  # noqa: PLC0415 - see ray_cluster

    reaper = threading.Timer(KILL_AFTER_S, _kill, [started])
    reaper.start()
    ray.shutdown()
    reaper.join()


def _kill(processes: set[psutil.Process]) -> None:
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            for one in [*process.children(recursive=True), process]:
                one.kill()


def _resources() -> Resources:
    import ray  # noqa: PLC0415 - see ray_cluster

    found = ray.cluster_resources()  # type: ignore[no-untyped-call]
    return Resources(
        num_cpus=max(1, int(found.get("CPU", 1))),
        num_gpus=int(found.get("GPU", 0)),
        memory_bytes=int(found.get("memory", 0)),
    )


def _connect(address: str, folder: Path | None) -> None:
    import ray  # noqa: PLC0415 - see ray_cluster

    try:
        if folder is None:
            ray.init(address=address, log_to_driver=False, logging_level=logging.WARNING)
        else:
            ray.init(
                address="local",
                num_cpus=len(os.sched_getaffinity(0)),
                include_dashboard=False,
                object_store_memory=_object_store_bytes(),
                log_to_driver=False,
                logging_level=logging.WARNING,
                _temp_dir=str(folder),
            )
    except ConnectionError as error:
        raise ConfigError(
            f"no Ray cluster answers at {address!r}; --address local starts one here"
        ) from error
    except Exception as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise BatchFractureError(
            f"Ray did not start: {reason}; run again when the machine is less busy"
        ) from error


def _object_store_bytes() -> int:
    shared = shutil.disk_usage("/dev/shm").free if Path("/dev/shm").is_dir() else MAX_OBJECT_STORE_BYTES  # noqa: S108
    wanted = min(MAX_OBJECT_STORE_BYTES, int(psutil.virtual_memory().available) // 4, int(shared * 0.8))
    return max(MIN_OBJECT_STORE_BYTES, wanted)


def make_folder() -> Path:
    """A folder named after this process, which no other living one of its pid namespace is named after.

    Ray puts sockets into it, whose paths may have 107 bytes at the most: hence the short name.
    """
    name = f"bf-ray-{os.getpid()}-{_pid_namespace()}"
    for ending in ("", *(f"-{number}" for number in range(1, _MAX_NAMESAKES))):
        folder = Path(tempfile.gettempdir(), name + ending)
        with contextlib.suppress(FileExistsError):  # left behind by a process that had this pid before
            folder.mkdir(mode=0o700)
            return folder
    raise BatchFractureError(f"Ray did not start: {folder} and its like stand in the way; remove them")


def _pid_namespace() -> str:
    """Its inode: containers can share a temporary folder, but not what a pid means (pid_namespaces(7))."""
    return f"{Path('/proc/self/ns/pid').stat().st_ino:08x}"


def remove_leftovers() -> None:
    """Remove what Ray left of runs that were killed: folders, and agents whose cluster is gone.

    Folders of other pid namespaces are left alone: whether their runs live cannot be seen from here.
    """
    for old in Path(tempfile.gettempdir()).glob("bf-ray-*"):
        found = _FOLDER.fullmatch(old.name)
        if found and found[2] == _pid_namespace() and not psutil.pid_exists(int(found[1])):
            _kill(
                {p for p in psutil.process_iter(["cmdline"]) if str(old) in " ".join(p.info["cmdline"] or ())}
            )
            shutil.rmtree(old, ignore_errors=True)


@contextlib.contextmanager
def _streams_to(log_file: Path) -> Iterator[None]:
    """Send this process's stdout and stderr to a log file.

    Ray writes to them from Python and from C++; the screen keeps a handle of its own on the terminal.
    """
    log_file.parent.mkdir(parents=True, exist_ok=True)
    logs = sorted(log_file.parent.glob("*.log"), key=lambda log: log.stat().st_mtime)
    for old in logs[: -KEPT_LOGS + 1]:
        old.unlink(missing_ok=True)
    sys.stdout.flush()
    sys.stderr.flush()
    saved = [os.dup(descriptor) for descriptor in (1, 2)]
    with log_file.open("ab") as log:
        for descriptor in (1, 2):
            os.dup2(log.fileno(), descriptor)
    try:
        yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        for descriptor, before in zip((1, 2), saved, strict=True):
            os.dup2(before, descriptor)
            os.close(before)
