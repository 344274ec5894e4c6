from __future__ import annotations

import os
import time
from pathlib import Path

import pyarrow.parquet as pq
from test_plan import TODAY
from test_results_units import manifest

from batch_fracture.results.table import find_home
from batch_fracture.results.work import REMOVED_AFTER_S, read_manifest, run_id_of, unfinished, write_manifest


def test_a_manifest_survives_the_disk(tmp_path: Path) -> None:
    home, planned = find_home(str(tmp_path), create=True), manifest(120)
    folder = write_manifest(home, planned)
    found = read_manifest(folder)
    assert found is not None
    assert found.images.equals(planned.images)
    assert found.purpose.key == planned.purpose.key
    assert (found.run_id, found.read_date, found.base_version) == (planned.run_id, TODAY, 0)
    assert (found.listed, found.unchanged, found.not_planned) == (120, 0, 0)
    assert found.run_id == run_id_of(found.images, found.purpose, TODAY, 0)


def test_unfinished_runs_are_found_and_empty_folders_removed(tmp_path: Path) -> None:
    home = find_home(str(tmp_path), create=True)
    assert unfinished(home) == []
    folder = write_manifest(home, manifest(3))
    (home.work / "about-to-begin").mkdir()
    assert unfinished(home) == [folder]
    assert len(list(home.work.iterdir())) == 2
    long_ago = time.time() - REMOVED_AFTER_S - 1
    os.utime(home.work / "about-to-begin", (long_ago, long_ago))
    assert unfinished(home) == [folder]
    assert [path.name for path in home.work.iterdir()] == [folder.path.name]
    folder.remove()
    folder.remove()
    assert unfinished(home) == []


def test_a_manifest_that_cannot_be_understood_is_none(tmp_path: Path) -> None:
    folder = write_manifest(find_home(str(tmp_path), create=True), manifest(3))
    other = pq.read_table(folder.manifest).replace_schema_metadata({b"batch_fracture": b'{"format": 99}'})
    for content in (other, other.replace_schema_metadata(None)):
        pq.write_table(content, folder.manifest)
        assert read_manifest(folder) is None
    folder.manifest.write_bytes(b"half a fi")
    assert read_manifest(folder) is None
    folder.manifest.unlink()
    assert read_manifest(folder) is None
