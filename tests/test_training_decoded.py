"""Decoding is done once: equal inputs come from disk, and any change decodes anew."""

import os
from pathlib import Path

import numpy as np
import pytest
from test_training_inputs import SPEC, drawn

from batch_fracture.preprocess import InputSpec
from training import decoded
from training.decoded import KEPT, read_cached
from training.inputs import read_examples
from training.labels import LabelledImage, LabelsError

Table = list[LabelledImage]


@pytest.fixture
def table(tmp_path: Path) -> Table:
    return drawn(tmp_path, ["a.png", "b.png", "c.png"])


def never(*_: object) -> None:
    raise AssertionError("decoded again")


def test_the_second_reading_decodes_nothing(
    tmp_path: Path, table: Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    labels, cache = tmp_path / "labels.csv", tmp_path / "cache"
    plain = read_examples(labels, table, SPEC)
    first = read_cached(labels, table, SPEC, cache)
    monkeypatch.setattr(decoded, "decode_images", never)
    second = read_cached(labels, table, SPEC, cache)
    for examples in (first, second):
        np.testing.assert_array_equal(examples.pixels_NSS, plain.pixels_NSS)
        assert examples.rows == plain.rows
    assert isinstance(second.pixels_NSS, np.memmap)
    boxed = [table[0], table[2]]
    with pytest.raises(AssertionError, match="decoded again"):
        read_cached(labels, boxed, SPEC, cache)


def change_time(table: Table) -> None:
    os.utime(table[1].path, ns=(1, 1))


def change_content(table: Table) -> None:
    before = table[1].path.stat()
    table[1].path.write_bytes(table[0].path.read_bytes() + b"x")
    os.utime(table[1].path, ns=(before.st_atime_ns, before.st_mtime_ns))


@pytest.mark.parametrize("change", [change_time, change_content])
def test_a_changed_image_is_decoded_anew(
    tmp_path: Path, table: Table, change: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    read_cached(tmp_path / "labels.csv", table, SPEC, tmp_path / "cache")
    change(table)
    monkeypatch.setattr(decoded, "decode_images", never)
    with pytest.raises(AssertionError, match="decoded again"):
        read_cached(tmp_path / "labels.csv", table, SPEC, tmp_path / "cache")


def test_other_code_decodes_anew(tmp_path: Path, table: Table, monkeypatch: pytest.MonkeyPatch) -> None:
    read_cached(tmp_path / "labels.csv", table, SPEC, tmp_path / "cache")
    monkeypatch.setattr(decoded, "_code_sha256", lambda: "other")
    monkeypatch.setattr(decoded, "decode_images", never)
    with pytest.raises(AssertionError, match="decoded again"):
        read_cached(tmp_path / "labels.csv", table, SPEC, tmp_path / "cache")


def test_the_cache_is_bounded_and_what_is_used_stays(tmp_path: Path, table: Table) -> None:
    cache = tmp_path / "cache"
    sizes = [40, 50, 60, 70, 80]
    for count, size in enumerate(sizes):
        read_cached(tmp_path / "labels.csv", table, InputSpec(size=size), cache)
        for age, facts in enumerate(sorted(cache.glob("*.json"), key=lambda file: file.stat().st_mtime_ns)):
            os.utime(facts, ns=(10**9 * (100 * count + age),) * 2)
        read_cached(tmp_path / "labels.csv", table, InputSpec(size=40), cache)  # used: it is the newest now
    assert len(list(cache.glob("*.json"))) == len(list(cache.glob("*.npy"))) == KEPT
    kept = {np.load(file, mmap_mode="r").shape[1] for file in cache.glob("*.npy")}
    assert kept == {40, 70, 80}


def test_a_pair_that_is_not_whole_is_decoded_anew(tmp_path: Path, table: Table) -> None:
    cache = tmp_path / "cache"
    first = read_cached(tmp_path / "labels.csv", table, SPEC, cache)
    file = next(cache.glob("*.npy"))
    file.write_bytes(file.read_bytes()[:1000])
    second = read_cached(tmp_path / "labels.csv", table, SPEC, cache)
    np.testing.assert_array_equal(second.pixels_NSS, first.pixels_NSS)


def test_a_place_that_takes_nothing_costs_no_training(
    table: Table, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    examples = read_cached(tmp_path / "labels.csv", table, SPEC, Path("/proc/none"))
    assert len(examples.rows) == 3
    assert capsys.readouterr().out == "decoded images are not kept: /proc/none: No such file or directory\n"


def test_contradicting_rows_are_refused_from_the_cache_too(tmp_path: Path) -> None:
    table = drawn(tmp_path, ["a.png", "b.png"])
    table[1].path.write_bytes(table[0].path.read_bytes())
    for _ in range(2):
        with pytest.raises(
            LabelsError, match=r"row 3: b\.png is the same image as row 2, with another label"
        ):
            read_cached(tmp_path / "labels.csv", table, SPEC, tmp_path / "cache")
