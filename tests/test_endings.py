from __future__ import annotations

import pyarrow as pa
import pytest

from batch_fracture import endings, schema
from batch_fracture.endings import OutageGuard
from batch_fracture.results.records import Outcome


def rows(*fates: tuple[str | None, str | None, int]) -> pa.Table:
    return pa.Table.from_pylist(
        [{"error_stage": stage, "error_code": code, "unit": unit} for stage, code, unit in fates],
        schema=schema.UNIT_FILE,
    )


def test_only_an_unbroken_streak_of_one_cause_is_an_outage(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endings, "OUTAGE_ROWS", 3)
    gone, denied, read = ("fetch", "GONE", 0), ("fetch", "ACCESS_DENIED", 0), (None, None, 0)
    final, listed = ("decode", "TRUNCATED", 0), ("list", "GONE", 0)
    for harmless in ([gone, gone, read, gone, gone], [gone, denied] * 5, [final] * 9, [listed] * 9):
        assert not OutageGuard().see(rows(*harmless))
    assert OutageGuard().see(rows(read, gone, gone, gone))


def test_a_streak_runs_over_blocks_and_remembers_its_units(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endings, "OUTAGE_ROWS", 3)
    guard = OutageGuard()
    assert not guard.see(rows(("fetch", "GONE", 1), (None, None, 2), ("fetch", "STORE_ERROR", 3)))
    assert guard.see(rows(("fetch", "STORE_ERROR", 4), ("fetch", "STORE_ERROR", 4)))
    assert guard.units == {3, 4}
    assert guard.ending().outcome is Outcome.STORE_OUTAGE
    assert "3 fetches in a row ended with STORE_ERROR" in str(guard.ending().message)
