from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from faulty_proxy import FaultyProxy, serve_faults

from batch_fracture.codes import Code
from batch_fracture.errors import ImageError
from batch_fracture.store import bucket as buckets
from batch_fracture.store import list_images, read_bytes
from batch_fracture.store.bucket import FROM_ENVIRONMENT, Access, forget_clients, s3_client
from batch_fracture.store.reading import FETCH_LIMIT_S, SHORT_WITHIN_S, plain

CONTENT = bytes(range(256)) * 1000
ODD = ("tab\there", "new\nline", "\x01", "del\x7f")
"""Names that only boto3 can ask for."""


@pytest.fixture
def proxy(bucket: str, s3_server: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultyProxy]:
    """In front of a bucket that holds one image under a plain and an odd name; a stall is noticed soon."""
    monkeypatch.setattr(buckets, "READ_WITHIN_S", 1)
    forget_clients()
    for key in ("plain.png", "odd\t.png"):
        s3_client(Access()).put_object(Bucket=bucket, Key=key, Body=CONTENT)
    with serve_faults(s3_server) as made:
        yield made
    forget_clients()


def listed(uri: str) -> tuple[str, str, int]:
    (row,) = list_images((uri,)).to_pylist()
    return row["image_uri"], row["image_version"], row["size_bytes"]


def put(bucket: str, key: str, body: bytes = CONTENT) -> tuple[str, str, int]:
    s3_client(Access()).put_object(Bucket=bucket, Key=key, Body=body)
    return listed(f"s3://{bucket}/{key}")


def code_of(entry: tuple[str, str, int], access: Access = FROM_ENVIRONMENT) -> Code:
    with pytest.raises(ImageError) as caught:
        read_bytes(*entry, access)
    assert "s3://" not in caught.value.message
    assert Path(entry[0]).name not in caught.value.message
    return caught.value.code


def test_which_keys_obstore_can_name() -> None:
    assert all(map(plain, ["a", "a/b.c", "sp ace", "pl+us", "%20", "a#?*", "ü\U0001f600", ".hidden", "..."]))
    assert not any(map(plain, [*ODD, "dir/", "/a", "a//b", "./a", "a/../b", ""]))


@pytest.mark.parametrize("key", ["plain.png", "odd\t.png"])
def test_a_changed_object_is_changed_and_a_deleted_one_is_gone(bucket: str, key: str) -> None:
    entry = put(bucket, key)
    assert read_bytes(*entry) == CONTENT
    put(bucket, key, b"other")
    assert code_of(entry) is Code.CHANGED
    s3_client(Access()).delete_object(Bucket=bucket, Key=key)
    assert code_of(entry) is Code.GONE


@pytest.mark.parametrize("key", ["plain.png", "odd\t.png"])
def test_empty_objects_and_wrong_sizes(bucket: str, key: str) -> None:
    uri, version, size = put(bucket, key, b"")
    assert (size, read_bytes(uri, version, size)) == (0, b"")
    assert code_of((uri, version, 5)) is Code.STORE_ERROR


@pytest.mark.parametrize("key", ["plain.png", "odd\t.png"])
def test_wrong_credentials_are_access_denied(bucket: str, key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    entry = put(bucket, key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    forget_clients()
    assert code_of(entry) is Code.ACCESS_DENIED


@pytest.mark.parametrize("key", ["plain.png", "odd\t.png"])
@pytest.mark.parametrize(
    "faults",
    [
        ["slow-down", "reset"],
        ["500"],
        ["cut", "cut"],
        ["stall"],
        ["lie"],
    ],
)
def test_passing_faults_are_survived(bucket: str, proxy: FaultyProxy, key: str, faults: list[str]) -> None:
    proxy.faults = list(faults)
    entry = listed(f"s3://{bucket}/{key}")
    assert read_bytes(*entry, Access(s3_endpoint=proxy.endpoint)) == CONTENT
    assert proxy.faults == []


@pytest.mark.parametrize("key", ["plain.png", "odd\t.png"])
@pytest.mark.parametrize("fault", ["slow-down", "reset", "cut", "lie", "stall"])
def test_lasting_faults_end_in_bounded_time(
    bucket: str, proxy: FaultyProxy, key: str, fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(buckets, "MAX_RETRIES", 1)
    monkeypatch.setitem(buckets._RETRY, "max_retries", 1)
    forget_clients()
    proxy.always = fault
    entry = listed(f"s3://{bucket}/{key}")
    began = time.monotonic()
    assert code_of(entry, Access(s3_endpoint=proxy.endpoint)) is Code.STORE_ERROR
    assert time.monotonic() - began < 15


@pytest.mark.parametrize("key", ["a//b.png", "/lead.png", "a/../b.png", "./a.png"])
def test_keys_that_look_like_paths_are_asked_for_as_they_are(proxy: FaultyProxy, key: str) -> None:
    proxy.always = "archived"  # the test server itself would fold them
    assert code_of((f"s3://b/{key}", "e", 1), Access(s3_endpoint=proxy.endpoint)) is Code.ACCESS_DENIED
    assert proxy.asked == [f"/b/{key}"]


@pytest.mark.parametrize("key", ["plain.png", "odd\t.png"])
def test_an_archived_object_says_so(bucket: str, proxy: FaultyProxy, key: str) -> None:
    proxy.always = "archived"
    with pytest.raises(ImageError, match="archive storage class") as caught:
        read_bytes(*listed(f"s3://{bucket}/{key}"), Access(s3_endpoint=proxy.endpoint))
    assert caught.value.code is Code.ACCESS_DENIED


def test_the_alarm_of_a_fetch_is_longer_than_its_retries() -> None:
    longest = buckets.RETRY_WITHIN_S + buckets.REQUEST_WITHIN_S
    assert SHORT_WITHIN_S + longest < FETCH_LIMIT_S
    attempts = buckets.MAX_RETRIES + 1
    assert SHORT_WITHIN_S + attempts * buckets.READ_WITHIN_S + 2**attempts / 2 < FETCH_LIMIT_S
