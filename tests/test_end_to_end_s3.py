"""The job from bucket to bucket, against a real S3 server: what is read, what changed, what went wrong."""

from __future__ import annotations

import csv
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import polars as pl
import pyarrow.dataset as ds
import pytest
from deltalake import DeltaTable
from s3_server import credentials

from batch_fracture import endings
from batch_fracture import run as run_module
from batch_fracture.bundle import Bundle
from batch_fracture.config import RunConfig
from batch_fracture.query import query
from batch_fracture.results.home import find_home
from batch_fracture.results.records import Outcome
from batch_fracture.run import run
from batch_fracture.screen import PlainScreen
from batch_fracture.store import Access
from batch_fracture.store.bucket import s3_client
from batch_fracture.summary import Report

pytestmark = pytest.mark.slow

Night = Callable[..., Report]
ODD_KEYS = (
    "tab\there.png",
    "new\nline.png",
    "per%20cent %.png",
    "plus+.png",
    "käse/日本 😀.png",
    "hash#12?.png",
)


class Archive:
    """Objects below `scans/` of a bucket."""

    def __init__(self, bucket: str) -> None:
        self.bucket, self.uri, self._client = bucket, f"s3://{bucket}/scans", s3_client(Access())

    def put(self, key: str, content: bytes) -> str:
        self._client.put_object(Bucket=self.bucket, Key=f"scans/{key}", Body=content)
        return f"{self.uri}/{key}"

    def delete(self, key: str) -> None:
        self._client.delete_object(Bucket=self.bucket, Key=f"scans/{key}")


@pytest.fixture
def pictures(tmp_path: Path, draw: Callable[..., list[Path]]) -> list[bytes]:
    return [path.read_bytes() for path in draw(tmp_path / "drawn", 150)]


@pytest.fixture
def archive(bucket: str, pictures: list[bytes]) -> Archive:
    made = Archive(bucket)
    for number, picture in enumerate(pictures[:130]):
        made.put(f"2026/11/{number % 7}/{number}.png", picture)
    for key, picture in zip(ODD_KEYS, pictures[130:], strict=False):
        made.put(key, picture)
    made.put("empty-folder/", b"")
    made.put("notes.txt", b"Dear colleague")
    return made


@pytest.fixture
def night(archive: Archive, tiny_bundle: Bundle, ray_session: str) -> Night:
    def run_it(**flags: Any) -> Report:
        given = {
            "source": (archive.uri,),
            "results": f"s3://{archive.bucket}/results",
            "model": str(tiny_bundle.path),
        }
        return run(RunConfig(**{**given, **flags}), PlainScreen(sys.stderr))

    return run_it


def ask(archive: Archive, sql: str) -> list[tuple[Any, ...]]:
    rows = query(f"s3://{archive.bucket}/results", sql).to_pylist()
    return [tuple(row.values()) for row in rows]


def test_nights_from_bucket_to_bucket(archive: Archive, night: Night, pictures: list[bytes]) -> None:
    report = night()
    assert (report.books.listed, report.books.read, report.books.skipped) == (138, 136, 2)
    found = dict(ask(archive, "SELECT image_uri, image_sha256 FROM readings WHERE status = 'read'"))
    assert found == {
        f"{archive.uri}/{key}": hashlib.sha256(picture).hexdigest()
        for key, picture in [
            *((f"2026/11/{number % 7}/{number}.png", p) for number, p in enumerate(pictures[:130])),
            *zip(ODD_KEYS, pictures[130:], strict=False),
        ]
    }
    assert night().outcome is None
    archive.put("2026/11/0/0.png", pictures[140])
    archive.put("2026/12/1/new.png", pictures[141])
    archive.delete("2026/11/1/1.png")
    report = night()
    assert (report.books.listed, report.books.unchanged, report.books.read) == (138, 136, 2)
    assert ask(
        archive, "SELECT count(*), count(DISTINCT image_uri), count(DISTINCT run_id) FROM readings"
    ) == [(140, 139, 2)]
    options = find_home(f"s3://{archive.bucket}/results").delta_options()
    uri = f"s3://{archive.bucket}/results/readings"
    delta = DeltaTable(uri, storage_options=options)
    assert len(delta.to_pandas()) == len(pl.scan_delta(uri, storage_options=options).collect()) == 140
    assert len(DeltaTable(uri, version=1, storage_options=options).to_pandas()) == 138


