from __future__ import annotations

import json
from pathlib import Path

import pytest

from batch_fracture.demo import run_demo
from batch_fracture.errors import ConfigError
from batch_fracture.query import query


def test_the_demo_says_it_is_synthetic_runs_the_job_and_can_be_repeated(
    tmp_path: Path, ray_session: None, capfd: pytest.CaptureFixture[str]
) -> None:
    shown: list[int] = []
    assert run_demo(tmp_path / "demo", as_json=True, print_table=lambda rows: shown.append(len(rows))) == 0
    output = capfd.readouterr().out
    assert output.startswith("All pictures of this demo are SYNTHETIC")
    report = json.loads(output.splitlines()[-1])
    assert (report["listed"], report["read"], report["not_reached"]) == (67, 60, 0)
    assert report["model"] == "fracatlas-evidence"
    assert Path(report["reads"]).is_file()
    assert len(shown) == 3
    found = query(
        str(tmp_path / "demo" / "results"), "SELECT DISTINCT media_type FROM readings WHERE status = 'read'"
    )
    assert set(found["media_type"].to_pylist()) == {
        "application/dicom",
        "image/jpeg",
        "image/png",
        "image/tiff",
    }

    assert run_demo(tmp_path / "demo", as_json=True, print_table=lambda rows: None) == 0
    assert json.loads(capfd.readouterr().out.splitlines()[-1])["outcome"] == "nothing_to_do"


def test_a_folder_with_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "holiday.jpg").touch()
    with pytest.raises(ConfigError, match=r"holds 'holiday\.jpg'"):
        run_demo(tmp_path, as_json=False, print_table=lambda rows: None)
