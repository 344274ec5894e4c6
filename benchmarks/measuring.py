"""What all benchmarks share: the command as a measured process, the machine, and medians in a table."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psutil

ROOT = Path(__file__).parents[1]
COMMAND = [sys.executable, "-m", "batch_fracture"]
POLL_S = 0.02


@dataclass(frozen=True, kw_only=True)
class Measured:
    """One run of the command."""

    wall_s: float
    cpu_s: float
    """User and system time of the process and of the children that it waited for."""
    peak_mib: float
    """Largest resident size of the driver process alone."""
    report: dict[str, Any]
    """What it printed as JSON."""


def measure(*arguments: object, env: dict[str, str] | None = None, expect: int = 0) -> Measured:
    """Run `batch-fracture ARGUMENTS --json` and watch it.

    Peak memory is `VmHWM`, read until the process ends: `ru_maxrss` of a child starts at what its parent had.

    Raises:
        RuntimeError: another exit code than expected.
    """
    command = [*COMMAND, *map(str, arguments), "--json", "--log-format", "plain"]
    began, before, peak_kib = time.monotonic(), os.times(), 0
    with subprocess.Popen(
        command,
        env={**os.environ, **(env or {})},
        cwd=ROOT,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        while process.poll() is None:
            peak_kib = max(peak_kib, peak_resident_kib(process.pid))
            time.sleep(POLL_S)
        wall_s = time.monotonic() - began
        said, complained = process.communicate()
    if process.returncode != expect:
        raise RuntimeError(f"{command} ended with {process.returncode}:\n{complained}")
    after = os.times()
    cpu_s = after.children_user + after.children_system - before.children_user - before.children_system
    report = json.loads(said.splitlines()[-1])
    return Measured(wall_s=wall_s, cpu_s=cpu_s, peak_mib=peak_kib / 1024, report=report)


def peak_resident_kib(pid: int) -> int:
    """Largest resident size so far; 0 when the process is gone."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("VmHWM")), 0)


def machine() -> dict[str, Any]:
    """What the figures belong to."""
    info = Path("/proc/cpuinfo").read_text().splitlines()
    model = next(
        (line.partition(":")[2].strip() for line in info if line.startswith("model name")), "unknown CPU"
    )
    return {
        "cpu": model,
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "load_before": os.getloadavg()[0],
        "python": platform.python_version(),
    }


def machine_line(found: dict[str, Any]) -> str:
    """The machine in one line."""
    return (
        f"{found['cpu']}, {found['cores']} cores, {found['memory_gib']} GiB, Python {found['python']}, "
        f"load before: {found['load_before']:.1f}"
    )


def show(header: list[str], rows: list[list[object]]) -> None:
    """Print a Markdown table."""
    texts = [header, *([_text(cell) for cell in row] for row in rows)]
    widths = [max(len(row[column]) for row in texts) for column in range(len(header))]
    padded = [[text.rjust(width) for text, width in zip(row, widths, strict=True)] for row in texts]
    lines = [f"| {' | '.join(row)} |" for row in padded]
    lines.insert(1, "|" + "|".join("-" * (w + 1) + ":" for w in widths) + "|")
    print("\n".join(lines), flush=True)


def _text(cell: object) -> str:
    if isinstance(cell, float):
        return f"{cell:,.2f}"
    return f"{cell:,}" if isinstance(cell, int) else str(cell)


def save(path: Path | None, found: dict[str, Any]) -> None:
    """Write what was measured as JSON, where a path is given."""
    if path:
        path.write_text(json.dumps(found, indent=1, default=asdict) + "\n")
