"""The bytes of one image, exactly as listed: the version is asked for, and the length is checked."""

from __future__ import annotations

import time
from typing import Any

from batch_fracture.codes import Code
from batch_fracture.errors import ConfigError, ImageError
from batch_fracture.store import bucket, disk
from batch_fracture.store.bucket import FROM_ENVIRONMENT, Access
from batch_fracture.store.failures import image_error

SHORT_TRIES, SHORT_WITHIN_S = 3, 60.0
"""How often, and for how long, a body of the wrong length is asked for again."""
FETCH_LIMIT_S = 360.0
"""Longer than a fetch with all its retries takes; see `bucket` for those of one request."""


def read_bytes(
    image_uri: str, image_version: str, size_bytes: int | None = None, access: Access = FROM_ENVIRONMENT
) -> bytes:
    """The whole content of an image, if it still is the version that was listed.

    Args:
        image_uri: as listed.
        image_version: as listed; on disk size and time, in a bucket the ETag without its quotes.
        size_bytes: as listed; in a bucket a body of another length is never accepted.
        access: how buckets are reached.

    Raises:
        ImageError: `GONE`, `CHANGED`, `ACCESS_DENIED`, `STORE_ERROR`; `NOT_AN_IMAGE` for a device or pipe.
    """
    if not bucket.is_bucket(image_uri):
        return disk.read_bytes(image_uri, image_version)
    scheme, name, key = bucket.split(image_uri)
    if_match = image_version if image_version.startswith("W/") else f'"{image_version}"'
    read = _with_boto3 if scheme == "s3" and not plain(key) else _with_obstore
    started = time.monotonic()
    for _ in range(SHORT_TRIES):
        try:
            content = read(scheme, name, key, if_match, access)
        except ConfigError as error:
            raise ImageError(Code.STORE_ERROR, "the store cannot be opened on this machine") from error
        if content is not None and size_bytes in (None, len(content)):
            return content
        if time.monotonic() - started > SHORT_WITHIN_S:
            break
    raise ImageError(Code.STORE_ERROR, "the store gave another number of bytes than it had listed")


def plain(key: str) -> bool:
    """Whether obstore can name a key: it refuses control characters, and strips or folds some slashes."""
    segments = key.split("/")
    return not any(segment in ("", ".", "..") for segment in segments) and not any(
        ord(letter) < 0x20 or ord(letter) == 0x7F for letter in key
    )


def _with_obstore(scheme: str, name: str, key: str, if_match: str, access: Access) -> bytes | None:
    import obstore  # noqa: PLC0415 - only buckets need it
    from obstore.exceptions import BaseError  # noqa: PLC0415 - likewise

    store = bucket.open_bucket(scheme, name, access)
    try:
        found = obstore.get(store, key, options={"if_match": if_match})
        return bytes(found.bytes())
    except (BaseError, OSError, ValueError, AssertionError) as error:
        raise image_error(error) from None  # its text names the key


def _with_boto3(_: str, name: str, key: str, if_match: str, access: Access) -> bytes | None:
    """As with obstore; None when the body broke off, which botocore does not try again."""
    from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415 - as above
    from urllib3.exceptions import HTTPError  # noqa: PLC0415 - botocore lets it through while a body is read

    try:
        found: dict[str, Any] = bucket.s3_client(access).get_object(Bucket=name, Key=key, IfMatch=if_match)
    except (BotoCoreError, ClientError, ValueError) as error:
        raise image_error(error) from None
    try:
        with found["Body"] as body:
            content: bytes = body.read()
    except (BotoCoreError, HTTPError, OSError):
        return None
    return content
