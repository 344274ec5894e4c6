"""What the readers share: values and boxes of other people's files, and telling layouts apart."""

from pathlib import Path

import pytest

from training.datasets import LAYOUTS, recognise
from training.datasets.layout import is_set, records, yolo_boxes
from training.labelling import LAYOUT_NAMES, TABLE
from training.problems import LabelsError


def test_boxes_of_one_class(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text(
        "3 0.5 0.25 0.1 0.2\n8 0.1 0.1 0.1 0.1\n\n3 1.0000002 0.5 1 -0.0\n3 1.0000002 0.5 1 0.5\n"
    )
    assert yolo_boxes(path, of_class=3) == ((0.5, 0.25, 0.1, 0.2), (1.0, 0.5, 1.0, 0.5))
    assert yolo_boxes(path, of_class=8) == ((0.1, 0.1, 0.1, 0.1),)
    assert yolo_boxes(tmp_path / "none.txt", of_class=0) == ()
    path.write_text("0 0.5 0.25 0.1 0.2\n0 0.5 0.25 0.1\n")
    with pytest.raises(LabelsError) as refused:
        yolo_boxes(path, of_class=0)
    assert str(refused.value) == (
        f"labels {path}: row 2: '0 0.5 0.25 0.1' is not `class x_centre y_centre width height`"
    )


def test_flags() -> None:
    path = Path("dataset.csv")
    assert [is_set(path, 2, "hand", value) for value in ("1", "1.0", "0", "", " ")] == [
        *(True, True, False, False, False)
    ]
    with pytest.raises(LabelsError, match=r"^labels dataset\.csv: row 2: hand 'yes' is neither 0 nor 1$"):
        is_set(path, 2, "hand", "yes")


def test_records(tmp_path: Path) -> None:
    path = tmp_path / "dataset.csv"
    path.write_text("a,b,c\n1,2,3\n4\n")
    with pytest.raises(LabelsError, match=r"dataset\.csv: row 3: fewer values than columns$"):
        records(path, ("a", "b"))
    with pytest.raises(LabelsError, match=r"dataset\.csv: column d is missing$"):
        records(path, ("a", "d"))
    with pytest.raises(LabelsError, match=r"absent\.csv: cannot be read \(No such file or directory\)$"):
        records(tmp_path / "absent.csv", ("a",))


def test_every_layout_can_be_named() -> None:
    assert {*LAYOUTS, TABLE} == set(LAYOUT_NAMES)


@pytest.mark.parametrize("name", [name for name, layout in LAYOUTS.items() if layout.marks])
def test_recognised_by_its_marks(tmp_path: Path, name: str) -> None:
    for mark in LAYOUTS[name].marks:
        (tmp_path / mark).mkdir(parents=True)
    assert recognise(tmp_path).name == name


@pytest.mark.parametrize("names", [("fractured", "Not Fractured"), ("train/normal", "train/fracture")])
def test_two_folders_are_recognised(tmp_path: Path, names: tuple[str, ...]) -> None:
    for name in names:
        (tmp_path / name).mkdir(parents=True)
    assert recognise(tmp_path).name == "folders"


def test_no_layout_that_is_known(tmp_path: Path) -> None:
    (tmp_path / "fractured").mkdir()
    with pytest.raises(
        LabelsError, match=r"its layout is none that is known \(fracatlas: dataset\.csv, images"
    ):
        recognise(tmp_path)
