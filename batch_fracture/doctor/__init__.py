"""What this machine offers to a run, and what would stop one. No check ends in a traceback."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from batch_fracture.doctor import machine, places, software
from batch_fracture.doctor.check import Check, bad

__all__ = ["Check", "as_json", "examine", "render"]


def examine(results: str | None, s3_endpoint: str | None = None) -> list[Check]:
    """Look at versions, hardware, bundles and folders.

    Args:
        results: the results location of a run, to check access and space; None leaves it out.
        s3_endpoint: S3 server that is not AWS.

    Returns:
        Checks in reading order; nothing is raised.
    """
    looks: tuple[tuple[str, Callable[[], list[Check]]], ...] = (
        ("versions", software.versions),
        ("cores", machine.cores),
        ("memory", machine.memory),
        ("instruction sets", machine.instruction_sets),
        ("GPUs", machine.gpus),
        ("engine", software.engine),
        ("bundles", software.bundles),
        ("results", lambda: places.results(results, s3_endpoint) if results else []),
        ("temporary folder", places.temporary),
        ("shared memory", places.shared_memory),
    )
    return [check for name, look in looks for check in _look(name, look)]


def render(checks: list[Check]) -> list[str]:
    """One plain line per check, and its remedy below it."""
    width = max(len(check.name) for check in checks)
    marks = {True: "ok  ", False: "FAIL", None: "    "}
    lines = []
    for check in checks:
        lines.append(f"{marks[check.ok]}  {check.name:<{width}}  {check.value}")
        if check.remedy:
            lines.append(f"      {'':<{width}}  -> {check.remedy}")
    return lines


def as_json(checks: list[Check]) -> dict[str, Any]:
    """For `--json`: `ok` is false when one check is, and `checks` holds each as an object."""
    return {
        "ok": all(check.ok is not False for check in checks),
        "checks": [asdict(check) for check in checks],
    }


def _look(name: str, look: Callable[[], list[Check]]) -> list[Check]:
    try:
        return look()
    except Exception as error:  # noqa: BLE001 - on a strange machine the other checks matter all the more
        value = f"could not be looked at ({type(error).__name__}: {error})"
        return [bad(name, value, "please report it together with the other lines")]
