"""Shared by all tests: one Ray, one tiny real model, drawn images, and where the shared files are."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from s3_server import credentials, free_ports, new_bucket, serve_s3
from tiny import write_tiny_bundle

from batch_fracture.bundle import Bundle, open_bundle
from batch_fracture.config import RunConfig
from batch_fracture.results.home import Home, find_home
from batch_fracture.run import run
from batch_fracture.screen import PlainScreen
from batch_fracture.store.bucket import forget_clients
from batch_fracture.summary import Report

SHARED = Path(__file__).parents[2] / "shared"

os.environ.setdefault("OMP_NUM_THREADS", "1")  # tiny networks: torch's threads would wait for each other
os.environ["RAY_ENABLE_AUTO_CONNECT"] = "0"  # as in a run; Ray reads it when it is imported
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # Ray warns of its own coming default


S3_PORT = free_ports(1)[0]
"""Known before the server runs: the workers of the session's Ray inherit the way to it."""
os.environ.update(credentials(f"http://127.0.0.1:{S3_PORT}"))


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real radiographs and DICOM files, beside the checkout."""
    if not SHARED.is_dir():
        pytest.skip("../shared with the real radiographs is not here")
    return SHARED


@pytest.fixture(scope="session")
def ray_session() -> Iterator[str]:
    """One small Ray for every run inside this process; its address, for those in others."""
    import ray

    with tempfile.TemporaryDirectory(prefix="bf-t-", ignore_cleanup_errors=True) as folder:
        ray.init(
            address="local",
            num_cpus=2,
            include_dashboard=False,
            log_to_driver=False,
            object_store_memory=256 * 2**20,
            _temp_dir=folder,
        )
        yield ray.get_runtime_context().gcs_address
        ray.shutdown()


@pytest.fixture(scope="session")
def s3_server() -> Iterator[str]:
    """Endpoint of a real S3 server that lasts as long as the tests."""
    with serve_s3(S3_PORT) as (endpoint, _pid):
        yield endpoint


@pytest.fixture
def bucket(s3_server: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Name of a new empty bucket; this process and its children find the server and may use it."""
    yield new_bucket(s3_server, monkeypatch)
    forget_clients()


@pytest.fixture(params=["disk", "bucket"])
def home(request: pytest.FixtureRequest, tmp_path: Path) -> Home:
    """An empty results location, on disk and in a bucket of a real S3 server."""
    if request.param == "disk":
        return find_home(str(tmp_path / "results"), create=True)
    return find_home(f"s3://{request.getfixturevalue('bucket')}/nightly/results", create=True)


@pytest.fixture(scope="session")
def tiny_bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A real bundle around a small timm network with random weights, 64 pixels."""
    return open_bundle(str(write_tiny_bundle(tmp_path_factory.mktemp("bundles") / "tiny")))


@pytest.fixture(scope="session")
def draw() -> Callable[..., list[Path]]:
    """Draws small grey PNG files, all different: draw(folder, count)."""

    def draw_images(
        folder: Path, count: int, *, seed: int = 0, size: tuple[int, int] = (48, 64)
    ) -> list[Path]:
        folder.mkdir(parents=True, exist_ok=True)
        rng = np.random.default_rng(seed)
        paths = []
        for number in range(count):
            path = folder / f"image-{seed}-{number:05d}.png"
            Image.fromarray(rng.integers(0, 256, size, np.uint8)).save(path)
            paths.append(path)
        return paths

    return draw_images


@pytest.fixture
def archive(tmp_path: Path, draw: Any) -> Path:
    draw(tmp_path / "archive", 6)
    (tmp_path / "archive" / "notes.txt").write_text("no image")
    (tmp_path / "archive" / "cut.png").write_bytes(
        (tmp_path / "archive" / "image-0-00000.png").read_bytes()[:200]
    )
    return tmp_path / "archive"


@pytest.fixture
def night(tmp_path: Path, archive: Path, tiny_bundle: Bundle, ray_session: None) -> Callable[..., Report]:
    """Runs the archive: night(**flags)."""

    def run_it(**flags: Any) -> Report:
        given = {
            "source": (str(archive),),
            "results": str(tmp_path / "results"),
            "model": str(tiny_bundle.path),
        }
        return run(RunConfig(**{**given, **flags}), PlainScreen(sys.stderr))

    return run_it
