"""Both kinds of results folder keep the same promises; every test runs on disk and on a real S3 server."""

from __future__ import annotations

import os
import threading
from typing import Any

import obstore
import obstore.store
import pyarrow as pa
import pyarrow.dataset as ds
import pytest
from obstore.exceptions import GenericError

from batch_fracture.errors import ResultsError, StoreError, WriteError
from batch_fracture.results import bucket_folder, parquet
from batch_fracture.results.bucket_folder import BucketFolder
from batch_fracture.results.folder import DiskFolder
from batch_fracture.results.home import Home
from batch_fracture.store import Access


def test_files_are_put_once_replaced_found_and_removed(home: Home) -> None:
    folder = home.folder
    assert (folder.get("a/x"), folder.files("a"), folder.children("a")) == (None, [], set())
    assert folder.put_once("a/x", b"one")
    assert folder.put_once("a/x", b"one")
    assert not folder.put_once("a/x", b"another")
    assert folder.get("a/x") == b"one"
    folder.put("a/x", b"two!")
    assert folder.get("a/x") == b"two!"
    folder.put("a/b/y", b"")
    assert [(file.name, file.size_bytes) for file in folder.files("a")] == [("a/b/y", 0), ("a/x", 4)]
    assert folder.children("a") == {"b", "x"}
    assert folder.changed_at("a") > 1_700_000_000
    assert folder.changed_at("nowhere") == 0.0
    folder.delete("a/x")
    folder.delete("a/x")
    folder.put("ab", b"not in a")
    folder.clear("a/")
    folder.clear("a/")
    assert [file.name for file in folder.files("")] == ["ab"]


def test_of_many_that_put_one_name_one_wins(home: Home) -> None:
    won = []

    def put(number: int) -> None:
        if home.folder.put_once("lease", f"{number}".encode()):
            won.append(number)

    threads = [threading.Thread(target=put, args=[number]) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert home.folder.get("lease") == f"{won[0]}".encode()
    assert len(won) == 1


def test_a_dataset_is_read_where_it_lies(home: Home) -> None:
    for number in range(3):
        home.folder.put_once(f"t/{number}.parquet", parquet.encode(pa.table({"n": [number]})))
    paths, system = home.folder.dataset_files([f"t/{number}.parquet" for number in range(3)])
    assert ds.dataset(paths, filesystem=system).to_table()["n"].to_pylist() == [0, 1, 2]


def test_what_cannot_be_written_or_read_is_named(home: Home) -> None:
    home.folder.put("a", b"a file")
    if isinstance(home.folder, DiskFolder):
        with pytest.raises(WriteError, match=r"cannot write .*/a/b"):
            home.folder.put_once("a/b", b"x")
        with pytest.raises(ResultsError, match="Not a directory"):
            home.folder.get("a/b")
        with pytest.raises(ResultsError, match="Not a directory"):
            home.folder.children("a/b")


def fail_then(function: Any, failures: int, *, after: bool) -> Any:
    """The function, whose first calls fail, before or after they took effect."""
    calls = []

    def call(*arguments: Any, **names: Any) -> Any:
        calls.append(1)
        if len(calls) <= failures:
            if after:
                function(*arguments, **names)
            raise GenericError("connection reset")
        return function(*arguments, **names)

    return call


@pytest.mark.parametrize("after", [False, True])
def test_a_put_whose_answer_is_lost_is_tried_again(
    bucket: str, monkeypatch: pytest.MonkeyPatch, after: bool
) -> None:
    monkeypatch.setattr(bucket_folder, "PUT_AGAIN_AFTER_S", 0.0)
    folder = BucketFolder(f"s3://{bucket}", Access())
    monkeypatch.setattr(obstore, "put", fail_then(obstore.put, 2, after=after))
    assert folder.put_once("x", b"mine")
    assert not folder.put_once("x", b"theirs")
    monkeypatch.setattr(obstore, "put", fail_then(obstore.put, 9, after=False))
    with pytest.raises(WriteError, match=r"cannot write s3://.*/y: the store failed; check"):
        folder.put_once("y", b"mine")


def test_a_removal_goes_on_behind_a_missing_name(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = BucketFolder(f"s3://{bucket}", Access())
    for number in range(1003):
        obstore.put(folder._store, f"a/{number}", b"")
    requests: list[Any] = []
    delete = obstore.delete

    def as_gcs(store: Any, paths: str | list[str]) -> None:
        requests.append(paths)
        if isinstance(paths, list) or paths == "a/0":
            raise FileNotFoundError("404")
        delete(store, paths)

    monkeypatch.setattr(obstore, "delete", as_gcs)
    folder._delete(["a/0", "a/1", "a/2"])
    assert requests == [["a/0", "a/1", "a/2"], "a/0", "a/1", "a/2"]
    monkeypatch.setattr(obstore, "delete", delete)
    assert len(folder.files("a")) == 1001
    folder.clear("a")
    assert folder.files("a") == []


def test_a_store_out_of_reach_passes() -> None:
    folder = BucketFolder("s3://nowhere/r", Access(s3_endpoint="http://127.0.0.1:1"))
    folder._store = obstore.store.S3Store(
        "nowhere",
        endpoint="http://127.0.0.1:1",
        client_options={"allow_http": True},
        retry_config={"max_retries": 0},
    )
    for ask in (folder.get, folder.files, folder.children, folder.changed_at):
        with pytest.raises(
            StoreError, match=r"^results s3://nowhere/r/x: the store cannot be reached; check --s3"
        ):
            ask("x")


def test_a_listing_outlives_what_is_removed_meanwhile(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(3):
        home.folder.put(f"a/{number}/x", b"x")
    if not isinstance(home.folder, DiskFolder):
        return  # a bucket's listing is one answer
    scandir = os.scandir

    def remove_then_scan(path: str) -> Any:
        if str(path).endswith("/a/1"):
            home.folder.clear("a/1")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", remove_then_scan)
    assert [file.name for file in home.folder.files("a")] == ["a/0/x", "a/2/x"]
