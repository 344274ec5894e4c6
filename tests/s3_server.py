"""A real S3 server for tests: SeaweedFS on 127.0.0.1, with its files in a temporary folder."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from batch_fracture.store.bucket import Access, forget_clients, s3_client

KEY, SECRET = "test-key", "test-secret"
START_WITHIN_S, TRIES = 60.0, 3


@contextlib.contextmanager
def serve_s3(port: int | None = None) -> Iterator[tuple[str, int]]:
    """(endpoint, pid) of a server that is ready; it is killed afterwards, and its files are removed."""
    folder = Path(tempfile.mkdtemp(prefix="bf-s3-"))
    identity = {
        "name": "tests",
        "credentials": [{"accessKey": KEY, "secretKey": SECRET}],
        "actions": ["Admin", "Read", "Write", "List", "Tagging"],
    }
    (folder / "s3.json").write_text(json.dumps({"identities": [identity]}))
    server, ports = _start(folder, port)
    try:
        yield f"http://127.0.0.1:{ports[-1]}", server.pid
    finally:
        _end(server, ports)
        shutil.rmtree(folder, ignore_errors=True)


def _start(folder: Path, port: int | None) -> tuple[subprocess.Popen[bytes], list[int]]:
    """A server that answers; tried again, because somebody else may take a port that was just free."""
    for _ in range(TRIES):
        ports = [*free_ports(3), port or free_ports(1)[0]]
        master, volume, filer, s3 = ports
        command = [
            str(Path(sys.executable).with_name("weed")), "server", f"-dir={folder}",
            "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-filer", "-s3", "-s3.port.iceberg=0",
            "-s3.port.lance=0", "-s3.autoCreateBucket=false", f"-s3.config={folder / 's3.json'}",
            f"-master.port={master}", f"-volume.port={volume}", f"-filer.port={filer}", f"-s3.port={s3}",
            "-volume.max=2000", "-master.volumeSizeLimitMB=64",
        ]  # fmt: skip
        with (folder / "log").open("wb") as log:
            server = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
        if _answers(f"http://127.0.0.1:{s3}", server):
            return server, ports
        _end(server, ports)
    raise RuntimeError(f"the S3 server did not start: {(folder / 'log').read_text()[-2000:]}")


def _end(server: subprocess.Popen[bytes], ports: list[int]) -> None:
    server.kill()
    server.wait()
    for port in ports:
        for name in (f"seaweedfs-*-{port}.sock", f"seaweedfs-*-grpc-{port + 10_000}.sock"):
            for stale in Path(tempfile.gettempdir()).glob(name):
                stale.unlink(missing_ok=True)


def new_bucket(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """Make a bucket; from now on this process and its children find the server and may use it."""
    for name, value in credentials(endpoint).items():
        monkeypatch.setenv(name, value)
    forget_clients()
    name = f"test-{uuid.uuid4().hex[:12]}"
    s3_client(Access()).create_bucket(Bucket=name)
    return name


def credentials(endpoint: str) -> dict[str, str]:
    """The environment that reaches the server, and no other configuration of AWS."""
    return {
        "AWS_ACCESS_KEY_ID": KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
    }


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on; SeaweedFS takes each of them plus 10,000 for gRPC too."""
    found: list[int] = []
    while len(found) < count:
        with socket.socket() as probe, socket.socket() as grpc:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
            with contextlib.suppress(OSError, OverflowError):
                grpc.bind(("127.0.0.1", port + 10_000))
                found.append(port)
    return found


def _answers(endpoint: str, server: subprocess.Popen[bytes]) -> bool:
    deadline = time.monotonic() + START_WITHIN_S
    while time.monotonic() < deadline and server.poll() is None:
        try:
            urllib.request.urlopen(endpoint, timeout=2).close()
        except urllib.error.HTTPError:  # it asks who we are: it is there
            return True
        except OSError:
            time.sleep(0.1)
        else:
            return True
    return False
