"""A lease says who works on a run. A dead owner on this host is replaced at once, elsewhere after expiry.

Leases are numbered files, each put once; the highest number holds. Only one of two takers can put the next
number, so none can push out the other.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType

from batch_fracture import durable
from batch_fracture.errors import WorkHeldError, WriteError

RENEWED_EVERY_S = 30.0
EXPIRES_AFTER_S = 300.0


@dataclass(frozen=True, kw_only=True)
class Owner:
    """A process, told apart from every other one that ever had its pid."""

    host: str
    boot_id: str
    pid: int
    started: int
    """Clock ticks from boot to the start of the process (proc(5), stat, 22): no clock change moves it."""
    renewed: float
    """Seconds since 1970 of the last sign of life."""

    @classmethod
    def myself(cls) -> Owner:
        """This process, now."""
        pid = os.getpid()
        return cls(
            host=socket.gethostname(),
            boot_id=_boot_id(),
            pid=pid,
            started=_start_ticks(pid) or 0,
            renewed=time.time(),
        )

    def is_alive(self) -> bool:
        """Certain on this host, by pid and process start; by the last renewal on any other."""
        if (self.host, self.boot_id) != (socket.gethostname(), _boot_id()):
            return time.time() - self.renewed < EXPIRES_AFTER_S
        return _start_ticks(self.pid) == self.started

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}"


def current_owner(folder: Path) -> Owner | None:
    """Who holds the lease in a work folder; None when nobody alive does."""
    found = _newest(folder)
    return found[1] if found and found[1].is_alive() else None


class Lease:
    """Holds a work folder while the `with` block runs.

    Args:
        folder: the work folder.
        run_id: named in the error.

    Raises:
        WorkHeldError: on entry, when another live process holds it.
    """

    def __init__(self, folder: Path, run_id: str) -> None:
        self._folder = folder
        self._run_id = run_id
        self._ended = threading.Event()
        self._renewer = threading.Thread(target=self._renew, name="lease", daemon=True)

    def __enter__(self) -> Lease:
        found = _newest(self._folder)
        if found and found[1].is_alive():
            raise self._held(found[1])
        self._path = self._folder / f"lease-{(found[0] if found else 0) + 1:06d}.json"
        if not durable.put_once(self._path, _write):
            winner = _newest(self._folder)
            raise self._held(winner[1] if winner else None)
        self._renewer.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._renewer.join()
        self._path.unlink(missing_ok=True)

    def _renew(self) -> None:
        while not self._ended.wait(RENEWED_EVERY_S):
            if self._path.parent.is_dir():
                with contextlib.suppress(WriteError):  # the disk may be full now and not the next time
                    durable.put(self._path, _write)

    def _held(self, owner: Owner | None) -> WorkHeldError:
        return WorkHeldError(
            f"run {self._run_id} is being done by {owner or 'another process'}; wait for it, or stop it first"
        )


def _newest(folder: Path) -> tuple[int, Owner] | None:
    for path in sorted(folder.glob("lease-*.json"), reverse=True):
        try:
            return int(path.stem.removeprefix("lease-")), Owner(**json.loads(path.read_text()))
        except FileNotFoundError:  # released between the listing and this read
            continue
    return None


def _write(path: Path) -> None:
    path.write_text(json.dumps(asdict(Owner.myself())))


def _start_ticks(pid: int) -> int | None:
    """When a process began; None when it is dead or a zombie."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return int(fields[19]) if fields[0] != "Z" else None


def _boot_id() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
