"""Places where a test makes the process die, so that what happens then is shown and not believed.

Every step that leaves something behind has one before it and one after it: `STEPS`.

`BATCH_FRACTURE_FAILPOINTS=name=action[@text],...`: at the point `name`, when its subject contains `text`,
do `action`: `segv` (die as a crashing decoder does), `hang` (never come back), `kill` (SIGKILL) or
`memory` (ask for more than there is). Without the variable a point costs one dictionary look-up.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterator

VARIABLE = "BATCH_FRACTURE_FAILPOINTS"
STEPS = ("plan", "lease", "manifest", "unit", "verify", "copy", "commit", "record", "clean-up")
"""Of a run, in their order; each gives the points `before-STEP` and `after-STEP`. Giving up a run has one
more, `abandon`."""


@contextlib.contextmanager
def step(name: str, subject: str = "") -> Iterator[None]:
    """A step of a run: one of `STEPS`, with what it works on."""
    failpoint(f"before-{name}", subject)
    yield
    failpoint(f"after-{name}", subject)


def failpoint(name: str, subject: str = "") -> None:
    """Pass, unless the environment names this point.

    Args:
        name: of the point.
        subject: what is being worked on, such as an image's URI.
    """
    wanted = os.environ.get(VARIABLE)
    if wanted is None:
        return
    for point in wanted.split(","):
        where, _, action = point.partition("=")
        action, _, text = action.partition("@")
        if where == name and text in subject:
            _act(action)


def _act(action: str) -> None:
    if action == "segv":
        os.kill(os.getpid(), signal.SIGSEGV)
    elif action == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    elif action == "hang":
        while True:
            time.sleep(3600)
    elif action == "memory":
        raise MemoryError
    else:
        raise ValueError(f"{VARIABLE}: unknown action {action!r}")
