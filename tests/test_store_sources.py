from __future__ import annotations

import os
from pathlib import Path

import pytest

from batch_fracture.errors import ConfigError
from batch_fracture.store.sources import lies_inside, outermost


def test_sources_are_absolute_sorted_and_outermost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert outermost(("b/../b/c", "b", "a", "./a/")) == (f"{tmp_path}/a", f"{tmp_path}/b")
    assert outermost(("s3://b/x/y", "s3://b/x/", "s3://b/xy", "gs://b")) == (
        "gs://b/",
        "s3://b/x",
        "s3://b/xy",
    )
    assert outermost(("s3://b", "s3://b/x")) == ("s3://b/",)


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
