from __future__ import annotations

import hashlib
import io
from pathlib import Path
from typing import Any

import drawing
import numpy as np
import pytest
from PIL import Image

from batch_fracture import store
from batch_fracture.failpoints import VARIABLE
from batch_fracture.preprocess import InputSpec
from batch_fracture.reader import read_images
from batch_fracture.settings import ReadingSettings
from batch_fracture.store.bucket import Access, s3_client

SPEC = InputSpec(size=64)


def entry(path: Path, **changes: Any) -> dict[str, Any]:
    status = path.stat()
    return {
        "image_uri": str(path),
        "image_version": f"{status.st_size}-{status.st_mtime_ns}",
        "size_bytes": status.st_size,
        "listing_code": None,
        "unit": 3,
        **changes,
    }


def read_image(given: dict[str, Any], spec: InputSpec, settings: ReadingSettings) -> dict[str, Any]:
    (row,) = read_images([given], spec, settings)
    return row


@pytest.fixture
def png(tmp_path: Path) -> Path:
    path = tmp_path / "x.txt"
    Image.fromarray(np.full((64, 32), 200, np.uint8)).save(path, format="PNG")
    return path


def test_a_read_image_has_pixels_digest_and_header(png: Path) -> None:
    row = read_image(entry(png), SPEC, ReadingSettings())
    pixels = np.frombuffer(row["pixels"], np.uint8).reshape(64, 64)
    assert (pixels[:, 16:48] == 200).all()
    assert (pixels[:, :16] == 0).all()
    assert row["image_sha256"] == hashlib.sha256(png.read_bytes()).hexdigest()
    expected = {
        "status": "read",
        "media_type": "image/png",
        "rows": 64,
        "columns": 32,
        "bits_stored": 8,
        "unit": 3,
    }
    assert {key: row[key] for key in expected} == expected
    assert "listing_code" not in row


@pytest.mark.parametrize(
    ("content", "stage", "code", "status"),
    [
        (b"", "decode", "NOT_AN_IMAGE", "skipped"),
        (b"hello", "decode", "NOT_AN_IMAGE", "skipped"),
        (b"\x89PNG\r\n\x1a\n" + b"x" * 99, "decode", "TRUNCATED", "failed"),
    ],
)
def test_bad_content_is_a_row(tmp_path: Path, content: bytes, stage: str, code: str, status: str) -> None:
    path = tmp_path / "x.jpg"
    path.write_bytes(content)
    row = read_image(entry(path), SPEC, ReadingSettings())
    assert (row["error_stage"], row["error_code"], row["status"]) == (stage, code, status)
    assert row["pixels"] is None
    assert row["image_sha256"] == hashlib.sha256(content).hexdigest()


def test_what_the_listing_or_the_store_decides(png: Path) -> None:
    cases = [
        (entry(png, listing_code="GONE"), "list", "GONE"),
        (entry(png, image_version="1-1"), "fetch", "CHANGED"),
        (entry(png, size_bytes=2**40), "fetch", "TOO_LARGE"),
    ]
    for given, stage, code in cases:
        row = read_image(given, SPEC, ReadingSettings())
        assert (row["error_stage"], row["error_code"], row.get("image_sha256")) == (stage, code, None)


def test_too_many_pixels_is_decided_by_the_header(png: Path) -> None:
    row = read_image(entry(png), SPEC, ReadingSettings(max_pixels=2047))
    assert (row["error_code"], row["error_message"]) == (
        "TOO_LARGE",
        "64 x 32 pixels are more than the limit of 2,047",
    )


def test_want_of_memory_is_a_row(png: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "decode=memory@x.txt")
    row = read_image(entry(png), SPEC, ReadingSettings())
    assert (row["status"], row["error_code"]) == ("failed", "OUT_OF_MEMORY")


def test_the_fetch_has_its_own_alarm_and_says_when_it_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = [tmp_path / str(number) for number in range(2)]
    for path in paths:
        path.write_bytes(b"no image")
    alarms: list[float | str] = []
    monkeypatch.setattr("signal.setitimer", lambda _, seconds: alarms.append(seconds))
    rows = read_images(
        [entry(path) for path in paths],
        SPEC,
        ReadingSettings(time_limit_s=7.0),
        fetched=lambda: alarms.append("fetched"),
    )
    assert [row["error_code"] for row in rows] == ["NOT_AN_IMAGE"] * 2
    assert alarms == [store.FETCH_LIMIT_S, "fetched", 7.0, 0] * 2 + [0]


def test_rows_of_a_bucket_keep_their_order_and_their_refusals(bucket: str) -> None:
    buffer = io.BytesIO()
    Image.fromarray(np.full((8, 8), 9, np.uint8)).save(buffer, format="PNG")
    client = s3_client(Access())
    for number in range(30):
        client.put_object(Bucket=bucket, Key=f"{number:02}.png", Body=buffer.getvalue())
    client.put_object(Bucket=bucket, Key="folder/", Body=b"")
    listed = store.list_images((f"s3://{bucket}/",)).to_pylist()
    client.delete_object(Bucket=bucket, Key="07.png")
    listed[3] |= {"size_bytes": 2**40}
    rows = list(read_images(listed, SPEC, ReadingSettings()))
    assert [row["image_uri"] for row in rows] == [given["image_uri"] for given in listed]
    stages = {
        at: (row["error_stage"], row["error_code"]) for at, row in enumerate(rows) if row["status"] != "read"
    }
    assert stages == {3: ("fetch", "TOO_LARGE"), 7: ("fetch", "GONE"), 30: ("list", "NOT_AN_IMAGE")}
    assert rows[30]["error_message"] == "a folder marker"


def test_an_object_that_is_skipped_keeps_its_header(tmp_path: Path) -> None:
    path = tmp_path / "ct"
    grey_HW = np.full((8, 9), 9, np.uint8)
    path.write_bytes(drawing.dicom(grey_HW, Modality="CT", StudyInstanceUID="1.2.3", PatientName="Doe^Jane"))
    row = read_image(entry(path), SPEC, ReadingSettings())
    assert (row["status"], row["error_code"]) == ("skipped", "NOT_A_RADIOGRAPH")
    assert (row["modality"], row["study_instance_uid"], row["rows"], row["columns"]) == ("CT", "1.2.3", 8, 9)
    assert row["pixels"] is None
    assert "Doe" not in str(row)
