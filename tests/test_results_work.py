from __future__ import annotations

import errno
import os
import time
from dataclasses import replace

import pytest
from test_plan import TODAY
from test_results_units import manifest

from batch_fracture.errors import ResultsError
from batch_fracture.results import manifest as manifest_module
from batch_fracture.results import parquet, work
from batch_fracture.results.folder import DiskFolder
from batch_fracture.results.home import Home
from batch_fracture.results.manifest import run_id_of
from batch_fracture.results.work import (
    REMOVED_AFTER_S,
    read_manifest,
    remove_rests,
    unfinished,
    write_manifest,
)


def test_a_manifest_survives_the_store(home: Home) -> None:
    planned = manifest(120)
    folder = write_manifest(home, planned)
    found = read_manifest(folder)
    assert found is not None
    assert found.images.equals(planned.images)
    assert found.purpose.key == planned.purpose.key
    assert (found.run_id, found.read_date, found.base_version) == (planned.run_id, TODAY, 0)
    assert (found.listed, found.unchanged, found.not_planned) == (120, 0, 0)
    assert found.run_id == run_id_of(found.images, found.purpose, TODAY, 0)


def test_units_are_slices_of_the_manifest() -> None:
    planned = manifest(250)
    assert [planned.unit_size(unit) for unit in range(planned.num_units)] == [100, 100, 50]
    assert planned.unit_ids(2) == set(planned.images["reading_id"][200:].to_pylist())
    assert manifest(0).num_units == 0


def test_a_run_id_does_not_depend_on_how_the_manifest_is_hashed(monkeypatch: pytest.MonkeyPatch) -> None:
    planned = manifest(250)
    monkeypatch.setattr(manifest_module, "HASHED_ROWS", 7)
    assert run_id_of(planned.images, planned.purpose, TODAY, 0) == planned.run_id


def test_unfinished_runs_are_found_and_old_rests_removed(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    assert unfinished(home) == []
    folder = write_manifest(home, manifest(3))
    home.folder.put_once("_work/about-to-begin/lease-000001.json", b"{}")
    assert unfinished(home) == [folder]
    assert home.folder.children("_work") == {folder.run_id, "about-to-begin"}
    monkeypatch.setattr(work, "REMOVED_AFTER_S", -2.0)
    assert remove_rests(home) == ["_work/about-to-begin"]
    assert unfinished(home) == [folder]
    assert [file.name for file in home.folder.files("_work")] == [f"{folder.path}/manifest.parquet"]
    folder.remove()
    folder.remove()
    assert unfinished(home) == []


def test_an_old_empty_folder_on_disk_is_removed(home: Home) -> None:
    if not isinstance(home.folder, DiskFolder):
        return  # buckets have no empty folders
    empty = home.folder.path / "_work" / "about-to-begin"
    empty.mkdir(parents=True)
    assert remove_rests(home) == []
    assert empty.exists()
    long_ago = time.time() - REMOVED_AFTER_S - 1
    os.utime(empty, (long_ago, long_ago))
    assert remove_rests(home) == ["_work/about-to-begin"]
    assert not empty.exists()


def test_a_manifest_of_pseudonyms_lies_where_the_real_names_may(home: Home) -> None:
    planned = manifest(3)
    planned = replace(planned, purpose=replace(planned.purpose, pseudonym_key_id="k"))
    folder = write_manifest(home, planned)
    assert [file.name for file in home.folder.files("")] == [f"links/_work/{planned.run_id}/manifest.parquet"]
    assert unfinished(home) == [folder]
    found = read_manifest(folder)
    assert found is not None
    assert found.images.equals(planned.images)
    folder.remove()
    assert home.folder.files("") == []


def test_a_manifest_that_cannot_be_understood_is_none(home: Home) -> None:
    folder = write_manifest(home, manifest(3))
    name = f"{folder.path}/manifest.parquet"
    other = parquet.decode(home.folder.get(name) or b"")
    for header in ({b"batch_fracture": b'{"format": 99}'}, None):
        home.folder.put(name, parquet.encode(other.replace_schema_metadata(header)))
        assert read_manifest(folder) is None
    home.folder.put(name, b"half a fi")
    assert read_manifest(folder) is None
    home.folder.delete(name)
    assert read_manifest(folder) is None


def test_a_store_that_cannot_be_read_is_no_manifest_of_another_version(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_manifest(home, manifest(3))

    def fail(name: str) -> bytes:
        raise ResultsError(f"results {name}: connection reset")

    monkeypatch.setattr(home.folder, "get", fail)
    with pytest.raises(ResultsError, match="connection reset"):
        read_manifest(folder)


def test_who_may_not_enter_the_links_sees_the_other_runs(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, children = write_manifest(home, manifest(3)), home.folder.children

    def refuse(below: str = "") -> set[str]:
        if below.startswith("links"):
            raise ResultsError(f"results {below}: Permission denied") from PermissionError(errno.EACCES, "no")
        return children(below)

    monkeypatch.setattr(home.folder, "children", refuse)
    assert unfinished(home) == [folder]
    assert read_manifest(folder) is not None
    home.folder.put_once("_work/20260101-hidden/lease-000001.json", b"{}")
    hidden = unfinished(home)[0]
    assert (hidden.run_id, read_manifest(hidden)) == ("20260101-hidden", None)
