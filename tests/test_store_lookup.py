from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest
from test_store_disk import as_another_user, open_to_all

from batch_fracture import schema
from batch_fracture.codes import Code
from batch_fracture.errors import StoreError
from batch_fracture.store.bucket import Access, forget_clients, s3_client
from batch_fracture.store.lookup import complete


def test_what_is_known_is_not_asked_for() -> None:
    batch = complete(
        ["s3://nowhere/x", "/nowhere"],
        pa.array(["e", "1-1"]),
        pa.array([1, 1]),
        None,
        None,
        Access(s3_endpoint="http://127.0.0.1:9"),
    )
    assert batch.schema.equals(schema.LISTING)
    assert batch["image_version"].to_pylist() == ["e", "1-1"]
    assert batch["modified_at"].null_count == 2


def test_a_given_version_stays(bucket: str) -> None:
    s3_client(Access()).put_object(Bucket=bucket, Key="x", Body=b"12345")
    batch = complete([f"s3://{bucket}/x"], pa.array(["older"]), None, None, None, Access())
    assert (batch["image_version"][0].as_py(), batch["size_bytes"][0].as_py()) == ("older", 5)


@pytest.mark.parametrize("key", ["x", "x\t"])
def test_denied_is_a_code(bucket: str, key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    forget_clients()
    batch = complete([f"s3://{bucket}/{key}"], None, None, None, None, Access())
    assert batch["listing_code"].to_pylist() == [Code.ACCESS_DENIED]


def test_paths_that_are_not_there_or_may_not_be_seen(tmp_path: Path) -> None:
    open_to_all(tmp_path)
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o000)
    with as_another_user():
        batch = complete([f"{tmp_path}/none", f"{closed}/x", "/a\0b"], None, None, None, None, Access())
    closed.chmod(0o755)
    assert batch["listing_code"].to_pylist() == [Code.GONE, Code.ACCESS_DENIED, Code.GONE]
    assert batch["modified_at"].null_count == 3


def test_a_store_that_does_not_answer_ends_the_listing(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("batch_fracture.store.bucket").store.bucket._RETRY, "max_retries", 0)
    with pytest.raises(StoreError, match="source 's3://bucket'"):
        complete(["s3://bucket/x"], None, None, None, None, Access(s3_endpoint="http://127.0.0.1:9"))
