"""What must hold for every file, however broken: one row, a code of the enum, memory and words in bounds."""

from __future__ import annotations

import ast
import functools
import os
import re
import resource
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
from fuzz_seeds import MARKER
from fuzz_seeds_dicom import whole

import batch_fracture
from batch_fracture import reader, schema
from batch_fracture.codes import TRANSIENT, Code
from batch_fracture.preprocess import InputSpec
from batch_fracture.settings import ReadingSettings

SPEC = InputSpec(size=64)
TIME_LIMIT_S, CPU_LIMIT_S = 60.0, 10.0
"""The reader's own alarm, by the clock; and what a small file may cost, however busy the machine is."""
PROFILES = (
    ReadingSettings(modalities=("all",), max_pixels=2**15, max_bytes=2**18, time_limit_s=TIME_LIMIT_S),
    ReadingSettings(max_pixels=2**15, max_bytes=2**18, time_limit_s=TIME_LIMIT_S),
    ReadingSettings(modalities=("all",), time_limit_s=TIME_LIMIT_S),
)
"""Two with tight limits, so that what is not checked before memory is spent shows; and the defaults."""
SLACK_BYTES, PER_PIXEL, PER_BYTE = 4 * 2**20, 32, 12
"""The bound: so much, and so much for each pixel that the header claims and that is allowed, and for each
byte of the file and of what it may inflate to."""
DEFLATED = b"1.2.840.10008.1.2.1.99"
IMPOSSIBLE = frozenset({Code.DECODER_CRASHED, Code.TIMED_OUT, Code.OUT_OF_MEMORY, *TRANSIENT})
"""Codes that no file may cause by itself while it is read."""

Read = Callable[..., Iterator[dict[str, Any]]]
"""`reader.read_images`, or a planted fault in its place."""


@dataclass(kw_only=True)
class Verdict:
    """What became of a file."""

    code: str
    media_type: str
    seconds: float
    """Of CPU time."""
    growth_bytes: int
    problems: list[str] = field(default_factory=list)


class Oracle:
    """Reads files in this process and says what is wrong with their rows.

    Takes over stdout and stderr: nothing that is printed is lost, at whatever level.
    """

    def __init__(self) -> None:
        self._file = Path(f"/proc/{os.getpid()}/fd/{os.memfd_create('file')}")  # gone when this process is
        self._printed = os.memfd_create("printed")
        for stream in (1, 2):
            os.dup2(self._printed, stream)
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        for content in whole(with_shared=False).values():  # so that every decoder is loaded
            self.check(content, PROFILES[-1])

    def check(self, content: bytes, settings: ReadingSettings, read: Read = reader.read_images) -> Verdict:
        """Read one file under these settings, as a task of the pipeline would."""
        self._file.write_bytes(content)
        status = self._file.stat()
        entry = dict.fromkeys(schema.MANIFEST.names) | {
            "image_uri": str(self._file),
            "image_version": f"{status.st_size}-{status.st_mtime_ns}",
            "size_bytes": len(content),
        }
        _limit_address_space(settings.memory_limit_bytes)
        before, began = _reset_peak(), time.process_time()
        try:
            rows = list(read([entry], SPEC, settings))
            problems: list[str] = []
        except BaseException as error:  # noqa: BLE001 - that is what is looked for
            rows, problems = [], [f"raised {type(error).__name__}: {error} at {_where(error)}"]
        seconds, growth = time.process_time() - began, max(0, _peak() - before)
        _limit_address_space(None)
        problems += _faults(rows, entry, content) if not problems else []
        problems += self._said()
        problems += [f"took {seconds:.1f} s of CPU time"] if seconds > CPU_LIMIT_S else []
        row = rows[0] if rows else {}
        if not problems and growth > (most := bound(row, settings, content)):
            problems.append(f"took {growth:,} bytes; the bound is {most:,}")
        return Verdict(
            code=row.get("error_code") or row.get("status") or "none",
            media_type=str(row.get("media_type")),
            seconds=seconds,
            growth_bytes=growth,
            problems=problems,
        )

    def _said(self) -> list[str]:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        size = os.lseek(self._printed, 0, os.SEEK_END)
        if not size:
            return []
        text = os.pread(self._printed, 300, 0).decode("utf-8", "replace")
        os.ftruncate(self._printed, 0)
        os.lseek(self._printed, 0, os.SEEK_SET)
        return [f"printed {size} bytes: {text!r}"]


