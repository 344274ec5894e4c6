"""A run that is killed at every step, on disk and on S3, and the one after it: one row each, none lost.

Steps after the reading need no Ray: they start from a run whose units are all finished, made once per store.
"""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from s3_server import new_bucket

from batch_fracture.bundle import Bundle
from batch_fracture.config import RunConfig
from batch_fracture.failpoints import STEPS, VARIABLE
from batch_fracture.query import query
from batch_fracture.results.folder import DiskFolder, Folder
from batch_fracture.results.home import Home, find_home
from batch_fracture.results.table import ReadingsTable
from batch_fracture.run import run
from batch_fracture.screen import PlainScreen
from batch_fracture.store.bucket import forget_clients
from batch_fracture.summary import Report

pytestmark = pytest.mark.slow

IMAGES, FIRST_NIGHT = 250, 20
BEFORE_READING = ("plan", "lease", "manifest", "unit")


def snapshot(folder: Folder) -> dict[str, bytes]:
    return {file.name: folder.get(file.name) or b"" for file in folder.files("")}


def digests(home: Home, version: int) -> dict[str, str]:
    """Files and log entries of a version, by content."""
    table = ReadingsTable.open(home, version=version)
    assert table is not None
    entries = [f"readings/_delta_log/{number:020d}.json" for number in range(version + 1)]
    return {
        name: hashlib.sha256(home.folder.get(name) or b"").hexdigest() for name in [*table.files(), *entries]
    }


class Site:
    """An archive with a first night behind it, and the command that reads the second."""

    def __init__(self, uri: str, archive: Path, bundle: Bundle, ray_address: str) -> None:
        self.uri, self.archive, self._bundle, self._address = uri, archive, bundle, ray_address
        self.night: dict[str, bytes] = {}
        self.finished: dict[str, bytes] = {}

    @property
    def home(self) -> Home:
        return find_home(self.uri, create=True)

    def run(self, **flags: Any) -> Report:
        """In this process, which is connected to Ray."""
        model = str(self._bundle.path)
        config = RunConfig(source=(str(self.archive),), results=self.uri, model=model, **flags)
        return run(config, PlainScreen(sys.stderr))

    def run_and_die(self, point: str, *flags: str) -> None:
        """In a process of its own, which a fail-point kills."""
        arguments = [self.archive, "--results", self.uri, "--model", self._bundle.path, *flags]
        command = [sys.executable, "-m", "batch_fracture", "run", "--address", self._address]
        done = subprocess.run(
            [*command, *map(str, arguments)],
            timeout=300,
            check=False,
            env={**os.environ, VARIABLE: f"{point}=kill"},
        )
        assert done.returncode == -signal.SIGKILL

    def restore(self, files: dict[str, bytes]) -> None:
        folder = self.home.folder
        for file in folder.files(""):
            folder.delete(file.name)
        if isinstance(folder, DiskFolder):
            folder.clear("_work")
        for name, content in files.items():
            folder.put(name, content)


@pytest.fixture(scope="module", params=["disk", "bucket"])
def site(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    draw: Callable[..., Any],
    tiny_bundle: Bundle,
    ray_session: str,
) -> Iterator[Site]:
    """A results location after a first night, and with all units of the second night finished."""
    folder = tmp_path_factory.mktemp("kills")
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "disk":
            uri = str(folder / "results")
        else:
            uri = f"s3://{new_bucket(request.getfixturevalue('s3_server'), patch)}/results"
        made = Site(uri, folder / "archive", tiny_bundle, ray_session)
        draw(made.archive, FIRST_NIGHT, seed=1)
        assert made.run().books.read == FIRST_NIGHT
        draw(made.archive, IMAGES, seed=2)
        made.night = snapshot(made.home.folder)
        made.run_and_die("before-verify")
        made.finished = snapshot(made.home.folder)
        assert sum("/units/" in name for name in made.finished) == 3
        yield made
    forget_clients()


def check_books(site: Site, before: dict[str, str]) -> None:
    """One more run completes the work; each image has one row, and another run commits nothing."""
    report = site.run()
    read = report.books.read + sum(one.books.read for one in report.earlier)
    counts = query(site.uri, "SELECT count(*) AS n, count(DISTINCT image_uri) AS d FROM readings").to_pylist()
    assert counts == [{"n": FIRST_NIGHT + IMAGES, "d": FIRST_NIGHT + IMAGES}]
    assert read + report.books.unchanged >= IMAGES
    runs = query(site.uri, "SELECT read, outcome FROM runs ORDER BY ended_at").to_pylist()
    assert [tuple(run.values()) for run in runs] == [(FIRST_NIGHT, "complete"), (IMAGES, "complete")]
    home = site.home
    table = ReadingsTable.open(home)
    assert table is not None
    assert table.version == 2
    standing = {file.name for file in home.folder.files("readings") if "/read_date=" in file.name}
    assert standing == set(table.files())
    assert home.folder.files("_work") == []
    assert digests(home, 1) == before


POINTS = [f"{when}-{step}" for step in STEPS for when in ("before", "after")]


@pytest.mark.parametrize("point", POINTS)
def test_killed_at_a_step(site: Site, point: str) -> None:
    reads = point.partition("-")[2] in BEFORE_READING
    site.restore(site.night if reads else site.finished)
    before = digests(site.home, 1)
    site.run_and_die(point)
    check_books(site, before)
    assert site.run().outcome is None  # nothing to do
    table = ReadingsTable.open(site.home)
    assert table is not None
    assert table.version == 2


@pytest.mark.parametrize("point", ["before-abandon", "after-abandon"])
def test_killed_while_a_run_is_given_up(site: Site, point: str) -> None:
    site.restore(site.finished)
    site.run_and_die("before-commit")  # its copies stand in the table's folder
    before = digests(site.home, 1)
    site.run_and_die(point, "--operating-point", "0.3")
    report = site.run(operating_point="0.3")
    assert report.books.read == IMAGES
    counts = query(site.uri, "SELECT count(*) AS n, count(DISTINCT image_uri) AS d FROM readings").to_pylist()
    assert counts == [{"n": FIRST_NIGHT + IMAGES, "d": FIRST_NIGHT + IMAGES}]
    table = ReadingsTable.open(site.home)
    assert table is not None
    standing = {file.name for file in site.home.folder.files("readings") if "/read_date=" in file.name}
    assert standing == set(table.files())
    assert digests(site.home, 1) == before
