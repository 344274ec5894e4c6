from __future__ import annotations

import os
from pathlib import Path

import pytest

from batch_fracture.errors import ConfigError
from batch_fracture.store.sources import lies_inside, meant, outermost


def test_sources_are_absolute_sorted_and_outermost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert outermost(("b/../b/c", "b", "a", "./a/")) == (f"{tmp_path}/a", f"{tmp_path}/b")
    assert outermost(("s3://b/x/y", "s3://b/x/", "s3://b/xy", "gs://b")) == (
        "gs://b/",
        "s3://b/x",
        "s3://b/xy",
    )
    assert outermost(("s3://b", "s3://b/x")) == ("s3://b/",)


def test_two_slashes_at_the_root_are_one(tmp_path: Path) -> None:
    assert outermost((f"/{tmp_path}/a/..", str(tmp_path), f"//{tmp_path}")) == (str(tmp_path),)
    assert lies_inside(f"/{tmp_path}/results", str(tmp_path))


@pytest.mark.parametrize(
    ("location", "uri"),
    [
        ("s3:/res/r", "s3://res/r"),
        ("file:/x", "file://x"),
        ("s3://res/r", None),
        ("./s3:/res/r", None),
        ("/a/s3:/r", None),
        ("s3:", None),
        ("12:/x", None),
    ],
)
def test_a_missing_slash_is_noticed(location: str, uri: str | None) -> None:
    assert meant(location) == uri


def test_a_source_with_a_missing_slash_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"source 's3:/b/x': was 's3://b/x' meant\?"):
        outermost(("s3:/b/x",))


@pytest.mark.parametrize("source", ["", "ftp://host/x", os.fsdecode(b"/bad\xff")])
def test_what_is_no_source_is_refused(source: str) -> None:
    with pytest.raises(ConfigError, match=r"SOURCE|source"):
        outermost((source,))


def test_what_lies_inside(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "real")
    (tmp_path / "real").mkdir()
    assert lies_inside(str(tmp_path / "link" / "x"), str(tmp_path / "real"))
    assert not lies_inside(str(tmp_path / "realm"), str(tmp_path / "real"))
    assert lies_inside("s3://b/x/results", "s3://b/x")
    assert lies_inside("s3://b/x/", "s3://b/x")
    assert not lies_inside("s3://b/xy", "s3://b/x")
    assert not lies_inside(str(tmp_path), "s3://b/x")
