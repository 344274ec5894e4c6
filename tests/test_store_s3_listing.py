from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import obstore
import pytest
from botocore.exceptions import ClientError
from faulty_proxy import serve_faults

from batch_fracture.codes import Code
from batch_fracture.errors import SourceError, StoreError
from batch_fracture.store import list_images, read_bytes, s3_listing, s3_pages
from batch_fracture.store.bucket import Access, forget_clients, open_bucket, s3_client
from batch_fracture.store.s3_pages import Page, Pages

ODD_KEYS = (
    *(" lead", "trail ", "sp ace", "pl+us", "a%20b", "100%", "h#sh", "q?m", "st*r", "at@", "e=q"),
    *("uml\u00e4ut", "emoji\U0001f600", "tab\there", "new\nline", "\x01", "del\x7f"),
    *("q'\"q", "amp&<>", "c,omma;", "br[a]{c}|^`~", "a/x", "a-b/x", "a.b/x", "deep/er/and/deeper/x"),
)


def put(bucket: str, *keys: str, body: bytes = b"content") -> None:
    client = s3_client(Access())
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda key: client.put_object(Bucket=bucket, Key=key, Body=body), keys))


def keys_of(source: str, bucket: str, **patterns: tuple[str, ...]) -> list[str]:
    uris = list_images((source,), **patterns)["image_uri"].to_pylist()
    assert uris == sorted(uris)
    return [uri.removeprefix(f"s3://{bucket}/") for uri in uris]


def test_every_odd_key_is_one_row_and_can_be_read(bucket: str) -> None:
    put(bucket, *ODD_KEYS)
    rows = list_images((f"s3://{bucket}/",)).to_pylist()
    assert {row["image_uri"] for row in rows} == {f"s3://{bucket}/{key}" for key in ODD_KEYS}
    for row in rows:
        assert (row["size_bytes"], row["listing_code"]) == (7, None)
        assert row["image_version"] == "9a0364b9e99bb480dd25e1f0284c8555"  # MD5 of the content
        assert read_bytes(row["image_uri"], row["image_version"], 7) == b"content", row


def test_a_folder_marker_is_a_row_and_no_image(bucket: str) -> None:
    put(bucket, "scans/", "scans/inner/", body=b"")
    put(bucket, "scans/inner/x.png")
    rows = {row["image_uri"]: row["listing_code"] for row in list_images((f"s3://{bucket}/",)).to_pylist()}
    assert rows == {
        f"s3://{bucket}/scans/": Code.NOT_AN_IMAGE,
        f"s3://{bucket}/scans/inner/": Code.NOT_AN_IMAGE,
        f"s3://{bucket}/scans/inner/x.png": None,
    }


def test_pages_and_nested_prefixes(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    nested = [f"y{number % 5}/m{number % 7}/d{number}/x" for number in range(300)]
    flat = [f"y1/flat-{number:04d}" for number in range(2300)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda key: obstore.put(open_bucket("s3", bucket, Access()), key, b"x"), nested + flat))
    expected = sorted(nested + flat)
    asked, split = list[str](), s3_listing._split

    def watched(pages: Pages, above: str, *others: Any) -> list[str] | None:
        asked.append(above)
        return split(pages, above, *others)

    monkeypatch.setattr(s3_listing, "_split", watched)
    assert keys_of(f"s3://{bucket}/", bucket) == expected
    assert asked == ["", "y1/"]  # the others fit in a page
    monkeypatch.setattr(s3_pages, "MAX_KEYS", 40)
    assert keys_of(f"s3://{bucket}/", bucket) == expected
    assert set(asked) >= {"", "y0/", "y1/", "y4/"}
    monkeypatch.setattr(s3_listing, "ENOUGH_TASKS", 0)
    assert keys_of(f"s3://{bucket}/y1", bucket) == [key for key in expected if key.startswith("y1/")]


def test_a_source_is_a_prefix_or_else_one_object(bucket: str) -> None:
    put(bucket, "scans", "scans-old/x", "scans/a.dcm", "scans/b/c.txt", "alone.dcm", "alone.dcm.bak")
    assert keys_of(f"s3://{bucket}/scans", bucket) == ["scans/a.dcm", "scans/b/c.txt"]
    assert keys_of(f"s3://{bucket}/alone.dcm", bucket) == ["alone.dcm"]
    with pytest.raises(SourceError, match=r"nowhere.*no such prefix"):
        list_images((f"s3://{bucket}/nowhere",))


def test_patterns_see_the_key_below_the_source(bucket: str) -> None:
    put(bucket, "scans/a.dcm", "scans/b/c.txt", "scans/b/d.dcm")
    assert keys_of(f"s3://{bucket}/scans", bucket, include=("*.dcm",)) == ["scans/a.dcm", "scans/b/d.dcm"]
    assert keys_of(f"s3://{bucket}/scans", bucket, exclude=("b/*",)) == ["scans/a.dcm"]
    assert keys_of(f"s3://{bucket}/scans", bucket, include=("scans/*",)) == []


def test_results_in_the_bucket_are_left_out(bucket: str) -> None:
    put(bucket, "results/readings/x.parquet", "results-of-2019/y.png")
    table = list_images((f"s3://{bucket}/",), leave_out=f"s3://{bucket}/results")
    assert table["image_uri"].to_pylist() == [f"s3://{bucket}/results-of-2019/y.png"]


def test_a_policy_that_allows_just_this_prefix(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    put(bucket, "scans/a/1", "scans/a/2", "scans/b/2", "scans/3")
    monkeypatch.setattr(s3_pages, "MAX_KEYS", 3)
    real, refused = Pages.below, list[str]()

    def below(pages: Pages, prefix: str, *, one_level: bool = False) -> Iterator[Page]:
        if prefix != "scans/":
            refused.append(prefix)
            answer = {"Error": {"Code": "AccessDenied"}, "ResponseMetadata": {"HTTPStatusCode": 403}}
            raise ClientError(answer, "ListObjectsV2")
        yield from real(pages, prefix, one_level=one_level)

    monkeypatch.setattr(Pages, "below", below)
    assert keys_of(f"s3://{bucket}/scans", bucket) == ["scans/3", "scans/a/1", "scans/a/2", "scans/b/2"]
    assert refused


def test_pages_that_fail_are_asked_for_again(bucket: str, s3_server: str) -> None:
    put(bucket, "a/x", "b")
    with serve_faults(s3_server) as proxy:
        proxy.listing_faults = ["cut", "slow-down"]
        table = list_images((f"s3://{bucket}/",), access=Access(s3_endpoint=proxy.endpoint))
        assert proxy.listing_faults == []
    assert table["image_uri"].to_pylist() == [f"s3://{bucket}/a/x", f"s3://{bucket}/b"]


def test_an_empty_bucket_is_an_empty_listing(bucket: str) -> None:
    assert list_images((f"s3://{bucket}/",)).num_rows == 0


def test_what_cannot_be_listed_is_one_line(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SourceError, match=r"no-such-bucket-here/'.*no such bucket"):
        list_images(("s3://no-such-bucket-here/",))
    with pytest.raises(StoreError, match="--s3-endpoint"):
        monkeypatch.setattr("batch_fracture.store.bucket.MAX_RETRIES", 0)
        list_images((f"s3://{bucket}/",), access=Access(s3_endpoint="http://127.0.0.1:9"))
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    forget_clients()
    with pytest.raises(SourceError, match=f"{bucket}.*credentials are not valid"):
        list_images((f"s3://{bucket}/",))
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    forget_clients()
    with pytest.raises(SourceError, match="no credentials were found"):
        list_images((f"s3://{bucket}/",))
