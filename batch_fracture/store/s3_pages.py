"""Pages of an S3 listing: boto3 signs, sends and retries; the XML is parsed here.

botocore walks its model for every element, 20 ms and more for a page of 1,000 keys; four passes of
ElementTree take 3.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote_to_bytes
from xml.etree import ElementTree as ET

from batch_fracture.errors import SourceError
from batch_fracture.store.bucket import Access, new_s3_client

_EMPTY = b"<ListBucketResult/>"
_PAGE = "batch-fracture-page"
MAX_KEYS = 1000
"""Of a page; S3 gives no more."""


@dataclass(frozen=True, kw_only=True)
class Page:
    """What one answer to ListObjectsV2 holds; the four columns run in parallel."""

    keys: list[str]
    """URL-encoded, as `decoded` takes them; so are the prefixes."""
    etags: list[str]
    """With their quotes."""
    sizes: list[str]
    """Decimal bytes."""
    times: list[str]
    """ISO 8601."""
    prefixes: list[str]
    token: str | None
    """Of the next page; None on the last."""


class Pages:
    """Lists one bucket, for as many threads as like.

    Args:
        bucket: its name.
        access: how to reach it.
        source: as the user named it, for messages.
    """

    def __init__(self, bucket: str, access: Access, source: str) -> None:
        self._bucket, self._source = bucket, source
        self._client = new_s3_client(access)
        # With this pattern it comes before botocore's own handler, which would parse every body once more.
        self._client.meta.events.register_first("before-parse.*.ListObjectsV2", _take_page)

    def below(self, prefix: str, *, one_level: bool = False) -> Iterator[Page]:
        """Every page of a prefix. Continuation tokens lead on, never keys: not all servers sort as S3 does.

        Args:
            prefix: of the keys.
            one_level: stop at the next `/`; what is deeper is named by `Page.prefixes`.

        Raises:
            ClientError: the store refused.
            BotoCoreError: it was not reached.
            SourceError: the pages lead in a circle.
        """
        wanted: dict[str, Any] = {
            "Bucket": self._bucket,
            "Prefix": prefix,
            "EncodingType": "url",
            "MaxKeys": MAX_KEYS,
        }
        if one_level:
            wanted["Delimiter"] = "/"
        while True:
            page: Page = self._client.list_objects_v2(**wanted)[_PAGE]
            yield page
            if page.token is None:
                return
            if page.token == wanted.get("ContinuationToken"):
                raise SourceError(f"source {self._source!r}: the store's listing leads in a circle")
            wanted["ContinuationToken"] = page.token


def parse_page(body: bytes) -> Page:
    """Read one answer.

    Raises:
        ET.ParseError: it is cut short, or no XML.
        ValueError: it is no listing, or an object lacks key, ETag, size or time.
    """
    root = ET.fromstring(body)  # noqa: S314 - expat of this Python bounds entity expansion; the store is ours
    space, _, name = root.tag.rpartition("}")
    if name != "ListBucketResult":
        raise ValueError("not a listing")
    space += "}" if space else ""
    count = sum(1 for _ in root.iter(f"{space}Contents"))
    columns = [
        [element.text or "" for element in root.iter(space + column)]
        for column in ("Key", "ETag", "Size", "LastModified")
    ]
    if any(len(column) != count for column in columns):
        raise ValueError("an object without key, ETag, size or time")
    truncated = root.findtext(f"{space}IsTruncated") == "true"
    token = root.findtext(f"{space}NextContinuationToken")
    if truncated and not token:
        raise ValueError("a page without its end")
    keys, etags, sizes, times = columns
    return Page(
        keys=keys,
        etags=etags,
        sizes=sizes,
        times=times,
        prefixes=[element.text or "" for element in root.iterfind(f"{space}CommonPrefixes/{space}Prefix")],
        token=token if truncated else None,
    )


def decoded(name: str) -> str | bytes:
    """A key as it is: S3 writes a space as `+` and the rest as `%NN`. Bytes where it is not UTF-8."""
    name = name.replace("+", " ")
    if "%" not in name:
        return name
    raw = unquote_to_bytes(name)
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw


def _take_page(response_dict: dict[str, Any], customized_response_dict: dict[str, Any], **_: object) -> None:
    """The event of botocore before it parses; see `botocore.endpoint.Endpoint._do_get_response`."""
    if response_dict["status_code"] != 200:
        return
    try:
        customized_response_dict[_PAGE] = parse_page(response_dict["body"])
        response_dict["body"] = _EMPTY
    except (ET.ParseError, ValueError):
        # As botocore does with an error in a 200: a damaged answer is the server's fault; it is asked again.
        response_dict["status_code"], response_dict["body"] = 500, b""
