from __future__ import annotations

import gzip
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from batch_fracture.codes import Code
from batch_fracture.errors import SourceError
from batch_fracture.store import list_images, read_bytes
from batch_fracture.store.bucket import Access, s3_client
from batch_fracture.store.lists import is_list


def put(bucket: str, key: str, body: bytes = b"content") -> str:
    s3_client(Access()).put_object(Bucket=bucket, Key=key, Body=body)
    return f"s3://{bucket}/{key}"


def listed(tmp_path: Path, text: str, **patterns: tuple[str, ...]) -> list[dict[str, object]]:
    (tmp_path / "list.csv").write_text(text)
    rows: list[dict[str, object]] = list_images((str(tmp_path / "list.csv"),), **patterns).to_pylist()
    return rows


def test_what_is_a_list(tmp_path: Path) -> None:
    (tmp_path / "folder.csv").mkdir()
    (tmp_path / "list.csv").touch()
    assert is_list(str(tmp_path / "list.csv"))
    assert not is_list(str(tmp_path / "folder.csv"))
    for name in ("x.csv", "x.csv.gz", "x.parquet", "2026-01-01/manifest.json"):
        assert is_list(f"s3://b/{name}")
    assert not is_list("s3://b/x.png")


def test_a_csv_inside_a_folder_is_an_object(tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_text("image_uri\nx\n")
    assert list_images((str(tmp_path),))["image_uri"].to_pylist() == [str(tmp_path / "list.csv")]


def test_paths_absolute_relative_and_as_file_uris(tmp_path: Path) -> None:
    folder = tmp_path / "scans"
    folder.mkdir()
    for name in ("a.png", "b 1.png", "c.png", "007"):
        (folder / name).write_bytes(b"12345")
    rows = listed(
        tmp_path,
        f"path,ward\n{folder}/a.png,1\nfile://{folder}/b%201.png,2\nscans/../scans/c.png,3\nscans/007,4\n",
    )
    assert [row["image_uri"] for row in rows] == [
        str(folder / n) for n in ("007", "a.png", "b 1.png", "c.png")
    ]
    assert rows == list_images((str(folder),)).to_pylist()


def test_two_slashes_at_the_root_are_one(tmp_path: Path) -> None:
    (tmp_path / "x.png").write_bytes(b"1")
    rows = listed(
        tmp_path, f"uri\n/{tmp_path}/x.png\nfile:///{tmp_path}/x.png\nfile://localhost/{tmp_path}/x.png\n"
    )
    assert [row["image_uri"] for row in rows] == [f"{tmp_path}/x.png"]


def test_rows_of_a_bucket_with_and_without_versions(bucket: str, tmp_path: Path) -> None:
    known, asked, odd = put(bucket, "known"), put(bucket, "dir/asked ü"), put(bucket, "tab\there")
    etag = "9a0364b9e99bb480dd25e1f0284c8555"
    rows = listed(
        tmp_path,
        "URI,ETag,Size,Last_Modified\n"
        f'{known},"""{etag}""",7,2026-01-02 03:04:05\n{asked},,,\n"{odd}",,,\n'
        f"s3://{bucket}/gone,,,\ns3://{bucket}/gone\there,,,\ns3://no-such-bucket-here/x,,,\n",
    )
    found = {str(row["image_uri"]): row for row in rows}
    for uri in (known, asked, odd):
        assert (found[uri]["image_version"], found[uri]["size_bytes"]) == (etag, 7)
        assert read_bytes(uri, etag, 7) == b"content"
    assert str(found[known]["modified_at"]) == "2026-01-02 03:04:05+00:00"
    assert found[asked]["modified_at"] is not None
    gone = [row for row in rows if row["listing_code"]]
    assert [row["listing_code"] for row in gone] == [Code.GONE] * 3
    assert {(row["image_version"], row["size_bytes"], row["modified_at"]) for row in gone} == {
        ("unlisted", 0, None)
    }


def test_a_list_in_a_bucket_and_its_relative_keys(bucket: str) -> None:
    put(bucket, "lists/scans/x.png")
    body = gzip.compress(b"\xef\xbb\xbfimage_uri\nscans/x.png\n")
    table = list_images((put(bucket, "lists/tonight.csv.gz", body),))
    assert table["image_uri"].to_pylist() == [f"s3://{bucket}/lists/scans/x.png"]
    assert table["size_bytes"].to_pylist() == [7]
    with pytest.raises(SourceError, match=r"nowhere.csv.*no such object"):
        list_images((f"s3://{bucket}/nowhere.csv",))


def test_a_parquet_list_keeps_odd_names(tmp_path: Path) -> None:
    uris = ["s3://b/new\nline", "s3://b/a%20b", "s3://b/c,d", "s3://b/folder/"]
    table = pa.table(
        {
            "image_uri": pa.array(uris).dictionary_encode(),
            "e_tag": pa.array(["1", "2", "3", "4"], pa.large_string()),
            "size_bytes": pa.array([1, 2, 3, 0], pa.int32()),
            "modified_at": pa.array([10**9] * 4, pa.timestamp("ns")),
        }
    )
    pq.write_table(table, tmp_path / "list.parquet")
    rows = list_images((str(tmp_path / "list.parquet"),)).to_pylist()
    assert [row["image_uri"] for row in rows] == sorted(uris)
    assert [row["listing_code"] for row in rows] == [None, None, Code.NOT_AN_IMAGE, None]
    assert str(rows[0]["modified_at"]) == "1970-01-01 00:00:01+00:00"


def test_patterns_see_the_whole_uri(tmp_path: Path) -> None:
    text = "uri,etag,size\ns3://b/x/1.dcm,a,1\ns3://b/y/2.dcm,a,1\ns3://b/y/3.txt,a,1\n"
    rows = listed(tmp_path, text, include=("*.dcm",), exclude=("s3://b/x/*",))
    assert [row["image_uri"] for row in rows] == ["s3://b/y/2.dcm"]


def test_a_list_and_a_folder_name_an_image_once(tmp_path: Path) -> None:
    (tmp_path / "scans").mkdir()
    (tmp_path / "scans" / "x.png").write_bytes(b"1")
    (tmp_path / "list.csv").write_text("path\nscans/x.png\nscans/x.png\n")
    assert list_images((str(tmp_path / "list.csv"), str(tmp_path / "scans"))).num_rows == 1


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("name,size\nx,1\n", "no column image_uri"),
        ('uri\nx\n""\n', "row 2: the URI is empty"),
        ("uri\nx\nftp://b/x\n", "row 2: the URI is of an unknown kind"),
        ("uri\nfile://host/x\n", "row 1: the URI is of an unknown kind"),
        ("uri\ns3://b\n", "row 1: the URI names no object"),
        ("uri,size\ns3://b/x,7\ns3://b/y,many\n", r"row 2: the size is not one \(int64\)"),
        ("uri,modified_at\ns3://b/x,today\n", "row 1: the modifiedat is not one"),
        ("uri,size\ns3://b/x\n", "cannot be read as CSV"),
    ],
)
def test_a_malformed_list_is_refused_with_its_row(tmp_path: Path, text: str, complaint: str) -> None:
    with pytest.raises(SourceError, match=f"list.csv'.*{complaint}"):
        listed(tmp_path, text)


def test_empty_lists(tmp_path: Path) -> None:
    assert listed(tmp_path, "") == []
    assert listed(tmp_path, "uri") == listed(tmp_path, "uri\n") == []
    assert len(listed(tmp_path, "uri,etag,size\ns3://b/x,e,1")) == 1
    (tmp_path / "list.parquet").write_bytes(b"no parquet")
    with pytest.raises(SourceError, match="cannot be read as Parquet"):
        list_images((str(tmp_path / "list.parquet"),))
