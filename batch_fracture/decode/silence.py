"""C libraries print what they think of a damaged file, past Python, to stderr; that may quote the file."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections.abc import Iterator

_STDERR = 2
_lock = threading.Lock()
_silent: list[int] = []
"""Where stderr is kept, while at least one thread wants silence; as often as there are such threads."""


@contextlib.contextmanager
def silenced() -> Iterator[None]:
    """Nothing reaches this process's stderr meanwhile, at whatever level it is written.

    libtiff and libpng have handlers for their words, which the wheels of Pillow and imagecodecs set to print.
    """
    with _lock:
        _silent.append(_silent[0] if _silent else _turn_off())
    try:
        yield
    finally:
        with _lock:
            kept = _silent.pop()
            if not _silent:
                os.dup2(kept, _STDERR)
                os.close(kept)


def _turn_off() -> int:
    sys.stderr.flush()
    kept, null = os.dup(_STDERR), os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, _STDERR)
    os.close(null)
    return kept
