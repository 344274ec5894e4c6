from __future__ import annotations

from xml.etree import ElementTree as ET

import pytest

from batch_fracture.store.bucket import Access, s3_client
from batch_fracture.store.s3_pages import _PAGE, Pages, _take_page, decoded, parse_page

OBJECT = (
    "<Contents><Key>a+b%2Fc</Key><LastModified>2026-01-02T03:04:05.000Z</LastModified>"
    "<ETag>&quot;5d41&quot;</ETag><Size>7</Size><StorageClass>STANDARD</StorageClass></Contents>"
)


def page(inner: str, *, space: str = ' xmlns="http://s3.amazonaws.com/doc/2006-03-01/"') -> bytes:
    return f"<?xml version='1.0'?><ListBucketResult{space}>{inner}</ListBucketResult>".encode()


@pytest.mark.parametrize("space", ["", ' xmlns="http://s3.amazonaws.com/doc/2006-03-01/"'])
def test_a_page_has_parallel_columns_prefixes_and_a_token(space: str) -> None:
    found = parse_page(
        page(
            "<Prefix>scans/</Prefix><IsTruncated>true</IsTruncated><NextContinuationToken>t+=</NextContinuationToken>"
            f"{OBJECT}{OBJECT}<CommonPrefixes><Prefix>scans/x/</Prefix></CommonPrefixes>",
            space=space,
        )
    )
    assert (found.keys, found.etags, found.sizes) == (["a+b%2Fc"] * 2, ['"5d41"'] * 2, ["7"] * 2)
    assert found.times == ["2026-01-02T03:04:05.000Z"] * 2
    assert (found.prefixes, found.token) == (["scans/x/"], "t+=")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        page(OBJECT)[:-30],
        b"<html>busy</html>",
        page(OBJECT.replace("<ETag>&quot;5d41&quot;</ETag>", "")),
        page("<IsTruncated>true</IsTruncated>"),
    ],
)
def test_a_damaged_page_is_asked_for_again(body: bytes) -> None:
    with pytest.raises((ET.ParseError, ValueError)):
        parse_page(body)
    answer = {"status_code": 200, "body": body}
    _take_page(answer, {})
    assert answer["status_code"] == 500  # which botocore's retries take for the server's fault


def test_errors_are_left_to_botocore() -> None:
    answer, taken = {"status_code": 404, "body": b"<Error/>"}, {}
    _take_page(answer, taken)
    assert (answer["body"], taken) == (b"<Error/>", {})


def test_keys_are_decoded_as_s3_encodes_them() -> None:
    assert decoded("a+b%2Bc%2520%0A%F0%9F%98%80") == "a b+c%20\n\U0001f600"
    assert decoded("bad%FF.png") == b"bad\xff.png"


def test_the_shared_client_keeps_its_own_listing(bucket: str) -> None:
    client = s3_client(Access())
    client.put_object(Bucket=bucket, Key="x y", Body=b"")
    pages = Pages(bucket, Access(), f"s3://{bucket}/")
    assert [page.keys for page in pages.below("")] == [["x+y"]]
    assert [found["Key"] for found in client.list_objects_v2(Bucket=bucket)["Contents"]] == ["x y"]
    assert _PAGE not in client.list_objects_v2(Bucket=bucket)
