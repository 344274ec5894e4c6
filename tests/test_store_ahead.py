from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import pytest

from batch_fracture.codes import Code
from batch_fracture.errors import ImageError
from batch_fracture.store import ahead, fetch_ahead, list_images
from batch_fracture.store.bucket import Access, s3_client


class SlowStore:
    """Stands in for `read_bytes`: counts what is in flight."""

    def __init__(self, sizes: dict[str, int]) -> None:
        self.sizes, self.flying, self.lock = sizes, set[str](), threading.Lock()
        self.most, self.most_bytes = 0, 0

    def read(self, uri: str, version: str, size: int, access: Access) -> bytes:
        with self.lock:
            self.flying.add(uri)
            self.most = max(self.most, len(self.flying))
            self.most_bytes = max(self.most_bytes, sum(self.sizes[name] for name in self.flying))
        time.sleep(0.02)
        with self.lock:
            self.flying.remove(uri)
        return uri.encode()


def entries(sizes: list[int], *, below: str = "s3://b/") -> list[dict[str, Any]]:
    return [
        {"image_uri": f"{below}{number}", "image_version": "e", "size_bytes": size}
        for number, size in enumerate(sizes)
    ]


@pytest.mark.parametrize(
    ("sizes", "most", "most_bytes"),
    [([1] * 40, 16, 16), ([100] * 20, 2, 256), ([1, 900, 1, 900], 2, 900)],
)
def test_order_and_bounds(
    sizes: list[int], most: int, most_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = entries(sizes)
    slow = SlowStore({entry["image_uri"]: entry["size_bytes"] for entry in given})
    monkeypatch.setattr(ahead, "read_bytes", slow.read)
    monkeypatch.setattr(ahead, "AHEAD_BYTES", 256)
    assert list(fetch_ahead(given)) == [entry["image_uri"].encode() for entry in given]
    assert slow.most <= most
    assert slow.most_bytes <= most_bytes
    assert slow.most > 1 or sizes == [1, 900, 1, 900]


def test_a_slow_disk_is_read_ahead_too(monkeypatch: pytest.MonkeyPatch) -> None:
    given = entries([1] * 10, below="/mnt/archive/")
    slow = SlowStore({entry["image_uri"]: 1 for entry in given})
    monkeypatch.setattr(ahead, "read_bytes", slow.read)
    assert list(fetch_ahead(given)) == [entry["image_uri"].encode() for entry in given]
    assert slow.most > 1


def test_fetches_begin_with_the_call_and_a_whole_block_may_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    came: list[str] = []
    monkeypatch.setattr(ahead, "read_bytes", lambda uri, *_: came.append(uri) or b"")
    contents = fetch_ahead(entries([1] * (ahead.AHEAD + 9)))
    deadline = time.monotonic() + 5
    while len(came) < ahead.AHEAD and time.monotonic() < deadline:
        time.sleep(0.01)
    assert len(came) == ahead.AHEAD
    assert len(list(contents)) == len(came) == ahead.AHEAD + 9


def test_disk_and_bucket_mix_in_order(bucket: str, tmp_path: Path) -> None:
    for number in range(3):
        (tmp_path / f"{number}").write_bytes(b"disk %d" % number)
        s3_client(Access()).put_object(Bucket=bucket, Key=str(number), Body=b"s3 %d" % number)
    rows = list_images((str(tmp_path), f"s3://{bucket}/")).to_pylist()
    mixed = [row for pair in zip(rows[:3], rows[3:], strict=True) for row in pair]
    mixed[3] = {**mixed[3], "image_version": "other"}
    found = list(fetch_ahead(mixed))
    assert isinstance(found[3], ImageError)
    assert found[3].code is Code.CHANGED
    assert found[:3] + found[4:] == [b"disk 0", b"s3 0", b"disk 1", b"disk 2", b"s3 2"]


def test_leaving_early_fetches_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[str] = []

    def read(uri: str, *_: object) -> bytes:
        begun.append(uri)
        time.sleep(0.05)
        return b""

    monkeypatch.setattr(ahead, "read_bytes", read)
    contents = fetch_ahead(entries([1] * 60))
    next(contents)
    contents.close()
    by_then = len(begun)
    time.sleep(0.2)
    assert len(begun) == by_then <= 2 * ahead.AT_ONCE  # those that end before the close make room for as many


def test_want_of_memory_is_a_code(monkeypatch: pytest.MonkeyPatch) -> None:
    def read(*_: object) -> bytes:
        raise MemoryError

    monkeypatch.setattr(ahead, "read_bytes", read)
    assert [error.code for error in fetch_ahead(entries([1, 1]))] == [Code.OUT_OF_MEMORY] * 2
