from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest
from click.testing import CliRunner
from test_results_commit import ready, units_of

from batch_fracture.cli import cli
from batch_fracture.errors import ConfigError, WorkHeldError
from batch_fracture.lease import Lease
from batch_fracture.results import work as work_module
from batch_fracture.results.commit import commit_units
from batch_fracture.results.folder import DiskFolder
from batch_fracture.results.home import Home
from batch_fracture.results.manifest import Manifest
from batch_fracture.results.records import Books, Outcome, RunRecord, write_record
from batch_fracture.results.table import ReadingsTable
from batch_fracture.results.work import WorkFolder, unfinished
from batch_fracture.runs import abandon_run, clean, list_runs, show_run


@pytest.fixture(autouse=True)
def table(home: Home) -> None:
    ReadingsTable.open_or_create(home)


def committed(home: Home, count: int = 110) -> tuple[WorkFolder, Manifest]:
    work, manifest = ready(home, count)
    done = commit_units(work, manifest, units_of(work, manifest))
    books = Books(listed=count, read=count)
    write_record(
        home,
        RunRecord(
            manifest=manifest,
            outcome=Outcome.COMPLETE,
            books=books,
            engine="openvino-fp32",
            table_version=done.version,
        ),
    )
    work.remove()
    return work, manifest


def names(home: Home) -> list[str]:
    return [file.name for file in home.folder.files("")]


def test_runs_that_ended_and_runs_under_way_are_listed(home: Home) -> None:
    first, _ = committed(home)
    second, manifest = ready(home, 250, model_digest="d2")
    assert [tuple(row.values())[:2] for row in list_runs(home).to_pylist()] == [
        (first.run_id, "complete"),
        (second.run_id, "cut off"),
    ]
    with Lease(second):
        assert list_runs(home)["state"].to_pylist()[1].startswith(f"running (process {os.getpid()} on")
    found = show_run(home, second.run_id)
    assert (found["to_read"], found["units"], found["finished_units"]) == (250, 3, 3)
    assert found["started_at"].timestamp() * 1e6 == pytest.approx(manifest.started_at)
    assert show_run(home, first.run_id)["read"] == 110
    with pytest.raises(ConfigError, match=r"no run 'r9'.* list"):
        show_run(home, "r9")


def test_only_a_dead_run_can_be_abandoned(home: Home) -> None:
    work, _ = ready(home, 110)
    with Lease(work), pytest.raises(WorkHeldError, match=str(os.getpid())):
        abandon_run(home, work.run_id)
    assert unfinished(home) == [work]
    assert not abandon_run(home, work.run_id)
    assert unfinished(home) == []
    with pytest.raises(ConfigError, match="no run"):
        abandon_run(home, work.run_id)


def test_cleaning_touches_no_committed_file_and_no_live_run(home: Home) -> None:
    done, _ = committed(home)
    alive, _ = ready(home, 130, model_digest="d2")
    kept = names(home)
    day = next(name for name in kept if done.run_id in name and "readings/" in name).rpartition("/")[0]
    rests = [
        f"{day}/{done.run_id}-000000-00000000.parquet",
        f"{day.replace('readings', 'links')}/{done.run_id}-000000-00000000.parquet",
        f"{day}/20200101-0123456789abcdef-000000-00000000.parquet",
    ]
    live_copy = f"{day}/{alive.run_id}-000000-00000000.parquet"
    for name in (*rests, live_copy):
        home.folder.put_once(name, b"of a process that died")
    assert {rest.name for rest in clean(home, dry_run=True)} == set(rests)
    assert set(names(home)) == {*kept, *rests, live_copy}
    assert {rest.name for rest in clean(home)} == set(rests)
    left = [name for name in names(home) if "_delta_log" not in name]
    assert left == sorted([*(name for name in kept if "_delta_log" not in name), live_copy])
    assert clean(home) == []


def test_old_rests_are_cleaned(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(work_module, "REMOVED_AFTER_S", -2.0)
    home.folder.put_once("_work/r1/units/000000.parquet", b"left behind")
    assert [rest.name for rest in clean(home)] == ["_work/r1"]
    assert "_work/r1/units/000000.parquet" not in names(home)
    if isinstance(home.folder, DiskFolder):
        partial = home.folder.path / "readings" / ".x.parquet.abc.partial"
        partial.write_bytes(b"half")
        assert clean(home) == []
        long_ago = time.time() - 7200
        os.utime(partial, (long_ago, long_ago))
        assert [rest.name for rest in clean(home)] == ["readings/.x.parquet.abc.partial"]
        assert not partial.exists()


def test_the_commands_say_it(home: Home, tmp_path: Path) -> None:
    work, _ = ready(home, 110)
    call = CliRunner().invoke
    listed = call(cli, ["runs", "--results", home.uri, "list", "--json"])
    assert json.loads(listed.stdout)["runs"][0]["state"] == "cut off"
    assert work.run_id in call(cli, ["runs", "--results", home.uri, "list"]).stdout
    assert "finished_units       2" in call(cli, ["runs", "--results", home.uri, "show", work.run_id]).stdout
    assert "is abandoned" in call(cli, ["runs", "--results", home.uri, "abandon", work.run_id]).stdout
    assert call(cli, ["runs", "--results", home.uri, "clean"]).stdout == "nothing to clean\n"
