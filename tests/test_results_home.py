from __future__ import annotations

from pathlib import Path

import obstore
import pytest

from batch_fracture.errors import ConfigError, ResultsError
from batch_fracture.results.home import find_home
from batch_fracture.results.table import ReadingsTable
from batch_fracture.store import Access
from batch_fracture.store.bucket import forget_clients, open_bucket


def test_a_location_is_checked(tmp_path: Path) -> None:
    assert find_home(str(tmp_path / "new"), create=True).path == tmp_path / "new"
    with pytest.raises(ResultsError, match="there are no results yet"):
        find_home(str(tmp_path / "new"))
    (tmp_path / "holiday.jpg").touch()
    with pytest.raises(ResultsError, match="name an empty or a new folder"):
        find_home(str(tmp_path), create=True)
    with pytest.raises(ResultsError, match="not a results folder"):
        find_home(str(tmp_path))
    with pytest.raises(ResultsError, match="name a folder, or s3://"):
        find_home("ftp://host/results")


def test_a_location_in_a_bucket_is_checked(bucket: str) -> None:
    uri = f"s3://{bucket}/nightly"
    assert find_home(uri + "/", create=True).uri == uri
    with pytest.raises(ResultsError, match="there are no results yet"):
        find_home(uri)
    ReadingsTable.open_or_create(find_home(uri, create=True))
    assert find_home(uri).path is None
    obstore.put(open_bucket("s3", bucket, Access()), "other/holiday.jpg", b"x")
    with pytest.raises(ResultsError, match="not empty; name an empty or a new folder"):
        find_home(f"s3://{bucket}/other", create=True)
    with pytest.raises(ResultsError, match="not a results folder"):
        find_home(f"s3://{bucket}/other")


def test_a_bucket_that_cannot_be_used_is_named(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(
        ResultsError, match=r"no-such-bucket/x: there is no such bucket; check its name and --s3-endpoint$"
    ):
        find_home("s3://no-such-bucket/x", create=True)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    forget_clients()
    with pytest.raises(ResultsError, match=r"/x: the credentials are not valid; check AWS_PROFILE"):
        find_home(f"s3://{bucket}/x", create=True)
    for name in ("AWS_SECRET_ACCESS_KEY", "AWS_ACCESS_KEY_ID"):
        monkeypatch.delenv(name)
    forget_clients()
    with pytest.raises(ConfigError, match="no AWS credentials were found; set AWS_PROFILE"):
        find_home(f"s3://{bucket}/x", create=True)


@pytest.mark.parametrize("name", ["per%41cent", "back\\slash", "new\nline", "read_date=2020-01-01/r"])
def test_a_path_that_readers_would_take_for_another_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ResultsError, match="name a plainer path"):
        find_home(str(tmp_path / name), create=True)


@pytest.mark.parametrize("prefix", ["/x", "./dot", "../dot", ".", "..", "x//", "x/./y", "x/.."])
def test_a_prefix_with_an_empty_or_dotted_segment_is_refused(prefix: str) -> None:
    with pytest.raises(ResultsError, match="an empty or dotted segment"):
        find_home(f"s3://bucket/{prefix}", create=True)


def test_a_missing_slash_is_noticed() -> None:
    with pytest.raises(ResultsError, match=r"results 's3:/res/r': was 's3://res/r' meant\?"):
        find_home("s3:/res/r", create=True)


def test_two_slashes_at_the_root_are_one(tmp_path: Path) -> None:
    assert find_home(f"/{tmp_path}/r", create=True).uri == f"{tmp_path}/r"


@pytest.mark.parametrize("name", ["a//b", "a/../b", "per%41cent", "star*", "read_date=2020-01-01/r"])
def test_so_is_an_odd_prefix(name: str) -> None:
    with pytest.raises(ResultsError, match="name a plainer path"):
        find_home(f"s3://bucket/x/{name}", create=True)
