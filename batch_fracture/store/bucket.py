"""Buckets: obstore moves the bytes, boto3 brings the credentials and says where S3 is.

One client per bucket and process. `gs://` and `az://` take their credentials from the environment, as
obstore's documentation has it.
"""

from __future__ import annotations

import functools
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, TypeVar

from batch_fracture.errors import ConfigError

if TYPE_CHECKING:
    from obstore.store import ClientConfig, ObjectStore, RetryConfig

SCHEMES = ("s3", "gs", "az")
_URI = re.compile(rf"({'|'.join(SCHEMES)})://([^/]+)(?:/(.*))?", re.DOTALL)

MAX_RETRIES = 6
RETRY_WITHIN_S = 90.0
"""A request is tried again after 5xx, SlowDown, time-outs and resets, so often and so long at the most."""
_RETRY: RetryConfig = {
    "max_retries": MAX_RETRIES,
    "retry_timeout": timedelta(seconds=RETRY_WITHIN_S),
    "backoff": {"init_backoff": timedelta(milliseconds=100), "max_backoff": timedelta(seconds=10), "base": 2},
}
REQUEST_WITHIN_S, READ_WITHIN_S, CONNECT_WITHIN_S = 120, 30, 10
"""A whole request; the next bytes of one; its connection. A large image on a slow line takes its time, a
stalled one does not."""
CREDENTIALS_FOR = timedelta(minutes=5)
"""How long obstore keeps credentials; boto3 renews its own 15 minutes before they expire."""

_MAKING = threading.RLock()
_Arguments = ParamSpec("_Arguments")
_Made = TypeVar("_Made")


class _Once(Generic[_Arguments, _Made]):
    """`functools.cache` in which threads wait for the first to make it: 16 that fetch want one client."""

    def __init__(self, make: Callable[_Arguments, _Made]) -> None:
        self._cached = functools.cache(make)
        functools.update_wrapper(self, make)

    def __call__(self, *args: _Arguments.args, **kwargs: _Arguments.kwargs) -> _Made:
        with _MAKING:
            return self._cached(*args, **kwargs)  # type: ignore[arg-type]  # all are hashable

    def cache_clear(self) -> None:
        """Forget what was made."""
        self._cached.cache_clear()


@dataclass(frozen=True, kw_only=True)
class Access:
    """What reaching buckets needs beside the usual environment; the same on the driver and its workers."""

    s3_endpoint: str | None = None
    """None: what AWS_ENDPOINT_URL or the profile says, else AWS."""


FROM_ENVIRONMENT = Access()


def is_bucket(uri: str) -> bool:
    """Whether a location is in a bucket, and not on disk."""
    return _URI.fullmatch(uri) is not None


def split(uri: str) -> tuple[str, str, str]:
    """(scheme, bucket, key) of a URI; the key is taken as it stands, and may be empty.

    Raises:
        ConfigError: no such URI.
    """
    found = _URI.fullmatch(uri)
    if found is None:
        raise ConfigError(f"{uri!r} is no location in a bucket; name one as s3://bucket/prefix (or gs, az)")
    return found[1], found[2], found[3] or ""


@_Once
def open_bucket(scheme: str, name: str, access: Access) -> ObjectStore:
    """The client of a bucket; asks the network for nothing yet.

    Raises:
        ConfigError: there are no credentials.
    """
    from obstore.exceptions import BaseError  # noqa: PLC0415 - as below
    from obstore.store import AzureStore, GCSStore, S3Store  # noqa: PLC0415 - local runs need no client

    options: ClientConfig = {
        "timeout": timedelta(seconds=REQUEST_WITHIN_S),
        "read_timeout": timedelta(seconds=READ_WITHIN_S),
        "connect_timeout": timedelta(seconds=CONNECT_WITHIN_S),
        "allow_http": True,
    }
    if scheme != "s3":
        try:
            return (GCSStore if scheme == "gs" else AzureStore)(
                name, client_options=options, retry_config=_RETRY
            )
        except BaseError as error:  # its text is of many lines
            known = "GOOGLE_APPLICATION_CREDENTIALS" if scheme == "gs" else "AZURE_STORAGE_ACCOUNT_NAME"
            raise ConfigError(f"{scheme}://{name} cannot be set up; check {known} and its kin") from error
    return S3Store(
        name,
        client_options=options,
        retry_config=_RETRY,
        credential_provider=_credentials(),
        **_place(name, access),
    )


