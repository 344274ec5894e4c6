from __future__ import annotations

from pathlib import Path

from test_plan import TODAY
from test_results_units import manifest

from batch_fracture.results.table import find_home
from batch_fracture.results.work import read_manifest, run_id_of, unfinished, write_manifest


def test_a_manifest_survives_the_disk(tmp_path: Path) -> None:
    home, planned = find_home(str(tmp_path), create=True), manifest(120)
    folder = write_manifest(home, planned)
    found = read_manifest(folder)
    assert found.images.equals(planned.images)
    assert found.purpose.key == planned.purpose.key
    assert (found.run_id, found.read_date, found.base_version) == (planned.run_id, TODAY, 0)
    assert (found.listed, found.unchanged, found.not_planned) == (120, 0, 0)
    assert found.run_id == run_id_of(found.images, found.purpose, TODAY, 0)


def test_unfinished_runs_are_found_and_empty_folders_removed(tmp_path: Path) -> None:
    home = find_home(str(tmp_path), create=True)
    assert unfinished(home) == []
    folder = write_manifest(home, manifest(3))
    (home.work / "never-began").mkdir()
    assert unfinished(home) == [folder]
    assert [path.name for path in home.work.iterdir()] == [folder.path.name]
    folder.remove()
    folder.remove()
    assert unfinished(home) == []
