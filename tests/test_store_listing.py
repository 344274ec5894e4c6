from __future__ import annotations

from pathlib import Path

import pytest
from obstore.store import MemoryStore

from batch_fracture.errors import ConfigError, SourceError
from batch_fracture.store import list_images
from batch_fracture.store.bucket import Access, open_bucket, s3_client
from batch_fracture.store.columns import Listing, Patterns
from batch_fracture.store.listing import list_with_obstore


def uris(source: str, store: object, root: str = "gs://b/", **patterns: tuple[str, ...]) -> list[str]:
    listing = Listing()
    list_with_obstore(source, store, root, listing, Patterns(**patterns))  # type: ignore[arg-type]
    found: list[str] = listing.table()["image_uri"].to_pylist()
    return found


def test_other_stores_are_listed_through_obstore() -> None:
    store = MemoryStore()
    assert uris("gs://b/", store) == []
    for key in ("scans/a.dcm", "scans/b/c d.txt", "scans-old/x", "alone"):
        store.put(key, b"content")
    assert uris("gs://b/scans", store) == ["gs://b/scans/a.dcm", "gs://b/scans/b/c d.txt"]
    assert uris("gs://b/scans", store, exclude=("b/*",)) == ["gs://b/scans/a.dcm"]
    assert uris("gs://b/alone", store) == ["gs://b/alone"]
    assert len(uris("gs://b/", store)) == 4
    with pytest.raises(SourceError, match=r"nowhere'.*no such object"):
        uris("gs://b/nowhere", store)


def test_obstore_and_boto3_list_the_same_rows(bucket: str) -> None:
    for key in ("a/x", "b c", "+%20"):
        s3_client(Access()).put_object(Bucket=bucket, Key=key, Body=b"content")
    listing = Listing()
    store = open_bucket("s3", bucket, Access())
    list_with_obstore(f"s3://{bucket}/", store, f"s3://{bucket}/", listing, Patterns())
    assert listing.table().equals(list_images((f"s3://{bucket}/",)))


def test_sources_of_all_kinds_become_one_table(bucket: str, tmp_path: Path) -> None:
    (tmp_path / "scans").mkdir()
    (tmp_path / "scans" / "x.png").write_bytes(b"1")
    (tmp_path / "list.csv").write_text(f"uri\nscans/x.png\ns3://{bucket}/y.png\n")
    for key in ("y.png", "z.png"):
        s3_client(Access()).put_object(Bucket=bucket, Key=key, Body=b"content")
    sources = (str(tmp_path / "list.csv"), str(tmp_path / "scans"), f"s3://{bucket}/")
    table = list_images(sources, access=Access())
    assert table["image_uri"].to_pylist() == [
        f"{tmp_path}/scans/x.png",
        f"s3://{bucket}/y.png",
        f"s3://{bucket}/z.png",
    ]


def test_clouds_without_credentials_are_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOOGLE_SERVICE_ACCOUNT", "/nowhere.json")
    with pytest.raises(ConfigError, match="gs://some-bucket cannot be set up; check GOOGLE_APPLICATION"):
        list_images(("gs://some-bucket/",))
    for name in ("AZURE_STORAGE_ACCOUNT_NAME", "AZURE_STORAGE_CONNECTION_STRING"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(ConfigError, match="az://some-container cannot be set up; check AZURE_STORAGE"):
        list_images(("az://some-container/",))
