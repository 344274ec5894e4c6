"""Nights whose tables name images by pseudonyms."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pyarrow.dataset as ds
import pytest
from test_run import rows
from test_run_resume import unfinished

from batch_fracture.privacy import LINKS, read_key
from batch_fracture.summary import Report

Run = Callable[..., Report]


@pytest.fixture
def key_file(tmp_path: Path) -> str:
    path = tmp_path / "key"
    path.write_text("6b9d0c2f7a1e4853b0d6e9f2c4a87155d3e8016f92b7ca4e\n")
    path.chmod(0o600)
    return str(path)


def test_the_table_names_pseudonyms_and_the_links_the_images(
    tmp_path: Path, archive: Path, night: Run, key_file: str, capfd: pytest.CaptureFixture[str]
) -> None:
    report = night(pseudonym_key_file=key_file)
    assert (report.books.read, report.books.listed) == (6, 8)
    key = read_key(key_file)
    found = {row["image_uri"]: row for row in rows(tmp_path, "SELECT * FROM readings")}
    names = {str(path): key.pseudonym("image_uri", str(path)) for path in archive.iterdir()}
    assert set(found) == set(names.values())
    assert {row["pseudonym_key_id"] for row in found.values()} == {key.key_id}
    links = ds.dataset(tmp_path / "results" / "links", partitioning="hive").to_table().to_pylist()
    assert {row["image_uri"]: row["reading_id"] for row in links} == {
        name: found[pseudonym]["reading_id"] for name, pseudonym in names.items()
    }
    assert set(LINKS.names) <= set(links[0])
    assert (tmp_path / "results" / "links").stat().st_mode & 0o777 == 0o700
    (record,) = rows(tmp_path, "SELECT sources FROM runs")
    assert record["sources"] == key.hide([str(archive)])
    assert str(archive) not in capfd.readouterr().err
    everything = (p for p in (tmp_path / "results").rglob("*") if p.is_file() and "links" not in p.parts)
    assert not [path for path in everything if str(archive).encode() in path.read_bytes()]


def test_a_night_with_nothing_new_is_idle_and_without_the_key_all_is_new(
    tmp_path: Path, night: Run, key_file: str, capfd: pytest.CaptureFixture[str]
) -> None:
    night(pseudonym_key_file=key_file)
    assert night(pseudonym_key_file=key_file).outcome is None
    assert "another key" not in capfd.readouterr().err
    assert night().books.read == 6
    assert "rows are named under another key, or none: all is read anew" in capfd.readouterr().err
    assert len(rows(tmp_path, "SELECT 1 FROM readings WHERE pseudonym_key_id IS NULL")) == 8


def test_a_run_that_was_cut_off_is_finished_under_its_key_only(
    tmp_path: Path, night: Run, key_file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    unfinished(night, monkeypatch, pseudonym_key_file=key_file)
    assert not list((tmp_path / "results" / "_work").glob("*/manifest.parquet"))
    report = night(pseudonym_key_file=key_file)
    assert report.books.unchanged == 8
    unfinished(night, monkeypatch, at="settle.commit_units", pseudonym_key_file=key_file, reread=True)
    assert night().books.read == 6  # another key: abandoned, read anew
    links = ds.dataset(tmp_path / "results" / "links", partitioning="hive").to_table()
    assert links.num_rows == 8
    assert not list((tmp_path / "results").rglob("manifest.parquet"))