def test_what_changes_after_the_listing_is_never_read_as_listed(
    archive: Archive, night: Night, pictures: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    write_manifest = run_module.write_manifest

    def change_then_write(*arguments: Any) -> Any:
        archive.put("2026/11/0/0.png", pictures[140])
        archive.delete("2026/11/1/1.png")
        return write_manifest(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(run_module, "write_manifest", change_then_write)
        report = night()
    assert dict(report.codes) == {"CHANGED": 1, "GONE": 1, "NOT_AN_IMAGE": 2}
    assert ask(archive, "SELECT DISTINCT image_sha256 FROM readings WHERE status = 'failed'") == [(None,)]
    report = night()  # the changed object is a new version; the gone one is listed no more
    assert (report.books.read, report.books.failed, report.books.listed) == (1, 0, 137)


def test_an_outage_stops_the_run_and_the_next_night_goes_on(
    archive: Archive, night: Night, monkeypatch: pytest.MonkeyPatch
) -> None:
    client, write_manifest = s3_client(Access()), run_module.write_manifest
    held: list[tuple[str, bytes]] = []

    def lose_the_archive(*arguments: Any) -> Any:
        for entry in client.list_objects_v2(Bucket=archive.bucket, Prefix="scans/2026/")["Contents"]:
            body = client.get_object(Bucket=archive.bucket, Key=entry["Key"])["Body"].read()
            held.append((entry["Key"], body))
            client.delete_object(Bucket=archive.bucket, Key=entry["Key"])
        return write_manifest(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(run_module, "write_manifest", lose_the_archive)
        patch.setattr(endings, "OUTAGE_ROWS", 60)
        report = night(include=("2026/*",))
    assert (report.outcome, report.exit_code(1.0)) == (Outcome.STORE_OUTAGE, 1)
    assert "fetches in a row ended with GONE" in str(report.message)
    assert ask(archive, "SELECT count(*) FROM readings WHERE status = 'failed'") == [(0,)]
    for key, content in held:
        client.put_object(Bucket=archive.bucket, Key=key, Body=content)
    night(include=("2026/*",))
    assert ask(archive, "SELECT count(*), count(DISTINCT image_uri) FROM latest WHERE status = 'read'") == [
        (130, 130)
    ]


def test_a_list_of_uris_is_a_source(archive: Archive, night: Night, tmp_path: Path) -> None:
    path = tmp_path / "worklist.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["image_uri"])
        writer.writerows(
            [[f"{archive.uri}/{key}"] for key in ("2026/11/0/0.png", "new\nline.png", "none.png")]
        )
    report = night(source=(str(path),))
    assert (report.books.read, report.books.failed, dict(report.codes)) == (2, 1, {"GONE": 1})
    again = night()  # what the list named is settled, whichever way it is named
    assert (again.books.unchanged, again.books.read) == (2, 134)


def test_the_command_with_an_endpoint_and_real_radiographs(
    bucket: str, shared: Path, tmp_path: Path, s3_server: str
) -> None:
    archive, sample = Archive(bucket), sorted((shared / "radiographs").rglob("*.jpg"))[::40]
    for path in sample:
        archive.put(path.name, path.read_bytes())
    environment = {**os.environ, **credentials(s3_server)}
    del environment["AWS_ENDPOINT_URL"]

    def command(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "batch_fracture", *arguments], capture_output=True, text=True,
            env=environment, timeout=300, check=False,
        )  # fmt: skip

    options = ["--results", f"s3://{bucket}/results", "--s3-endpoint", s3_server]
    done = command("run", archive.uri, *options, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["read"] == len(sample)
    on_disk = tmp_path / "results"
    disk = command("run", *map(str, sample), "--results", str(on_disk))
    assert disk.returncode == 0, disk.stderr
    sql = "SELECT image_sha256, probability FROM readings ORDER BY ALL"
    there = json.loads(command("query", *options, sql, "--json").stdout)["rows"]
    here = duckdb.sql(sql.replace("readings", f"'{on_disk}/readings/read_date=*/*.parquet'")).df()
    assert pd.DataFrame(there)["image_sha256"].tolist() == here["image_sha256"].tolist()
    assert pd.DataFrame(there)["probability"].to_numpy() == pytest.approx(
        here["probability"].to_numpy(), abs=1e-6
    )
    assert ds.dataset(on_disk / "readings", format="parquet").count_rows() == len(sample)
    typo = command("run", f"s3://{bucket}/scanz", *options)
    assert (typo.returncode, "scanz" in typo.stderr, "Traceback" in typo.stderr) == (2, True, False)