def bound(row: dict[str, Any], settings: ReadingSettings, content: bytes) -> int:
    """Bytes by which the process may grow while it reads the file of this row."""
    pixels = (row.get("rows") or 0) * (row.get("columns") or 0)
    if row.get("error_code") == Code.TOO_LARGE:
        pixels = 0
    size = len(content)
    inflated = min(settings.max_inflated_bytes(size), 1032 * size) if DEFLATED in content[:1000] else 0
    return SLACK_BYTES + PER_PIXEL * min(pixels, settings.max_pixels) + PER_BYTE * size + 3 * inflated


def _faults(rows: Sequence[dict[str, Any]], entry: dict[str, Any], content: bytes) -> list[str]:
    if len(rows) != 1:
        return [f"{len(rows)} rows"]
    (row,) = rows
    faults = [f"unknown columns {unknown}"] if (unknown := set(row) - set(schema.DECODED.names)) else []
    try:
        table = pa.Table.from_pylist(rows, schema=schema.DECODED)
        table.validate(full=True)
    except (pa.ArrowException, OverflowError, TypeError, ValueError) as error:
        return [*faults, f"no row of schema.DECODED: {error}"]
    given = {key: value for key, value in entry.items() if key != "listing_code"}
    if any(row[key] != value for key, value in given.items()):
        faults.append("the entry's own columns were changed")
    return (
        faults + (_faults_of_read(row) if row["status"] == "read" else _faults_of_unread(row)) + _leaks(row)
    )


def _faults_of_read(row: dict[str, Any]) -> list[str]:
    faults = [f"read with {name}" for name in ("error_stage", "error_code", "error_message") if row.get(name)]
    if len(row["pixels"] or b"") != SPEC.size**2:
        faults.append(f"read with {len(row['pixels'] or b'')} bytes of pixels")
    if not ((row.get("rows") or 0) > 0 and (row.get("columns") or 0) > 0):
        faults.append("read without a size")
    return faults


def _faults_of_unread(row: dict[str, Any]) -> list[str]:
    if row["error_code"] not in set(Code):
        return [f"the code {row['error_code']!r} is not in the enum"]
    code, faults = Code(row["error_code"]), []
    if code in IMPOSSIBLE:
        faults.append(f"{code}: {row['error_message']}")
    if row["status"] != code.status.value:
        faults.append(f"{code} with the status {row['status']!r}")
    if row["error_stage"] not in ("fetch", "decode") or row.get("pixels") is not None:
        faults.append("a failed row with another stage, or with pixels")
    if not templates().fullmatch(row["error_message"]):
        faults.append(f"the message is none of ours: {row['error_message']!r}")
    return faults


def _leaks(row: dict[str, Any]) -> list[str]:
    texts = {key: value for key, value in row.items() if isinstance(value, str) and key != "manufacturer"}
    return [f"planted text in {key}" for key, value in texts.items() if MARKER.lower() in value.lower()]


@functools.cache
def templates() -> re.Pattern[str]:
    """Every message that the source can make; what is filled in is short, and words or numbers."""
    found = {"the image needs more memory than there is"}
    package = Path(batch_fracture.__file__).parent
    for path in [*(package / "decode").glob("*.py"), package / "reader.py"]:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "ImageError":
                found.add(_pattern(node.args[1]))
    return re.compile("|".join(found - {""}))


def _pattern(message: ast.expr) -> str:
    if isinstance(message, ast.Constant):
        return re.escape(message.value)
    if not isinstance(message, ast.JoinedStr):
        return ""
    parts = (
        re.escape(part.value) if isinstance(part, ast.Constant) else r"[\w,/.+ -]{1,60}"
        for part in message.values
    )
    return "".join(parts)


def _where(error: BaseException) -> str:
    trace = error.__traceback__
    while trace and trace.tb_next:
        trace = trace.tb_next
    return f"{trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}" if trace else "?"


def _limit_address_space(more_bytes: int | None) -> None:
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (hard if more_bytes is None else used + more_bytes, hard))


def _reset_peak() -> int:
    Path("/proc/self/clear_refs").write_text("5")  # VmHWM begins anew
    return _peak()


def _peak() -> int:
    return int(re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())[1]) * 1024  # type: ignore[index]
