from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from test_cli import call
from test_export import content, night

from batch_fracture.cli_export import _Progress
from batch_fracture.failpoints import VARIABLE
from batch_fracture.results.home import Home, find_home


@pytest.fixture
def results(tmp_path: Path) -> Path:
    home = find_home(str(tmp_path / "results"), create=True)
    night(home, "r1", "2026-11-20", ["read", "failed"])
    night(home, "r2", "2026-11-21", ["read", "read", "skipped"])
    return tmp_path / "results"


def test_a_copy_and_years_later_its_check(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    night(home, "r1", "2026-11-20", ["read", "failed"])
    night(home, "r2", "2026-11-21", ["read", "read", "skipped"])
    endpoint = os.environ.get("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    copy = tmp_path / "copy"
    words = ("export", "--results", home.uri, "--out", copy, "--s3-endpoint", endpoint)
    assert call(monkeypatch, *words, "--as-of", "2", "--json") == 0
    made = json.loads(capfd.readouterr().out)
    assert (made["table_version"], made["rows"], made["runs"], made["files"]) == (2, 5, 2, 6)
    assert (made["statuses"], made["verified"]) == ({"failed": 1, "read": 3, "skipped": 1}, True)
    assert (made["as_of"], made["doubtful_runs"]) == ("2", [])
    assert call(monkeypatch, "export", "--verify", copy, "--json") == 0
    assert json.loads(capfd.readouterr().out) == made
    assert call(monkeypatch, "export", "--verify", copy) == 0
    text = capfd.readouterr().out
    assert "rows       5 = 1 failed, 3 read, 1 skipped" in text
    assert "checked    6 files" in text
    assert f"seal       {made['seal']}" in text
    assert "ATTENTION" not in text
    assert call(monkeypatch, *words) == 2
    assert "something stands there" in capfd.readouterr().err


def test_a_record_that_is_missing_is_said(
    results: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    (results / "runs" / "r1.parquet").unlink()
    assert call(monkeypatch, "export", "--results", results, "--out", results.parent / "copy") == 0
    assert "ATTENTION  r1: the record is missing, or counts other rows" in capfd.readouterr().out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--out", "{tmp}/copy"), "no --results; give --results and --out, or --verify"),
        (("--results", "{tmp}/results"), "no --out"),
        (("--verify", "{tmp}/copy", "--out", "{tmp}/b", "--as-of", "1"), "leave out --out, --as-of"),
        (("--verify", "{tmp}/results"), "no sealed copy"),
        (("--results", "{tmp}/none", "--out", "{tmp}/copy"), "there are no results yet"),
        (("--results", "{tmp}/results", "--out", "{tmp}/copy", "--as-of", "7"), "there are versions 0 to 2"),
        (("--results", "{tmp}/results", "--out", "{tmp}/results/copy"), "lies inside the results"),
    ],
)
def test_a_mistake_is_one_clear_line_and_leaves_nothing(
    results: Path,
    words: tuple[str, ...],
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    assert call(monkeypatch, "export", *(word.format(tmp=results.parent) for word in words)) == 2
    error = capfd.readouterr().err
    assert error.startswith("error: ")
    assert said in error
    assert error.count("\n") == 1
    assert list(results.parent.iterdir()) == [results]


def test_an_export_that_was_killed_leaves_no_copy_and_the_next_one_clears_up(results: Path) -> None:
    out = results.parent / "copy"
    command = [sys.executable, "-m", "batch_fracture", "export", "--results", str(results), "--out", str(out)]
    for point in ("export=kill@r2", "before-export=kill"):
        done = subprocess.run(command, env={**os.environ, VARIABLE: point}, check=False)
        assert done.returncode == -signal.SIGKILL
        assert not out.exists()
        left = [path for path in results.parent.iterdir() if path != results]
        assert len(left) == 1  # what the kill before it left has gone
        assert left[0].name.startswith(".copy.")
    assert "SHA256SUMS" in content(left[0])
    assert subprocess.run(command, capture_output=True, check=False).returncode == 0
    assert sorted(results.parent.iterdir()) == [out, results]


def test_a_live_export_is_left_alone(results: Path) -> None:
    out = results.parent / "copy"
    command = [sys.executable, "-m", "batch_fracture", "export", "--results", str(results), "--out", str(out)]
    with subprocess.Popen(command, env={**os.environ, VARIABLE: "before-export=hang"}) as live:
        try:
            while not any("SHA256SUMS" in content(path) for path in results.parent.glob(".copy.*")):
                assert live.poll() is None
                time.sleep(0.05)
            assert subprocess.run(command, capture_output=True, check=False).returncode == 0
            assert len(list(results.parent.glob(".copy.*"))) == 1
        finally:
            live.kill()


def test_progress_is_a_line_now_and_then(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    show = _Progress("copied")
    show(1_000_000, 4_000_000)
    assert capfd.readouterr().err == ""
    monkeypatch.setattr("batch_fracture.cli_export.LINE_EVERY_S", 0.0)
    show(3_000_000, 4_000_000)
    assert capfd.readouterr().err == "copied 3.0 of 4.0 MB (75%)\n"
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    show(4_000_000, 4_000_000)
    assert capfd.readouterr().err == "\rcopied 4.0 of 4.0 MB (100%)\n"
