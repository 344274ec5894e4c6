from __future__ import annotations

import gzip
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pytest

from batch_fracture.errors import SourceError
from batch_fracture.store import list_files
from batch_fracture.store.bucket import Access
from batch_fracture.store.list_files import Rows, at_hand, read_rows


def test_every_csv_column_is_text(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text('A Name,other\n007,"a ""b"",\nc"\n1.0,x')
    (rows,) = read_rows(path, "x.csv", name="x.csv")
    assert rows.column(pa.string(), "nothing", "aname").to_pylist() == ["007", "1.0"]
    assert rows.column(pa.string(), "other").to_pylist() == ['a "b",\nc', "x"]
    assert rows.column(pa.string(), "nothing") is None


def test_rows_are_numbered_across_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(list_files, "_CSV_BLOCK_BYTES", 64)
    path = tmp_path / "x.csv"
    path.write_text("n\n" + "".join(f"{number}\n" for number in range(1000)) + "bad\n")
    seen = 0
    with pytest.raises(SourceError, match="row 1,001: the n is not one"):
        for rows in read_rows(path, "x.csv", name="x.csv"):
            assert rows.first == seen + 1
            seen += len(rows.column(pa.int64(), "n"))
    assert 900 < seen < 1000


@pytest.mark.parametrize("text", ["a", "a\n", "a\nb", "a\nb\n", "a\r\nb\r\n"])
def test_the_last_line_needs_no_newline(tmp_path: Path, text: str) -> None:
    path = tmp_path / "x.csv.gz"
    path.write_bytes(gzip.compress(text.encode()))
    found = [
        rows.column(pa.string(), "key") for rows in read_rows(path, "x", name=path.name, columns=["Key"])
    ]
    assert [key for column in found for key in column.to_pylist()] == text.split()


@pytest.mark.parametrize("body", [b"no gzip", gzip.compress(b"uri\n" * 999, mtime=0)[:20]])
def test_a_damaged_file_is_named(tmp_path: Path, body: bytes) -> None:
    path = tmp_path / "x.csv.gz"
    path.write_bytes(body)
    with pytest.raises(SourceError, match=r"list 'the list': it cannot be read as CSV.*save it as UTF-8"):
        list(read_rows(path, "the list", name=path.name))


def test_a_large_list_that_breaks_off_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(list_files, "_CSV_BLOCK_BYTES", 64)
    path = tmp_path / "x.csv.gz"
    path.write_bytes(gzip.compress("".join(f"{number:x}\n" for number in range(9999)).encode())[:-100])
    with pytest.raises(SourceError, match="it cannot be read as CSV"):
        list(read_rows(path, "the list", name=path.name))


@pytest.mark.parametrize("rows", [5, 99_999])
def test_a_list_that_is_not_utf_8(tmp_path: Path, rows: int) -> None:
    path = tmp_path / "x.csv"
    path.write_text("image_uri\n" + "/a/b.png\n" * rows, encoding="utf-16")
    with pytest.raises(SourceError, match="save it as UTF-8"):
        list(read_rows(path, "the list", name=path.name))


@pytest.mark.slow
def test_such_a_list_never_aborts_the_process(tmp_path: Path) -> None:
    """Arrow once read ahead from a Python object; as the process ended, one time in eight it died."""
    path = tmp_path / "x.csv"
    path.write_text("image_uri\n/a/b.png\n", encoding="utf-16")
    command = [sys.executable, "-m", "batch_fracture", "run", str(path), "--results", str(tmp_path / "r")]
    codes = [
        subprocess.run([*command, "--dry-run"], capture_output=True, check=False).returncode
        for _ in range(10)
    ]
    assert codes == [2] * 10


def test_times_are_utc_unless_they_say_otherwise() -> None:
    texts = ["2026-01-02 03:04:05", "2026-01-02T03:04:05.5Z", "2026-01-02T03:04:05+01:00", ""]
    rows = Rows("x", 1, {"t": pa.array(texts), "u": pa.array([1], pa.timestamp("ns"))})
    kind = pa.timestamp("us", "UTC")
    assert [t and t.strftime("%H:%M:%S.%f") for t in rows.column(kind, "t").to_pylist()] == [
        *("03:04:05.000000", "03:04:05.500000", "02:04:05.000000", None)
    ]
    assert rows.column(kind, "u").type == kind


def test_a_file_on_disk_is_read_where_it_lies(tmp_path: Path) -> None:
    with at_hand(str(tmp_path / "x"), Access()) as path:
        assert path == tmp_path / "x"
