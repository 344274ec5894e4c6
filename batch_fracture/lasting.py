"""A handle on stderr that outlasts the first one, and its reader."""

from __future__ import annotations

import contextlib
import io
import os


class LastingStderr(io.TextIOWrapper):
    """A second handle on stderr: the first goes to a log file while Ray runs.

    It falls silent when the terminal is closed or the pipe is broken, and the run goes on.
    """

    def __init__(self) -> None:
        super().__init__(os.fdopen(os.dup(2), "wb", buffering=0), write_through=True)

    def write(self, text: str) -> int:
        """Write, if somebody is there."""
        with contextlib.suppress(OSError):
            super().write(text)
        return len(text)

    def flush(self) -> None:
        """As `write`."""
        with contextlib.suppress(OSError):
            super().flush()
