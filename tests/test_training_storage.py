"""Folders on disk and in a bucket behave alike, refuse in our words, and are put in order after a kill."""

import json
import os
from pathlib import Path

import pytest

from batch_fracture.errors import ConfigError, WorkHeldError, WriteError
from training.storage import SNAPSHOT, Folder, held, open_storage, tidy

STATE = "state.pt"


@pytest.fixture(params=["disk", "bucket"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Folder:
    if request.param == "disk":
        return open_storage(str(tmp_path / "storage")).child("run")
    return open_storage(f"s3://{request.getfixturevalue('bucket')}/storage").child("run")


def checkpoint(folder: Folder, name: str, *files: str) -> None:
    for file in files or (STATE,):
        folder.child(name).write(file, "x")


def listed(folder: Folder, *names: str) -> None:
    results = [{"checkpoint_dir_name": name, "metrics": {}} for name in names]
    folder.write(SNAPSHOT, json.dumps({"checkpoint_results": results}))


def test_files_are_written_over_whole(folder: Folder) -> None:
    assert not folder.holds("a.txt")
    folder.write("a.txt", "one")
    folder.write("a.txt", "two")
    assert (folder.holds("a.txt"), folder.read("a.txt")) == (True, "two")
    folder.remove("a.txt")
    assert not folder.holds("a.txt")
    assert folder.children() == []


def test_checkpoints_that_are_not_on_the_list_go(folder: Folder) -> None:
    for name in ("checkpoint_1", "checkpoint_2", "checkpoint_3"):
        checkpoint(folder, name)
    listed(folder, "checkpoint_2")
    assert tidy(folder, STATE) is None
    assert folder.children() == ["checkpoint_2"]


def test_a_list_that_was_cut_off_is_dropped_for_the_newest_whole_checkpoint(folder: Folder) -> None:
    checkpoint(folder, "checkpoint_1")
    checkpoint(folder, "checkpoint_2")
    checkpoint(folder, "checkpoint_3", "other.txt")
    folder.write(SNAPSHOT, '{"checkpoint_res')
    assert tidy(folder, STATE) == "checkpoint_2"
    assert folder.children() == ["checkpoint_2"]
    assert not folder.holds(SNAPSHOT)


def test_a_first_checkpoint_that_was_cut_off_goes(folder: Folder) -> None:
    checkpoint(folder, "checkpoint_1")
    assert tidy(folder, STATE) is None
    assert folder.children() == []
    assert tidy(folder, STATE) is None


def test_one_training_at_a_time(tmp_path: Path) -> None:
    folder = open_storage(str(tmp_path))
    with held(folder), pytest.raises(WorkHeldError, match="another process trains this recipe"), held(folder):
        pass
    with held(folder):
        pass


def test_places_that_take_nothing_say_so() -> None:
    refusal = r"storage /proc/none/run cannot be written \(No such file or directory\)"
    with pytest.raises(WriteError, match=refusal), held(open_storage("/proc/none").child("run")):
        pass
    full = open_storage("/dev/full").child("run")
    with pytest.raises(WriteError, match=r"make room or name another --storage"):
        full.write("a.txt", "one")


def test_a_bucket_that_is_not_there_says_so(bucket: str) -> None:
    absent = open_storage("s3://absent-bucket").child("run")
    with pytest.raises(WriteError, match=r"storage s3://absent-bucket/run cannot be written"), held(absent):
        pass


@pytest.mark.parametrize("uri", ["gs://bucket/x", "s3://", "http://host/x"])
def test_other_places_are_refused(uri: str) -> None:
    with pytest.raises(ConfigError, match="name a folder, or a place in a bucket as s3://bucket/prefix"):
        open_storage(uri)


def test_a_path_may_start_at_home_or_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert open_storage("here").path == str(tmp_path / "here")
    assert open_storage("~/there").path == os.path.expanduser("~/there")  # noqa: PTH111 - as a shell has it
