from __future__ import annotations

import gzip
import hashlib
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from batch_fracture.codes import Code
from batch_fracture.errors import SourceError
from batch_fracture.store import list_images
from batch_fracture.store.bucket import Access, s3_client

SCHEMA = "Bucket, Key, VersionId, IsLatest, IsDeleteMarker, Size, LastModifiedDate, ETag, StorageClass"
KEY = "inv/source/daily/data/part-0.csv.gz"


def row(key: str, *, latest: str = "true", deleted: str = "false", size: str = "7", etag: str = "e") -> str:
    return ",".join(
        f'"{value}"'
        for value in (
            "source",
            key,
            "v1",
            latest,
            deleted,
            size,
            "2026-01-02T03:04:05.000Z",
            etag,
            "STANDARD",
        )
    )


def manifest(body: bytes, **changes: Any) -> dict[str, Any]:
    return {
        "sourceBucket": "source",
        "destinationBucket": "arn:aws:s3:::destination",
        "version": "2016-11-30",
        "fileFormat": "CSV",
        "fileSchema": SCHEMA,
        "files": [
            {
                "key": KEY,
                "size": len(body),
                "MD5checksum": hashlib.md5(body, usedforsecurity=False).hexdigest(),
            }
        ],
        **changes,
    }


def on_disk(folder: Path, body: bytes, *, below: str = "part-0.csv.gz", **changes: Any) -> str:
    (folder / below).parent.mkdir(parents=True, exist_ok=True)
    (folder / below).write_bytes(body)
    (folder / "manifest.json").write_text(json.dumps(manifest(body, **changes)))
    return str(folder / "manifest.json")


@pytest.mark.parametrize("below", ["part-0.csv.gz", "data/part-0.csv.gz", KEY])
def test_a_csv_inventory_beside_its_manifest_or_below(tmp_path: Path, below: str) -> None:
    body = gzip.compress(
        "\n".join(
            [
                row("scans/a+b%2Bc%2520%0A.dcm"),
                row("scans/old.dcm", latest="false"),
                row("scans/deleted.dcm", deleted="true", size="", etag=""),
                row("scans/", size="0"),
                row("bad%FF.png"),
            ]
        ).encode()
    )
    rows = list_images((on_disk(tmp_path, body, below=below),)).to_pylist()
    assert [(r["image_uri"], r["listing_code"]) for r in rows] == [
        ("s3://source/bad\\xff.png", Code.NAME_UNREADABLE),
        ("s3://source/scans/", Code.NOT_AN_IMAGE),
        ("s3://source/scans/a b+c%20\n.dcm", None),
    ]
    assert (rows[2]["image_version"], rows[2]["size_bytes"]) == ("e", 7)
    assert str(rows[2]["modified_at"]) == "2026-01-02 03:04:05+00:00"


def test_a_parquet_inventory_has_plain_keys(tmp_path: Path) -> None:
    table = pa.table(
        {
            "bucket": ["source"] * 3,
            "key": ["a+b%20.dcm", "x/y.dcm", "old"],
            "is_latest": [True, True, False],
            "is_delete_marker": [False] * 3,
            "size": pa.array([1, 2, 3], pa.int64()),
            "last_modified_date": pa.array([1_700_000_000_000] * 3, pa.timestamp("ms")),
            "e_tag": ["1", "2", "3"],
        }
    )
    pq.write_table(table, tmp_path / "x.parquet")
    body = (tmp_path / "x.parquet").read_bytes()
    source = on_disk(
        tmp_path, body, below="part-0.csv.gz", fileFormat="Parquet", fileSchema="message s3.inventory {}"
    )
    found = list_images((source,), exclude=("x/*",))
    assert found["image_uri"].to_pylist() == ["s3://source/a+b%20.dcm"]


def test_an_inventory_in_a_bucket_and_what_it_leaves_open(bucket: str) -> None:
    client = s3_client(Access())
    client.put_object(Bucket=bucket, Key="x.png", Body=b"content")
    body = gzip.compress(f'"{bucket}","x.png"\n"{bucket}","gone.png"\n'.encode())
    said = manifest(
        body, sourceBucket=bucket, destinationBucket=f"arn:aws:s3:::{bucket}", fileSchema="Bucket, Key"
    )
    client.put_object(Bucket=bucket, Key=KEY, Body=body)
    client.put_object(Bucket=bucket, Key="inv/manifest.json", Body=json.dumps(said).encode())
    rows = list_images((f"s3://{bucket}/inv/manifest.json",)).to_pylist()
    assert [(r["image_uri"], r["size_bytes"], r["listing_code"]) for r in rows] == [
        (f"s3://{bucket}/gone.png", 0, Code.GONE),
        (f"s3://{bucket}/x.png", 7, None),
    ]


def test_what_is_no_inventory_is_refused(tmp_path: Path) -> None:
    body = gzip.compress(row("x").encode())
    with pytest.raises(SourceError, match="ORC is not read here; have S3 write Parquet or CSV"):
        list_images((on_disk(tmp_path, body, fileFormat="ORC"),))
    with pytest.raises(SourceError, match=r"part-0.csv.gz'.*MD5"):
        list_images((on_disk(tmp_path, body, files=[{"key": KEY, "MD5checksum": "0" * 32}]),))
    with pytest.raises(SourceError, match="neither beside it nor below"):
        list_images((on_disk(tmp_path, body, files=[{"key": "elsewhere/none.csv.gz"}]),))
    with pytest.raises(SourceError, match="no column Key"):
        list_images((on_disk(tmp_path, body, fileSchema="Bucket, Name"),))
    (tmp_path / "manifest.json").write_text("[]")
    with pytest.raises(SourceError, match="no manifest of an S3 Inventory"):
        list_images((str(tmp_path / "manifest.json"),))
