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
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import TracebackType

from batch_fracture.errors import ResultsError, StoreError, WorkHeldError, WriteError
from batch_fracture.failpoints import step
from batch_fracture.results.work import WorkFolder

RENEWED_EVERY_S = 30.0
EXPIRES_AFTER_S = 300.0


@dataclass(frozen=True, kw_only=True)
class Owner:
    """A process, told apart from every other one that ever had its pid."""

    host: str
    boot_id: str
    pid_namespace: str
    """Containers may share a host's name, but not the meaning of a pid (pid_namespaces(7))."""
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
            pid_namespace=_pid_namespace(),
            pid=pid,
            started=_start_ticks(pid) or 0,
            renewed=time.time(),
        )

    def is_alive(self) -> bool:
        """Certain on this host, by pid and process start; by the last renewal on any other."""
        here = (socket.gethostname(), _boot_id(), _pid_namespace())
        if (self.host, self.boot_id, self.pid_namespace) != here:
            return abs(time.time() - self.renewed) < EXPIRES_AFTER_S  # a clock may be wrong by years
        return _start_ticks(self.pid) == self.started

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}"


def current_owner(work: WorkFolder) -> Owner | None:
    """Who holds the lease in a work folder; None when nobody alive does."""
    found = _newest(work)
    return found[1] if found and found[1].is_alive() else None


class Lease:
    """Holds a work folder while the `with` block runs.

    Args:
        work: the work folder.

    Raises:
        WorkHeldError: on entry, when another live process holds it.
    """

    def __init__(self, work: WorkFolder) -> None:
        self._work = work
        self._folder = work.home.folder
        self._number = 0
        self._ended = threading.Event()
        self._renewer = threading.Thread(target=self._renew, name="lease", daemon=True)

    def __enter__(self) -> Lease:
        with step("lease", self._work.run_id):
            found = _newest(self._work)
            if found and found[1].is_alive():
                raise self._held(found[1])
            self._number = (found[0] if found else 0) + 1
            if not self._folder.put_once(self._name, _sign_of_life()):
                winner = _newest(self._work)
                raise self._held(winner[1] if winner else None)
        self._renewer.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._renewer.join()
        self._folder.delete(self._name)

    def check(self) -> None:
        """Make sure that nobody has taken the lease over while this process was not heard of.

        Raises:
            WorkHeldError: somebody has.
        """
        found = _newest(self._work)
        if found is None or found[0] != self._number:
            raise self._held(found[1] if found else None)

    @property
    def _name(self) -> str:
        return f"{self._work.path}/{_PREFIX}{self._number:06d}.json"

    def _renew(self) -> None:
        while not self._ended.wait(RENEWED_EVERY_S):
            with contextlib.suppress(WriteError, ResultsError, StoreError):  # it may be over next time
                if self._folder.get(self._name) is not None:
                    self._folder.put(self._name, _sign_of_life())

    def _held(self, owner: Owner | None) -> WorkHeldError:
        return WorkHeldError(
            f"run {self._work.run_id} is being done by {owner or 'another process'}; "
            "wait for it, or stop it first"
        )


_PREFIX = "lease-"


def _newest(work: WorkFolder) -> tuple[int, Owner] | None:
    folder = work.home.folder
    names = [name for name in folder.children(work.path) if name.startswith(_PREFIX)]
    for name in sorted(names, reverse=True):
        content = folder.get(f"{work.path}/{name}")
        if content:  # else it was released between the listing and this read
            return int(name.removeprefix(_PREFIX).partition(".")[0]), _owner(content)
    return None


def _owner(content: bytes) -> Owner:
    """Who wrote a lease; of another version's, what we understand."""
    said = json.loads(content)
    nobody = Owner(host="", boot_id="", pid_namespace="", pid=0, started=0, renewed=0.0)
    return replace(nobody, **{name: said[name] for name in asdict(nobody) if name in said})


def _sign_of_life() -> bytes:
    return json.dumps(asdict(Owner.myself())).encode()


def _start_ticks(pid: int) -> int | None:
    """When a process began; None when it is dead or a zombie."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return int(fields[19]) if fields[0] != "Z" else None


def _pid_namespace() -> str:
    return str(Path("/proc/self/ns/pid").readlink())


def _boot_id() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
