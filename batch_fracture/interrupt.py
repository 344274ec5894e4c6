"""Ctrl-C, SIGTERM and SIGHUP end a run between blocks, so that what is complete can be committed."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable, Iterator
from types import FrameType, TracebackType
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
Handler = Callable[[int, FrameType | None], Any] | int | None


class Interrupt:
    """Takes the signals over while its `with` block runs.

    Outside `graceful` blocks, and for a second Ctrl-C inside one, a signal raises KeyboardInterrupt at once.
    """

    def __init__(self, announce: Callable[[str], None]) -> None:
        self.requested = False
        self._graceful = False
        self._announce = announce
        self._before: dict[int, Handler] = {}

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
        if not self._graceful or (self.requested and number == signal.SIGINT):
            raise KeyboardInterrupt
        first, self.requested = not self.requested, True
        if first:
            name = signal.Signals(number).name
            self._announce(f"{name} received: finishing up, committing what is complete")
