from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from batch_fracture.errors import ConfigError
from batch_fracture.query import query
from batch_fracture.results.records import Outcome
from batch_fracture.results.units import UnitWriter
from batch_fracture.summary import Report

Run = Callable[..., Report]


def rows(tmp_path: Path, sql: str) -> list[dict[str, Any]]:
    return query(str(tmp_path / "results"), sql).to_pylist()


def no_ray(*_args: object, **_names: object) -> None:
    raise AssertionError("Ray was started with nothing to do")


def test_a_run_balances_and_a_second_one_does_nothing(
    tmp_path: Path, archive: Path, night: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    report = night()
    assert report.outcome is Outcome.COMPLETE
    books = report.books
    assert (books.listed, books.read, books.skipped, books.failed, books.not_reached) == (8, 6, 1, 1, 0)
    assert report.codes == {"NOT_AN_IMAGE": 1, "TRUNCATED": 1}
    assert (report.exit_code(0.05), report.exit_code(0.2)) == (3, 0)
    found = rows(tmp_path, "SELECT * FROM readings ORDER BY image_uri")
    assert [row["image_uri"] for row in found] == sorted(str(path) for path in archive.iterdir())
    assert {row["run_id"] for row in found} == {report.run_id}
    record = rows(tmp_path, "SELECT * FROM runs")[0]
    assert (record["run_id"], record["read"], record["table_version"]) == (report.run_id, 6, 1)
    assert list((tmp_path / "results" / "_work").iterdir()) == []

    monkeypatch.setattr("batch_fracture.reading.ray_cluster", no_ray)
    again = night()
    assert (again.outcome, again.books.unchanged, again.exit_code(0)) == (None, 8, 0)
    assert "nothing to do" in str(again.message)
    assert len(rows(tmp_path, "SELECT * FROM runs")) == 1


def test_a_changed_file_is_read_again_and_only_that(tmp_path: Path, archive: Path, night: Run) -> None:
    night()
    changed = archive / "image-0-00003.png"
    Image.fromarray(np.zeros((30, 30), np.uint8)).save(changed)
    books = night().books
    assert (books.listed, books.unchanged, books.read) == (8, 7, 1)
    versions = rows(tmp_path, f"SELECT rows FROM readings WHERE image_uri = '{changed}' ORDER BY read_at")
    assert [row["rows"] for row in versions] == [48, 30]
    latest = rows(tmp_path, f"SELECT rows FROM latest WHERE image_uri = '{changed}'")
    assert [row["rows"] for row in latest] == [30]


def test_reread_and_retry_failed(tmp_path: Path, night: Run) -> None:
    night()
    retried = night(retry_failed=True).books
    assert (retried.unchanged, retried.read, retried.failed) == (7, 0, 1)
    reread = night(reread=True).books
    assert (reread.unchanged, reread.read, reread.skipped, reread.failed) == (0, 6, 1, 1)
    assert rows(tmp_path, "SELECT count(*) AS n FROM readings")[0]["n"] == 17
    assert rows(tmp_path, "SELECT count(*) AS n FROM latest")[0]["n"] == 8


def test_limit_then_the_rest(tmp_path: Path, night: Run) -> None:
    first = night(limit=3)
    assert (first.outcome, first.exit_code(1), first.books.not_reached) == (Outcome.LIMITED, 4, 5)
    second = night()
    assert (second.outcome, second.books.unchanged, second.exit_code(1)) == (Outcome.COMPLETE, 3, 0)
    assert rows(tmp_path, "SELECT count(*) AS n, count(DISTINCT image_uri) AS d FROM readings") == [
        {"n": 8, "d": 8}
    ]


def test_include_exclude_and_dry_run(tmp_path: Path, night: Run) -> None:
    dry = night(dry_run=True, include=("*.png",), exclude=("*-00001.png",))
    assert (dry.outcome, dry.books.listed, dry.books.not_reached) == (None, 6, 6)
    assert not (tmp_path / "results").exists()
    report = night(include=("*.png",), exclude=("*-00001.png",))
    assert (report.books.listed, report.books.read, report.books.failed) == (6, 5, 1)


def test_the_operating_point_decides_what_is_a_fracture(tmp_path: Path, night: Run) -> None:
    night(operating_point="0.0001")
    night(reread=True, operating_point="high-sensitivity")
    found = rows(
        tmp_path, "SELECT operating_point, threshold, fracture, probability FROM readings WHERE status='read'"
    )
    assert {(row["operating_point"], round(row["threshold"], 4)) for row in found} == {
        ("0.0001", 0.0001),
        ("high-sensitivity", 0.25),
    }
    assert all(row["fracture"] == (row["probability"] >= row["threshold"]) for row in found)
    with pytest.raises(ConfigError, match="balanced, high-sensitivity"):
        night(operating_point="loud")


def test_an_outage_of_the_store_commits_nothing_of_it(
    tmp_path: Path, archive: Path, draw: Any, night: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw(archive, 592, seed=2)
    monkeypatch.setattr("batch_fracture.endings.OUTAGE_ROWS", 60)
    listed = UnitWriter.missing

    def vanish_after_listing(self: UnitWriter) -> Any:
        for path in sorted(archive.glob("image-2-*"))[150:350]:
            path.unlink(missing_ok=True)
        return listed(self)

    monkeypatch.setattr(UnitWriter, "missing", vanish_after_listing)
    report = night(order="listed")
    assert (report.outcome, report.exit_code(1)) == (Outcome.STORE_OUTAGE, 1)
    assert "in a row ended with GONE" in str(report.message)
    counted = rows(tmp_path, "SELECT count(*) AS n FROM readings WHERE error_code = 'GONE'")
    assert counted[0]["n"] < 60
    assert report.books.not_reached >= 200 - 59


def test_a_report_without_failures_exits_with_zero(night: Run) -> None:
    report = night(include=("image*",))
    assert report.exit_code(0.0) == 0
    stopped = replace(report, outcome=Outcome.INTERRUPTED, message="stopped by a signal")
    assert stopped.exit_code(0.0) == 4
    assert replace(report, earlier=(stopped,)).exit_code(0.0) == 4


@pytest.mark.gpu
def test_where_ray_has_gpus_torch_reads(tmp_path: Path, night: Callable[..., Report]) -> None:
    import ray

    if not ray.cluster_resources().get("GPU"):
        pytest.skip("no GPU here")
    assert night().engine == "torch-fp32"
    assert night(engine="openvino-fp32", reread=True).engine == "openvino-fp32"
