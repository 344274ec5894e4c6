"""An archive and its results, night after night, and the ways in which their runs are killed."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
from chaos_archive import Archive
from chaos_places import Place

COMMAND = [sys.executable, "-m", "batch_fracture"]
EVENTS: dict[str, Callable[[str], bool]] = {
    "manifest": lambda name: name.startswith("_work/") and name.endswith("/manifest.parquet"),
    "unit": lambda name: name.startswith("_work/") and "/units/" in name,
    "copy": lambda name: name.startswith("readings/read_date="),
    "log": lambda name: name.startswith("readings/_delta_log/"),
    "record": lambda name: name.startswith("runs/"),
    "clean-up": lambda name: name.startswith("gone: _work/"),
}
"""What a kill can wait for: a name that has just appeared below the results, or is just gone."""
DELAYS_S = (0.0, 0.0, 0.0, 0.002, 0.005, 0.02, 0.1, 0.5)
ENDS_WITHIN_S = 300.0
GONE_WITHIN_S = 150.0
"""Within which the Ray of a killed driver has ended; its agents look for the dead GCS for a minute."""


@dataclass(frozen=True, kw_only=True)
class Kill:
    """When and whom."""

    event: str | None
    """One of `EVENTS`; None goes by the clock."""
    times: int
    """So many such names must have come."""
    delay_s: float
    """After the event, or after the start."""
    everybody: bool
    """The driver's children too, or the driver alone."""

    def __str__(self) -> str:
        when = (
            f"{self.times}. {self.event} + {self.delay_s * 1e3:.0f} ms"
            if self.event
            else f"{self.delay_s:.2f} s"
        )
        return f"{when}{', everybody' * self.everybody}"


@dataclass(kw_only=True)
class Site:
    """One archive, one results location."""

    kind: str
    archive: Archive
    results: Place
    bundle: Path
    folder: Path
    """Takes what the command says."""
    env: dict[str, str]
    rng: random.Random
    whole_run_s: float = 12.0
    """About how long a run takes that has work and is let alone."""
    pids: set[int] = field(default_factory=set)
    orphans: dict[psutil.Process, str] = field(default_factory=dict)
    """Children of killed drivers, and what they are."""

    def draw_kill(self) -> Kill:
        """The next kill: half of them by the clock, half at a step."""
        everybody = self.rng.random() < 0.25
        if self.rng.random() < 0.45:
            at = self.rng.uniform(0.0, self.whole_run_s)
            return Kill(event=None, times=1, delay_s=at, everybody=everybody)
        event = self.rng.choice(list(EVENTS))
        times = self.rng.randint(1, 4) if event in ("unit", "copy") else 1
        return Kill(event=event, times=times, delay_s=self.rng.choice(DELAYS_S), everybody=everybody)

    def run(self, kill: Kill | None) -> int:
        """Start the command and kill it, unless it ends before; its exit code, -9 if the kill met it."""
        seen = set(self.results.versions()) if kill and kill.event else set[str]()
        began = time.monotonic()
        process = self._start()
        try:
            if kill and self._wait_for(kill, process, seen):
                self._kill(process, kill)
            code = process.wait(ENDS_WITHIN_S)
        finally:
            process.kill()
        if code == 0 and self.said().get("outcome") != "nothing_to_do":
            self.whole_run_s = 0.5 * (self.whole_run_s + time.monotonic() - began)
        return code

    def said(self) -> dict[str, Any]:
        """What the last run printed as JSON."""
        lines = (self.folder / "stdout").read_text().splitlines()
        return dict(json.loads(lines[-1])) if lines else {}

    def complaint(self) -> str:
        """What the last run said on stderr, its end."""
        return (self.folder / "stderr").read_text()[-1500:]

    def had_no_ray(self) -> bool:
        """Whether the last run ended only because the machine was too busy to start Ray in time."""
        return "timed out during startup" in (self.folder / "stderr").read_text()

    def leftovers(self) -> list[str]:
        """Folders that Ray left of this site's runs, and processes that outlived them (they are killed)."""
        deadline = time.monotonic() + GONE_WITHIN_S
        while any(map(_runs, self.orphans)) and time.monotonic() < deadline:
            time.sleep(0.2)
        alive = {process: what for process, what in self.orphans.items() if _runs(process)}
        for process in alive:
            process.kill()
        self.orphans.clear()
        folders = [path for pid in self.pids for path in Path("/tmp").glob(f"bf-ray-{pid}-*")]
        folders += [path for pid in self.pids for path in Path("/tmp/ray").glob(f"session_*_{pid}")]
        return [*map(str, folders), *(f"process {p.pid}, {what}" for p, what in alive.items())]

    def _start(self) -> subprocess.Popen[bytes]:
        command = [*COMMAND, "run", self.archive.place.uri, "--results", self.results.uri]
        command += ["--model", str(self.bundle), "--max-failed", "1", "--json", "--log-format", "plain"]
        with (self.folder / "stdout").open("wb") as out, (self.folder / "stderr").open("wb") as err:
            process = subprocess.Popen(command, env=self.env, stdout=out, stderr=err)
        self.pids.add(process.pid)
        return process

    def _wait_for(self, kill: Kill, process: subprocess.Popen[bytes], seen: set[str]) -> bool:
        """Until the kill is due; False when the process ended before."""
        deadline = time.monotonic() + (ENDS_WITHIN_S if kill.event else kill.delay_s)
        met = 0
        while kill.event and met < kill.times and process.poll() is None and time.monotonic() < deadline:
            names = set(self.results.versions())
            news = [*(names - seen), *(f"gone: {name}" for name in seen - names)]
            met += sum(map(EVENTS[kill.event], news))
            seen = names
            time.sleep(0.001)
        if kill.event:
            deadline = time.monotonic() + kill.delay_s
        while process.poll() is None and (left := deadline - time.monotonic()) > 0:
            time.sleep(min(left, 0.05))
        return process.poll() is None

    def _kill(self, process: subprocess.Popen[bytes], kill: Kill) -> None:
        try:
            children = psutil.Process(process.pid).children(recursive=True)
        except psutil.NoSuchProcess:
            children = []
        names = list(map(_name, children))
        os.kill(process.pid, signal.SIGKILL)
        if kill.everybody:
            for child in children:
                if _runs(child):
                    child.kill()
        self.orphans |= {child: f"{now}; {kill}" for child, now in zip(children, names, strict=True)}


def _runs(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _name(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())[-80:]
    except psutil.NoSuchProcess:
        return "gone"