@_Once
def s3_client(access: Access) -> Any:
    """boto3's client of this process: it asks about objects, and reads the keys that obstore cannot name.

    Raises:
        ConfigError: the configuration or the endpoint is none.
    """
    return new_s3_client(access)


def new_s3_client(access: Access) -> Any:
    """Another one, whose events the caller may handle for itself.

    Raises:
        ConfigError: the configuration or the endpoint is none.
    """
    from botocore.config import Config  # noqa: PLC0415 - as above
    from botocore.exceptions import BotoCoreError  # noqa: PLC0415 - as above

    config = Config(
        retries={"mode": "standard", "max_attempts": MAX_RETRIES},
        connect_timeout=CONNECT_WITHIN_S,
        read_timeout=READ_WITHIN_S,
        max_pool_connections=32,
    )
    try:
        region = _session().region_name or "us-east-1"
        return _session().client("s3", endpoint_url=access.s3_endpoint, region_name=region, config=config)
    except (BotoCoreError, ValueError) as error:
        raise ConfigError(f"S3 cannot be set up: {error}; check --s3-endpoint and AWS_PROFILE") from error


def delta_options(uri: str, access: Access) -> dict[str, str]:
    """Storage options of delta-rs for a table: freshly frozen credentials, so call it at each opening."""
    scheme, name, _ = split(uri)
    if scheme != "s3":
        return {}
    frozen = _credentials().credentials.get_frozen_credentials()
    place = _place(name, access)
    options = {
        "aws_access_key_id": frozen.access_key,
        "aws_secret_access_key": frozen.secret_key,
        "aws_region": place["region"],
        "aws_virtual_hosted_style_request": "false" if "endpoint" in place else "true",
        "aws_allow_http": "true",
    }
    if frozen.token:
        options["aws_session_token"] = frozen.token
    if "endpoint" in place:
        options["aws_endpoint"] = place["endpoint"]
    return options


def _place(name: str, access: Access) -> dict[str, Any]:
    """Region of a bucket or, where S3 is not AWS, its endpoint, addressed by path."""
    meta = s3_client(access).meta
    if ".amazonaws.com" in meta.endpoint_url:
        return {"region": _region(name, access)}
    return {
        "region": meta.region_name,
        "endpoint": meta.endpoint_url,
        "virtual_hosted_style_request": False,
    }


@_Once
def _region(name: str, access: Access) -> str:
    """Where a bucket of AWS lies: boto3 follows S3 to another region, obstore and delta-rs do not."""
    from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415 - as above

    client = s3_client(access)
    answer: dict[str, Any] = {}
    try:
        answer = client.head_bucket(Bucket=name)
    except ClientError as error:  # a refusal names the region too
        answer = error.response
    except BotoCoreError:
        pass
    said = answer.get("ResponseMetadata", {}).get("HTTPHeaders", {}).get("x-amz-bucket-region")
    return str(said or client.meta.region_name)


@_Once
def _session() -> Any:
    import boto3  # noqa: PLC0415 - as above

    return boto3.Session()


@_Once
def _credentials() -> Any:
    from botocore.exceptions import BotoCoreError  # noqa: PLC0415 - as above
    from obstore.auth.boto3 import Boto3CredentialProvider  # noqa: PLC0415 - as above

    try:
        return Boto3CredentialProvider(_session(), ttl=CREDENTIALS_FOR)
    except (BotoCoreError, ValueError) as error:
        raise ConfigError(
            "no AWS credentials were found; set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, "
            "or run where an instance role or IRSA gives them"
        ) from error


def forget_clients() -> None:
    """Drop the clients of this process, so that the next ones are made from the environment as it is then."""
    for made in (open_bucket, s3_client, _region, _session, _credentials):
        made.cache_clear()
