"""What is wrong with rows of labels, and how it is said."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from batch_fracture.errors import UsageError

SHOWN = 5
"""Problems that one message lists."""


@dataclass(frozen=True, kw_only=True)
class Problem:
    """What is wrong with a row, or between rows."""

    text: str
    """Names row and value."""
    leave_out: tuple[int, ...] = ()
    """Rows without which it would be gone; empty when only a person can put it right."""


class LabelsError(UsageError):
    """The table of labels cannot be trained on; the message names file, row and value.

    Args:
        message: one line.
        problems: all of them.
    """

    def __init__(self, message: str, problems: Sequence[Problem] = ()) -> None:
        super().__init__(message)
        self.problems = tuple(problems)


def refuse(table: Path, problems: Sequence[Problem], remedy: str = "") -> None:
    """Raise the first problems and the number of the others; nothing when there are none.

    Args:
        table: named in the message.
        problems: what is wrong with it.
        remedy: ends the message.

    Raises:
        LabelsError: there are problems.
    """
    if problems:
        shown = "; ".join(problem.text for problem in problems[:SHOWN])
        more = f"; and {len(problems) - SHOWN} more" if len(problems) > SHOWN else ""
        ending = f"; {remedy}" if remedy else ""
        raise LabelsError(f"labels {table}: {shown}{more}{ending}", problems)
