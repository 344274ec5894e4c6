"""Folders named after labels, at the top or below splits."""

from pathlib import Path

import pytest

from training.datasets import folders
from training.problems import LabelsError


def files(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


def test_two_folders(tmp_path: Path) -> None:
    files(tmp_path, "Fractured/b.png", "Fractured/a.png", "non-fractured/deep/c.png", "Fractured/.DS_Store")
    files(tmp_path, ".cache/d.png", "README.txt")
    assert [(r.row, r.name, r.label, r.group, r.split) for r in folders.read(tmp_path)] == [
        (2, "Fractured/a.png", 1, "Fractured/a.png", ""),
        (3, "Fractured/b.png", 1, "Fractured/b.png", ""),
        (4, "non-fractured/deep/c.png", 0, "non-fractured/deep/c.png", ""),
    ]


def test_below_splits(tmp_path: Path) -> None:
    files(tmp_path, "train/positive/a.png", "valid/Not Fractured/b.png", "Test/1/c.png")
    assert [(r.name, r.label, r.split) for r in folders.read(tmp_path)] == [
        ("Test/1/c.png", 1, "test"),
        ("train/positive/a.png", 1, "train"),
        ("valid/Not Fractured/b.png", 0, "val"),
    ]


def test_a_name_that_means_nothing(tmp_path: Path) -> None:
    files(tmp_path, "fractured/a.png", "doubtful/b.png")
    with pytest.raises(
        LabelsError, match=r"doubtful: the name says no label; known are fracture, fractured, "
    ):
        folders.read(tmp_path)


def test_no_images(tmp_path: Path) -> None:
    (tmp_path / "fractured").mkdir()
    with pytest.raises(LabelsError) as refused:
        folders.read(tmp_path)
    assert str(refused.value) == (
        f"labels {tmp_path}: no images; they go into folders such as fractured and normal"
    )
