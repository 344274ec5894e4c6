from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from test_results_table import put_file

from batch_fracture import schema
from batch_fracture.codes import Code, Status
from batch_fracture.plan import Plan, plan_run, reading_id
from batch_fracture.results.home import find_home
from batch_fracture.results.manifest import Purpose
from batch_fracture.results.table import ReadingsTable

TODAY = date(2026, 11, 23)
PURPOSE = Purpose(
    sources=("/archive",),
    s3_endpoint=None,
    include=(),
    exclude=(),
    model="m",
    model_digest="d1",
    engine="auto",
    operating_point="balanced",
    threshold=0.5,
    settings={},
    settings_digest="s1",
    order="newest",
    limit=None,
    reread=False,
    retry_failed=False,
    pseudonym_key_id=None,
    shown_sources=("/archive",),
)


def listing(count: int) -> pa.Table:
    rows = [
        {
            "image_uri": f"/archive/{n:04d}",
            "image_version": "1-1",
            "size_bytes": 1,
            "modified_at": datetime(2026, 1, 1, tzinfo=UTC) + timedelta(days=n % 5),
        }
        for n in range(count)
    ]
    return pa.Table.from_pylist(rows, schema=schema.LISTING)


@pytest.fixture
def add(tmp_path: Path) -> Callable[..., ReadingsTable]:
    """Commits rows of image 0 to a real table: add(code, day, settings, times)."""
    home = find_home(str(tmp_path / "results"), create=True)
    runs = 0

    def add_rows(
        code: Code | None, *, day: date = TODAY, settings: str = "s1", times: int = 1, digest: str = "d1"
    ) -> ReadingsTable:
        nonlocal runs
        for _ in range(times):
            runs += 1
            row: dict[str, Any] = {
                "reading_id": reading_id("/archive/0000", "1-1", digest),
                "status": code.status if code else Status.READ,
                "error_code": code,
                "settings_digest": settings,
            }
            table = ReadingsTable.open_or_create(home)
            file = put_file(home, f"r{runs}", pa.Table.from_pylist([row], schema=schema.UNIT_FILE), str(day))
            assert table.commit([file], run_id=f"r{runs}", read_date=str(day))
        opened = ReadingsTable.open(home)
        assert opened is not None
        return opened

    return add_rows


def plan(table: ReadingsTable | None, count: int = 1, **changes: Any) -> Plan:
    return plan_run(listing(count), table, replace(PURPOSE, **changes), read_date=TODAY)


def is_planned(table: ReadingsTable | None, **changes: Any) -> bool:
    return len(plan(table, **changes).manifest.images) == 1


def test_reading_id_is_a_128_bit_hash_of_all_three_parts() -> None:
    one = reading_id("ab", "c", "d")
    assert one == "6109d8817b2d0ff95adae0bceb04a73d"  # BLAKE2b-128 of 2:ab1:c1:d
    assert len({one, reading_id("a", "bc", "d"), reading_id("ab", "c", "e"), reading_id("ab", "d", "c")}) == 4


def test_without_results_everything_is_planned_newest_first() -> None:
    manifest = plan(None, 7).manifest
    assert manifest.images.schema.equals(schema.MANIFEST)
    names = [uri[-1] for uri in manifest.images["image_uri"].to_pylist()]
    assert names == ["4", "3", "2", "1", "6", "0", "5"]
    assert (manifest.listed, manifest.unchanged, manifest.not_planned) == (7, 0, 0)


@pytest.mark.parametrize(("order", "first"), [("oldest", "0"), ("listed", "0"), ("newest", "4")])
def test_order_and_limit(order: str, first: str) -> None:
    manifest = plan(None, 7, order=order, limit=2).manifest
    assert manifest.images["image_uri"].to_pylist()[0][-1] == first
    assert (len(manifest.images), manifest.not_planned) == (2, 5)


def test_units_grow_with_the_archive() -> None:
    for count, sizes in ((250, [100, 100, 50]), (6400, [200] * 32)):
        manifest = plan(None, count).manifest
        assert [manifest.unit_size(unit) for unit in range(manifest.num_units)] == sizes


def test_the_same_plan_has_the_same_run_id_and_any_change_another() -> None:
    ids = [
        plan(None, 3).manifest.run_id,
        plan(None, 4).manifest.run_id,
        plan(None, 3, model_digest="d2").manifest.run_id,
        plan(None, 3, threshold=0.4).manifest.run_id,
    ]
    assert plan(None, 3).manifest.run_id == ids[0]
    assert len(set(ids)) == 4


def test_a_read_image_is_settled_for_its_model_only(add: Callable[..., ReadingsTable]) -> None:
    table = add(None)
    assert not is_planned(table)
    assert is_planned(table, model_digest="d2")
    assert is_planned(table, reread=True)
    assert not is_planned(table, retry_failed=True)


def test_a_final_failure_is_settled_until_asked(add: Callable[..., ReadingsTable]) -> None:
    table = add(Code.TRUNCATED, day=TODAY - timedelta(days=9))
    assert not is_planned(table)
    assert is_planned(table, retry_failed=True)
    assert not is_planned(table, settings_digest="s2")


def test_a_code_that_settings_decide_is_settled_under_those_settings(
    add: Callable[..., ReadingsTable],
) -> None:
    table = add(Code.NOT_A_RADIOGRAPH)
    assert not is_planned(table)
    assert is_planned(table, settings_digest="s2")


def test_a_transient_failure_waits_for_a_later_night(add: Callable[..., ReadingsTable]) -> None:
    today = add(Code.GONE)
    assert not is_planned(today)
    assert plan(today).retried_later == 1
    assert is_planned(today, retry_failed=True)


def test_a_transient_failure_is_retried_five_times(add: Callable[..., ReadingsTable]) -> None:
    before = TODAY - timedelta(days=1)
    assert is_planned(add(Code.GONE, day=before, times=5))
    sixth = add(Code.ACCESS_DENIED, day=before)
    assert not is_planned(sixth)
    assert plan(sixth).retried_later == 0
    assert is_planned(sixth, retry_failed=True)


def test_ids_do_not_depend_on_how_the_listing_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = plan(None, 7, order="listed").manifest
    monkeypatch.setattr("batch_fracture.plan.BATCH_ROWS", 3)
    cut = plan(None, 7, order="listed").manifest
    assert cut.images.equals(whole.images)
    assert cut.run_id == whole.run_id
    assert cut.images["reading_id"].to_pylist() == [
        reading_id(f"/archive/{n:04d}", "1-1", "d1") for n in range(7)
    ]


def test_an_empty_listing_plans_nothing(add: Callable[..., ReadingsTable]) -> None:
    for table in (None, add(None)):
        manifest = plan(table, 0).manifest
        assert (len(manifest.images), manifest.listed, manifest.unchanged) == (0, 0, 0)
        assert manifest.images.schema.equals(schema.MANIFEST)
