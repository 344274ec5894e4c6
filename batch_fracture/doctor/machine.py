"""Cores, memory, instruction sets and GPUs."""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
import subprocess
from pathlib import Path

import psutil

from batch_fracture.doctor.check import Check, bad, good, note
from batch_fracture.doctor.places import size

MIN_MEMORY_BYTES = 2 * 2**30
"""Ray, a driver and two workers with OpenVINO take about 1.5 GiB."""
CGROUP = Path("/sys/fs/cgroup")
CPUINFO = Path("/proc/cpuinfo")
_INSTRUCTIONS = ("avx2", "avx512f", "avx512_vnni", "avx_vnni", "avx512_bf16", "amx_bf16", "amx_int8")
_GPU_DRIVERS = (Path("/dev/nvidiactl"), Path("/dev/kfd"))


def cores() -> list[Check]:
    """Cores that this process may use, and the control group's share of them."""
    usable, fitted = len(os.sched_getaffinity(0)), os.cpu_count() or 1
    value = f"{usable} usable of {fitted}"
    quota = _cpu_quota()
    if quota is None or quota >= usable:
        return [good("cores", value)]
    remedy = f"a run starts work for {usable}; bind the container to cores (docker run --cpuset-cpus) instead"
    return [note("cores", f"{value}, but the cgroup allows {quota:g}", remedy)]


def _cpu_quota() -> float | None:
    """Cores' worth of time that the control group allows: cpu.max (v2) or cpu.cfs_quota_us (v1)."""
    v2 = _cgroup("cpu.max")
    v1 = (_cgroup("cpu/cpu.cfs_quota_us"), _cgroup("cpu/cpu.cfs_period_us"))
    quota, period = v2.split() if v2 else (v1[0] or "max", v1[1] or "100000")
    return None if quota in ("max", "-1") else int(quota) / int(period)


def _cgroup(name: str) -> str | None:
    path = CGROUP / name
    return path.read_text().strip() if path.is_file() else None


def memory() -> list[Check]:
    """Memory that a run can take, under the control group's limit."""
    machine = psutil.virtual_memory()
    available_bytes = machine.available
    value = f"{size(available_bytes)} available of {size(machine.total)}"
    limit = _cgroup("memory.max") or _cgroup("memory/memory.limit_in_bytes") or "max"
    if limit != "max" and int(limit) < machine.total:
        used_bytes = int(_cgroup("memory.current") or _cgroup("memory/memory.usage_in_bytes") or 0)
        available_bytes = min(available_bytes, int(limit) - used_bytes)
        value = f"{size(available_bytes)} available of {size(int(limit))} that the cgroup allows"
    if available_bytes >= MIN_MEMORY_BYTES:
        return [good("memory", value)]
    return [bad("memory", value, f"free {size(MIN_MEMORY_BYTES)} or raise the limit")]


def instruction_sets() -> list[Check]:
    """Those that make inference fast."""
    lines = CPUINFO.read_text().splitlines() if CPUINFO.is_file() else []
    flags = next((line.partition(":")[2].split() for line in lines if line.startswith("flags")), None)
    if flags is None:
        return [note("instruction sets", f"unknown on {platform.machine()}")]
    value = " ".join(name for name in _INSTRUCTIONS if name in flags) or "none of note"
    if "avx2" in flags:
        return [good("instruction sets", value)]
    return [
        bad("instruction sets", value, "without avx2 a run takes several times as long; use another machine")
    ]


def gpus() -> list[Check]:
    """GPUs by name and memory."""
    names = gpu_names()
    return [good("GPUs", ", ".join(names)) if names else note("GPUs", "none")]


def gpu_names() -> list[str]:
    """By the driver's tool, else by torch; torch is not imported where there is no driver."""
    if tool := shutil.which("nvidia-smi"):
        command = [tool, "--query-gpu=name,memory.total", "--format=csv,noheader"]
        answer = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
        return answer.stdout.splitlines() if answer.returncode == 0 else []
    if not any(driver.exists() for driver in _GPU_DRIVERS) or importlib.util.find_spec("torch") is None:
        return []
    import torch  # noqa: PLC0415 - seconds; only on a machine with a GPU driver

    return [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())]
