"""What a run shows on stderr: a bar on a terminal, lines elsewhere, JSON lines for machines."""

from __future__ import annotations

import json
import sys
import time
from abc import ABC, abstractmethod
from types import TracebackType
from typing import Any, TextIO

import pyarrow as pa

from batch_fracture.lasting import LastingStderr
from batch_fracture.results.manifest import Manifest
from batch_fracture.results.units import Tally, tally
from batch_fracture.summary import Report, as_dict, as_text

LINE_EVERY_S = 10.0


class Screen(ABC):
    """Takes the events of a run and keeps its counts; subclasses show them."""

    def __init__(self) -> None:
        self._total = 0
        self._done = Tally()
        self._fresh = 0
        self._began = time.monotonic()

    def __enter__(self) -> Screen:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:  # noqa: B027 - only a bar has something to give back
        """Give the terminal back."""

    def started(self, manifest: Manifest, done: Tally) -> None:
        """A run begins; `done` counts what an earlier try of it had finished."""
        self._total, self._done, self._fresh = len(manifest.images), done, 0
        self._began = time.monotonic()
        again = f", {done.rows:,} of them done before" if done.rows else ""
        self.note(
            f"run {manifest.run_id}: {len(manifest.images):,} images to read{again}; "
            f"{manifest.listed:,} listed, {manifest.unchanged:,} unchanged"
        )

    def progress(self, rows: pa.Table) -> None:
        """Finished rows of `schema.UNIT_FILE` have come in."""
        self._done += tally(rows)
        self._fresh += len(rows)
        self.show_progress()

    @abstractmethod
    def note(self, text: str) -> None:
        """Say one thing, once."""

    @abstractmethod
    def show_progress(self) -> None:
        """The counts have changed."""

    @abstractmethod
    def finished(self, report: Report) -> None:
        """The closing summary."""

    @property
    def images_per_s(self) -> float:
        """Since this run's start."""
        return self._fresh / max(time.monotonic() - self._began, 1e-9)

    @property
    def left_s(self) -> float | None:
        """Seconds to go at that rate; None before the first image."""
        return (self._total - self._done.rows) / self.images_per_s if self._fresh else None

    def counts(self) -> dict[str, Any]:
        """The progress as numbers."""
        return {
            "done": self._done.rows,
            "total": self._total,
            "failed": self._done.failed,
            "positive": self._done.positive,
            "images_per_s": round(self.images_per_s, 1),
            "left_s": None if self.left_s is None else round(self.left_s),
        }


class _LineScreen(Screen):
    """Writes lines, progress at most every ten seconds and when all is done.

    Args:
        stream: None opens a second handle on stderr, because the first goes to a log file while Ray runs.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        super().__init__()
        self._stream = stream or LastingStderr()
        self._owned = stream is None
        self._shown = 0.0

    def close(self) -> None:
        """Close the handle that was opened here."""
        if self._owned:
            self._stream.close()

    def _is_due(self) -> bool:
        due = self._done.rows == self._total or time.monotonic() - self._shown >= LINE_EVERY_S
        if due:
            self._shown = time.monotonic()
        return due


class PlainScreen(_LineScreen):
    """Lines for a log."""

    def note(self, text: str) -> None:
        """Say one thing, once."""
        print(text, file=self._stream, flush=True)

    def show_progress(self) -> None:
        """A line, when one is due."""
        if not self._is_due():
            return
        counts = self.counts()
        left = "" if counts["left_s"] is None else f", {counts['left_s']} s left"
        self.note(
            f"{counts['done']:,} of {counts['total']:,} done, {counts['failed']:,} failed, "
            f"{counts['positive']:,} positive, {counts['images_per_s']} images/s{left}"
        )

    def finished(self, report: Report) -> None:
        """The closing summary."""
        self.note(as_text(report))


class JsonScreen(_LineScreen):
    """One JSON object per line."""

    def note(self, text: str) -> None:
        """Say one thing, once."""
        self._write({"event": "note", "text": text})

    def show_progress(self) -> None:
        """A line, when one is due."""
        if self._is_due():
            self._write({"event": "progress", **self.counts()})

    def finished(self, report: Report) -> None:
        """The closing summary."""
        self._write({"event": "finished", **as_dict(report)})

    def _write(self, event: dict[str, Any]) -> None:
        print(json.dumps({"at": round(time.time(), 3), **event}), file=self._stream, flush=True)


class RichScreen(Screen):
    """A progress bar; needs a terminal."""

    def __init__(self) -> None:
        super().__init__()
        from rich.console import Console  # noqa: PLC0415 - only where there is a terminal
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn  # noqa: PLC0415

        self._stream = LastingStderr()
        self._console = Console(file=self._stream, highlight=False)
        self._bar = Progress(
            TextColumn("[bold]reading"),
            BarColumn(),
            TextColumn("{task.completed:,.0f}/{task.total:,.0f}"),
            TextColumn(
                "[red]{task.fields[failed]:,} failed[/] [yellow]{task.fields[positive]:,} positive[/]"
            ),
            TextColumn("{task.fields[rate]:.0f} images/s"),
            TimeElapsedColumn(),
            TextColumn("{task.fields[left]}"),
            console=self._console,
            transient=True,
            redirect_stdout=False,  # Ray prints to both while its log file stands behind them
            redirect_stderr=False,
        )
        self._task = self._bar.add_task("", total=None, failed=0, positive=0, rate=0.0, left="starting Ray")

    def started(self, manifest: Manifest, done: Tally) -> None:
        """Show the bar."""
        super().started(manifest, done)
        self._bar.update(self._task, total=self._total, completed=done.rows)
        self._bar.start()

    def note(self, text: str) -> None:
        """Say one thing, once, above the bar."""
        self._console.print(text, markup=False)

    def show_progress(self) -> None:
        """Move the bar."""
        left = (
            ""
            if self.left_s is None
            else f"{self.left_s / 60:.0f} min left"
            if self.left_s > 90
            else f"{self.left_s:.0f} s left"
        )
        self._bar.update(
            self._task,
            completed=self._done.rows,
            failed=self._done.failed,
            positive=self._done.positive,
            rate=self.images_per_s,
            left=left,
        )

    def finished(self, report: Report) -> None:
        """Take the bar away, print the closing summary."""
        self._bar.stop()
        self._console.print(as_text(report), markup=False)

    def close(self) -> None:
        """Give the terminal back."""
        self._bar.stop()
        self._stream.close()


def open_screen(log_format: str | None) -> Screen:
    """The screen of that format; None chooses rich on a terminal and plain elsewhere."""
    if log_format == "json":
        return JsonScreen()
    if log_format == "rich" or (log_format is None and sys.stderr.isatty()):
        return RichScreen()
    return PlainScreen()


def print_table(rows: pa.Table) -> None:
    """Rows of a query on stdout."""
    from rich.console import Console  # noqa: PLC0415 - only what prints tables needs it
    from rich.table import Table  # noqa: PLC0415 - likewise

    table = Table(*rows.column_names)
    for row in zip(*(column.to_pylist() for column in rows.columns), strict=True):  # names may repeat
        table.add_row(*("" if value is None else str(value) for value in row))
    console = Console(width=None if sys.stdout.isatty() else 10_000, markup=False, highlight=False)
    console.print(table)
    console.print(f"{len(rows):,} rows")
