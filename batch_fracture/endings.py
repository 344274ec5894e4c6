"""Why the reading of a run ends: all is read, a signal, the deadline, or an outage of the store."""

from __future__ import annotations

from dataclasses import dataclass, field

import pyarrow as pa

from batch_fracture.codes import TRANSIENT
from batch_fracture.results.records import Outcome

OUTAGE_ROWS = 500
"""So many fetches that fail one after another for one cause are the store's fault, not the images'."""


@dataclass(frozen=True, kw_only=True)
class Ending:
    """Why the reading ended."""

    outcome: Outcome
    message: str | None = None


@dataclass(kw_only=True)
class OutageGuard:
    """Counts fetches that failed in a row for one cause."""

    code: str | None = None
    streak: int = 0
    units: set[int] = field(default_factory=set)
    """Units that the streak has touched; none of them may be committed."""

    def see(self, rows: pa.Table) -> bool:
        """Take rows of `schema.UNIT_FILE`; True once the streak is an outage."""
        columns = (rows[name].to_pylist() for name in ("error_stage", "error_code", "unit"))
        for stage, code, unit in zip(*columns, strict=True):
            if stage != "fetch" or code not in TRANSIENT:
                self.code, self.streak, self.units = None, 0, set()
                continue
            if code != self.code:
                self.code, self.streak, self.units = code, 0, set()
            self.streak += 1
            self.units.add(unit)
            if self.streak >= OUTAGE_ROWS:
                return True
        return False

    def ending(self) -> Ending:
        """What the outage means for the run."""
        return Ending(
            outcome=Outcome.STORE_OUTAGE,
            message=f"{self.streak} fetches in a row ended with {self.code}: none of those is committed; "
            "check the store and run again",
        )


COMPLETE = Ending(outcome=Outcome.COMPLETE)
INTERRUPTED = Ending(outcome=Outcome.INTERRUPTED, message="stopped by a signal")
LATE = Ending(outcome=Outcome.DEADLINE, message="stopped by the deadline")
