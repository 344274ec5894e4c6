from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pyarrow as pa
import pytest

from batch_fracture import schema
from batch_fracture.codes import Code
from batch_fracture.errors import ImageError, SourceError
from batch_fracture.store import disk, list_images, read_bytes


@contextmanager
def as_another_user() -> Iterator[None]:
    """Root reads everything; another user does not."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


def open_to_all(folder: Path) -> None:
    """Let other users into a test's folder: all above it that pytest made is its user's alone."""
    for one in (folder, *folder.parents):
        if one == Path(tempfile.gettempdir()):
            return
        one.chmod(0o755)


def listed(*sources: Path, **patterns: tuple[str, ...]) -> pa.Table:
    return list_images(tuple(map(str, sources)), **patterns)


def uris(table: pa.Table) -> list[str]:
    return table["image_uri"].to_pylist()


def test_lists_every_file_with_size_and_time(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "one.jpg").write_bytes(b"12345")
    (tmp_path / ".hidden").write_bytes(b"")
    os.utime(tmp_path / "a" / "b" / "one.jpg", ns=(0, 1_700_000_000_123_456_789))
    table = listed(tmp_path)
    assert table.schema.equals(schema.LISTING)
    assert uris(table) == [str(tmp_path / ".hidden"), str(tmp_path / "a" / "b" / "one.jpg")]
    row = table.slice(1).to_pylist()[0]
    assert row["size_bytes"] == 5
    assert row["image_version"] == "5-1700000000123456789"
    assert row["modified_at"].timestamp() == pytest.approx(1_700_000_000.123456)
    assert row["listing_code"] is None


def test_an_empty_folder_is_an_empty_listing(tmp_path: Path) -> None:
    assert listed(tmp_path).num_rows == 0


def test_overlapping_sources_are_listed_once(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "x").write_bytes(b"x")
    (tmp_path / "again").symlink_to(tmp_path / "sub")
    for sources in [
        (tmp_path, tmp_path / "sub"),
        (tmp_path / "sub", tmp_path),
        (tmp_path / "sub" / "x", tmp_path),
    ]:
        assert uris(listed(*sources)) == [str(tmp_path / "sub" / "x")]


def test_linked_folders_are_entered_once_and_loops_end(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "x").write_bytes(b"x")
    (tmp_path / "a-link").symlink_to(tmp_path / "real")
    (tmp_path / "real" / "loop").symlink_to(tmp_path)
    assert uris(listed(tmp_path)) == [str(tmp_path / "real" / "x")]


def test_a_broken_link_is_one_entry(tmp_path: Path) -> None:
    (tmp_path / "broken").symlink_to(tmp_path / "nowhere")
    (tmp_path / "self").symlink_to(tmp_path / "self")
    assert listed(tmp_path)["listing_code"].to_pylist() == [Code.GONE, Code.GONE]


def test_odd_names(tmp_path: Path) -> None:
    (tmp_path / "new\nline").write_bytes(b"1")
    (tmp_path / "X#12 %20.png").write_bytes(b"2")
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/bad\xff.jpg")).write_bytes(b"3")
    rows = {Path(row["image_uri"]).name: row["listing_code"] for row in listed(tmp_path).to_pylist()}
    assert rows == {"new\nline": None, "X#12 %20.png": None, "bad\\xff.jpg": Code.NAME_UNREADABLE}


def test_two_names_that_become_one_are_refused(tmp_path: Path) -> None:
    (tmp_path / "bad\\xff").write_bytes(b"1")
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/bad\xff")).write_bytes(b"2")
    with pytest.raises(SourceError, match="1 names stand for two objects"):
        listed(tmp_path)


def test_a_closed_folder_is_one_entry(tmp_path: Path) -> None:
    open_to_all(tmp_path)
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o000)
    (tmp_path / "open.jpg").write_bytes(b"")
    with as_another_user():
        table = listed(tmp_path)
    closed.chmod(0o755)
    assert table.select(["image_uri", "listing_code"]).to_pylist() == [
        {"image_uri": f"{closed}/", "listing_code": Code.ACCESS_DENIED},
        {"image_uri": str(tmp_path / "open.jpg"), "listing_code": None},
    ]


def test_include_and_exclude_match_below_the_source(tmp_path: Path) -> None:
    for name in ("a/1.dcm", "a/2.txt", "b/3.dcm"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    assert uris(listed(tmp_path, include=("*.dcm",))) == [
        str(tmp_path / "a/1.dcm"),
        str(tmp_path / "b/3.dcm"),
    ]
    assert uris(listed(tmp_path, include=("*.dcm",), exclude=("b/*",))) == [str(tmp_path / "a/1.dcm")]


def test_a_folder_that_may_be_listed_but_not_entered(tmp_path: Path) -> None:
    open_to_all(tmp_path)
    half = tmp_path / "half"
    half.mkdir()
    (half / "x.jpg").touch()
    (half / "link").symlink_to(tmp_path)
    half.chmod(0o744)
    with as_another_user():
        table = listed(tmp_path)
    half.chmod(0o755)
    assert uris(table) == [str(half / "link"), str(half / "x.jpg")]
    assert table["listing_code"].to_pylist() == [Code.ACCESS_DENIED] * 2


def test_results_behind_a_link_are_left_out(tmp_path: Path) -> None:
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "x.parquet").touch()
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "link").symlink_to(tmp_path / "results")
    (tmp_path / "a" / "y.jpg").touch()
    table = list_images((str(tmp_path / "a"),), leave_out=tmp_path / "results")
    assert uris(table) == [str(tmp_path / "a" / "y.jpg")]


def test_times_that_no_tool_can_hold_are_clamped(tmp_path: Path) -> None:
    far = disk._entry("/x", SimpleNamespace(st_size=5, st_mtime_ns=10**21))
    assert far.modified_at == disk._LAST_US
    assert far.image_version == "5-1000000000000000000000"


def test_a_missing_source_is_named(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"nowhere.*No such file"):
        listed(tmp_path / "nowhere")


def version(path: Path) -> str:
    status = path.stat()
    return f"{status.st_size}-{status.st_mtime_ns}"


def test_reads_the_listed_version(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"content")
    assert read_bytes(str(path), version(path)) == b"content"


def test_what_cannot_be_read_has_a_code(tmp_path: Path) -> None:
    open_to_all(tmp_path)
    path = tmp_path / "x"
    path.write_bytes(b"content")
    before = version(path)
    os.utime(path, ns=(0, time.time_ns() + 10**9))
    (tmp_path / "pipe").touch()
    (tmp_path / "pipe").unlink()
    os.mkfifo(tmp_path / "pipe")
    path.chmod(0o000)
    cases = [
        (str(path), before, Code.ACCESS_DENIED),
        (str(tmp_path / "gone"), "1-1", Code.GONE),
        (str(tmp_path / "pipe"), version(tmp_path / "pipe"), Code.NOT_AN_IMAGE),
        (str(tmp_path), version(tmp_path), Code.NOT_AN_IMAGE),
    ]
    for uri, listed_version, code in cases:
        with as_another_user(), pytest.raises(ImageError) as caught:
            read_bytes(uri, listed_version)
        assert caught.value.code is code, uri
    path.chmod(0o644)
    with pytest.raises(ImageError) as caught:
        read_bytes(str(path), before)
    assert caught.value.code is Code.CHANGED
