"""Readers with a fault, to show that the fuzzer finds it."""

from __future__ import annotations

import os
import signal
import sys
import time
import warnings
from collections.abc import Iterator
from typing import Any

from fuzz_seeds import MARKER, rasters

from batch_fracture.reader import read_images

Row = dict[str, Any]
WHOLE = rasters()["png"]
"""What these readers read: nothing is wrong with it."""


def _changed(**columns: Any) -> Any:
    """A reader whose rows have these columns."""

    def read(*args: Any) -> Iterator[Row]:
        for row in read_images(*args):
            yield row | columns

    return read


def _after(act: Any) -> Any:
    """A reader that does something beside its work."""

    def read(*args: Any) -> Iterator[Row]:
        for row in read_images(*args):
            act()
            yield row

    return read


def _raise() -> None:
    raise ZeroDivisionError("planted")


def _hang() -> None:
    signal.setitimer(signal.ITIMER_REAL, 1.0)
    while True:
        time.sleep(1.0)


FAULTS: dict[str, Any] = {
    "no row": lambda *_: iter(()),
    "two rows": lambda *args: iter([*read_images(*args)] * 2),
    "short pixels": _changed(
        status="read", error_stage=None, error_code=None, error_message=None, pixels=b"short"
    ),
    "unknown code": _changed(
        status="failed", error_stage="decode", error_code="ODD", error_message="x", pixels=None
    ),
    "wrong status": _changed(
        status="skipped", error_stage="decode", error_code="CORRUPT", error_message="x", pixels=None
    ),
    "foreign words": _changed(
        status="failed",
        error_stage="decode",
        error_code="CORRUPT",
        error_message="struct.error: 7",
        pixels=None,
    ),
    "planted text": _changed(modality=f"of {MARKER}"),
    "wide number": _changed(rows=2**31),
    "unknown column": _changed(patient="x"),
    "out of memory": _changed(
        status="failed",
        error_stage="decode",
        error_code="OUT_OF_MEMORY",
        error_message="the image needs more memory than there is",
        pixels=None,
    ),
    "raises": _after(_raise),
    "prints": _after(lambda: os.write(2, b"libpng warning: planted\n")),
    "warns": _after(lambda: warnings.warn("planted", stacklevel=1)),
    "says": _after(lambda: print("planted", file=sys.stdout)),
    "dies": _after(lambda: os.kill(os.getpid(), signal.SIGSEGV)),
    "hangs": _after(_hang),
    "allocates": _after(lambda: b"\1" * (80 * 2**20)),
}
