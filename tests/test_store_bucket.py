from __future__ import annotations

import io
import shlex
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import obstore
import pytest
import urllib3
from botocore.awsrequest import AWSRequest, AWSResponse
from s3_server import KEY, SECRET

from batch_fracture.errors import ConfigError
from batch_fracture.store import bucket as buckets
from batch_fracture.store.bucket import (
    Access,
    delta_options,
    forget_clients,
    is_bucket,
    open_bucket,
    s3_client,
    split,
)

GIVER = """
import json, sys
with open(sys.argv[1], "a") as calls:
    calls.write("called\\n")
print(json.dumps({"Version": 1, "AccessKeyId": sys.argv[2], "SecretAccessKey": sys.argv[3],
                  "Expiration": sys.argv[4]}))
"""


def test_uris_are_taken_as_they_stand() -> None:
    assert split("s3://b/a%20b\n?#c/") == ("s3", "b", "a%20b\n?#c/")
    assert split("az://b") == split("az://b/") == ("az", "b", "")
    assert not any(map(is_bucket, ["/s3://b/x", "s3:/b", "s3:///x", "http://b/x", "S3://b"]))
    with pytest.raises(ConfigError, match="no location in a bucket"):
        split("/data")


def test_threads_share_one_client(bucket: str) -> None:
    forget_clients()
    ready = threading.Barrier(16)

    def opened(_: int) -> tuple[int, int]:
        ready.wait()
        return id(open_bucket("s3", bucket, Access())), id(s3_client(Access()))

    with ThreadPoolExecutor(16) as pool:
        assert len(set(pool.map(opened, range(16)))) == 1


def profile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, expires: datetime) -> Path:
    """A profile whose process gives the server's credentials until a time; the file counts its calls."""
    script, calls = tmp_path / "giver.py", tmp_path / "calls"
    script.write_text(GIVER)
    command = [sys.executable, str(script), str(calls), KEY, SECRET, expires.isoformat()]
    config = tmp_path / "config"
    config.write_text(f"[profile giver]\ncredential_process = {shlex.join(command)}\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
    monkeypatch.setenv("AWS_PROFILE", "giver")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    forget_clients()
    return calls


def called(calls: Path) -> int:
    return len(calls.read_text().splitlines()) if calls.exists() else 0


def test_credentials_that_expire_soon_are_renewed(
    bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    obstore.put(open_bucket("s3", bucket, Access()), "x", b"content")
    calls = profile(tmp_path, monkeypatch, datetime.now(UTC) + timedelta(minutes=5))
    monkeypatch.setattr(buckets, "CREDENTIALS_FOR", timedelta(0))  # obstore asks boto3 each time
    counts = []
    for _ in range(3):
        assert bytes(obstore.get(open_bucket("s3", bucket, Access()), "x").bytes()) == b"content"
        counts.append(called(calls))
    assert counts[0] >= 1
    assert counts[0] < counts[1] < counts[2]  # within boto3's 15 minutes before the end each use renews
    before = called(calls)
    assert delta_options(f"s3://{bucket}/results", Access())["aws_access_key_id"] == KEY
    assert called(calls) == before + 1


def test_credentials_that_last_are_asked_for_once(
    bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    obstore.put(open_bucket("s3", bucket, Access()), "x", b"content")
    calls = profile(tmp_path, monkeypatch, datetime.now(UTC) + timedelta(hours=6))
    for _ in range(3):
        assert bytes(obstore.get(open_bucket("s3", bucket, Access()), "x").bytes()) == b"content"
        s3_client(Access()).head_object(Bucket=bucket, Key="x")
    assert called(calls) == 1
    forget_clients()
    s3_client(Access()).head_object(Bucket=bucket, Key="x")
    assert called(calls) == 2


def test_no_credentials_and_no_endpoint_are_configuration(
    bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ConfigError, match="--s3-endpoint"):
        s3_client(Access(s3_endpoint="not a url"))
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    forget_clients()
    with pytest.raises(ConfigError, match="no AWS credentials"):
        open_bucket("s3", bucket, Access())


def test_the_place_of_s3(bucket: str, s3_server: str) -> None:
    options = delta_options("s3://b/results", Access())
    assert options["aws_virtual_hosted_style_request"] == "false"
    assert (options["aws_endpoint"], options["aws_region"]) == (s3_server, "us-east-1")
    assert delta_options("gs://b/results", Access()) == {}


@pytest.mark.parametrize("status", [200, 403])
def test_a_bucket_of_aws_is_sought_where_it_lies(
    bucket: str, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    monkeypatch.delenv("AWS_ENDPOINT_URL")
    forget_clients()
    asked = []
    empty = urllib3.HTTPResponse(io.BytesIO(), preload_content=False)

    def answer(request: AWSRequest, **_: object) -> AWSResponse:
        asked.append(request.url)
        return AWSResponse(request.url, status, {"x-amz-bucket-region": "eu-west-1"}, empty)

    s3_client(Access()).meta.events.register("before-send.s3.HeadBucket", answer)
    for _ in range(2):
        options = delta_options("s3://far-away/results", Access())
    assert "aws_endpoint" not in options
    assert (options["aws_region"], options["aws_virtual_hosted_style_request"]) == ("eu-west-1", "true")
    assert asked == ["https://far-away.s3.amazonaws.com/"]
