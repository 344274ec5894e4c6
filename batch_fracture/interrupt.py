"""Ctrl-C, SIGTERM, SIGHUP and the deadline end a run between blocks: what is complete can be committed."""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from types import FrameType, TracebackType
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
Handler = Callable[[int, FrameType | None], Any] | int | None


class Interrupt:
    """Takes the signals over while its `with` block runs, and watches the clock.

    Args:
        announce: says one thing on the screen.
        stop_at: the deadline; None for none.

    Outside `graceful` blocks, and for a second Ctrl-C inside one, a signal raises KeyboardInterrupt at once.
    """

    def __init__(self, announce: Callable[[str], None], stop_at: datetime | None = None) -> None:
        self.signalled = False
        self._late_from = None if stop_at is None else time.monotonic() + _seconds_until(stop_at)
        self._late = False
        self._stop_at = stop_at
        self._graceful = False
        self._announce = announce
        self._before: dict[int, Handler] = {}

    @property
    def requested(self) -> bool:
        """Whether a signal came or the deadline has passed; the latter is announced when it is first seen."""
        return self.signalled or self.late

    @property
    def late(self) -> bool:
        """Whether the deadline has passed."""
        if not self._late and self._late_from is not None and time.monotonic() >= self._late_from:
            self._late = True
            self._announce(
                f"the deadline {self._stop_at:%H:%M} has come: finishing up, committing what is complete"
            )
        return self._late

    @contextlib.contextmanager
    def graceful(self) -> Iterator[None]:
        """A block in which a signal is only recorded, as `requested`: the work ends at its next seam."""
        self._graceful = True
        try:
            yield
        finally:
            self._graceful = False

    def __enter__(self) -> Interrupt:
        heard = [number for number in SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]  # nohup
        self._before = {number: signal.signal(number, self._handle) for number in heard}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _handle(self, number: int, _frame: FrameType | None) -> None:
        if not self._graceful or (self.signalled and number == signal.SIGINT):
            raise KeyboardInterrupt
        first, self.signalled = not self.signalled, True
        if first:
            name = signal.Signals(number).name
            self._announce(f"{name} received: finishing up, committing what is complete")


def _seconds_until(moment: datetime) -> float:
    return (moment - datetime.now(UTC)).total_seconds()
