"""A table that would teach or measure the wrong thing is refused, by row."""

from pathlib import Path

import pytest

from training.labels import LabelledImage, read_labels, table_problems, warnings
from training.problems import LabelsError

HEADER = "image_uri,label,group,split,region\n"
GOOD = ["a.png,0,g1,train,hand", "b.png,1,g2,train,leg", "c.png,0,g3,val,", "d.png,1,g4,val,hip"]
BOXES = "boxes are no list of [x_centre, y_centre, width, height], each a fraction of the image's side"


def table(folder: Path, rows: list[str], header: str = HEADER) -> Path:
    for name in "abcd":
        (folder / f"{name}.png").write_bytes(name.encode())
    path = folder / "labels.csv"
    path.write_text(header + "\n".join(rows) + "\n", encoding="utf-8")
    return path


def test_rows_as_written(tmp_path: Path) -> None:
    rows = read_labels(table(tmp_path, GOOD), tmp_path)
    assert [(r.row, r.name, r.label, r.group, r.split, r.region, r.boxes) for r in rows] == [
        (2, "a.png", 0, "g1", "train", "hand", ()),
        (3, "b.png", 1, "g2", "train", "leg", ()),
        (4, "c.png", 0, "g3", "val", "", ()),
        (5, "d.png", 1, "g4", "val", "hip", ()),
    ]
    assert rows[0].path == tmp_path / "a.png"


def test_absolute_names_boxes_and_no_split(tmp_path: Path) -> None:
    path = table(
        tmp_path,
        [f"{tmp_path}/a.png,0,7,", 'b.png,1,8,"[[0.5, 0.25, 0.1, 0.2], [1, 0, 1, 1]]"'],
        header="image_uri,label,group,boxes\n",
    )
    one, other = read_labels(path, tmp_path)
    assert (one.path, one.split, one.region, one.boxes) == (tmp_path / "a.png", "", "", ())
    assert other.boxes == ((0.5, 0.25, 0.1, 0.2), (1.0, 0.0, 1.0, 1.0))


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (["e.png,0,g1,train,", *GOOD], r"row 2: no file .*e\.png$"),
        (["a.png,2,g1,train,", *GOOD[1:]], "row 2: label '2' is neither 0 nor 1"),
        (["a.png,,g1,train,", *GOOD[1:]], "row 2: label '' is neither"),
        (["a.png,0,g1,holdout,", *GOOD[1:]], "row 2: split 'holdout' is none of train, val, test"),
        (["a.png,0,g1,,", *GOOD[1:]], "row 2: split is empty, but other rows have one"),
        (["a.png,0,,train,", *GOOD[1:]], "row 2: group is empty"),
        ([",0,g1,train,", *GOOD[1:]], "row 2: image_uri is empty"),
        (["a.png"], "row 2: label '' is neither"),
        (["a.png,3,g1,train,", "e.png,0,g1,train,"], r"row 2: label '3' .*; row 3: no file"),
        ([*GOOD, "a.png,1,g1,train,"], r"row 6: a\.png stands in row 2 already, here with another label"),
        ([*GOOD, "a.png,0,g1,train,"], r"row 6: a\.png stands in row 2 already, here again"),
        ([*GOOD[:3], "d.png,1,g2,val,"], "row 5: group 'g2' is in val, but row 3 has it in train"),
        (GOOD[:3], "split val needs images with label 0 and with label 1"),
        (GOOD[:2], "split val needs images"),
        ([*GOOD[:3], "d.png,1,g4,test,"], "val needs .* 1; split test needs images with label 0 and with"),
        (["a.png,0,g1,,"], "the table needs images with label 0 and with label 1"),
        ([], "split train needs"),
    ],
)
def test_refused(tmp_path: Path, rows: list[str], message: str) -> None:
    with pytest.raises(LabelsError, match=message):
        read_labels(table(tmp_path, rows), tmp_path)


@pytest.mark.parametrize(
    ("boxes", "message"),
    [
        ("[[0.5, 0.5, 0.1]]", BOXES),
        ("[0.5, 0.5, 0.1, 0.1]", BOXES),
        ("[[0.5, 0.5, 0.1, 1.1]]", BOXES),
        ("[[0.5, 0.5, 0.1, 0]]", BOXES),
        ("[[0.5, 0.5, 0.1, NaN]]", BOXES),
        ("0.5 0.5 0.1 0.1", BOXES),
        ("7", BOXES),
    ],
)
def test_boxes_refused(tmp_path: Path, boxes: str, message: str) -> None:
    rows = ["a.png,0,1,", f'b.png,1,2,"{boxes}"']
    with pytest.raises(LabelsError) as refused:
        read_labels(table(tmp_path, rows, header="image_uri,label,group,boxes\n"), tmp_path)
    assert str(refused.value) == f"labels {tmp_path}/labels.csv: row 3: {message}"


def test_a_normal_image_has_no_boxes_of_fractures(tmp_path: Path) -> None:
    rows = ['a.png,0,1,"[[0.5, 0.5, 0.1, 0.1]]"', "b.png,1,2,"]
    with pytest.raises(LabelsError, match=r"row 2: a\.png has label 0, and boxes of fractures$"):
        read_labels(table(tmp_path, rows, header="image_uri,label,group,boxes\n"), tmp_path)


def test_many_problems_are_one_short_line(tmp_path: Path) -> None:
    with pytest.raises(LabelsError) as error:
        read_labels(table(tmp_path, ["e.png,0,g,train,"] * 8), tmp_path)
    assert str(error.value).count("no file") == 5
    assert str(error.value).endswith("; and 3 more")
    assert "\n" not in str(error.value)
    assert [problem.leave_out for problem in error.value.problems] == [(row,) for row in range(2, 10)]


def test_missing_column_and_missing_file(tmp_path: Path) -> None:
    with pytest.raises(LabelsError, match="column group is missing"):
        read_labels(table(tmp_path, [], header="image_uri,label,split\n"), tmp_path)
    with pytest.raises(LabelsError) as refused:
        read_labels(tmp_path / "absent.csv", tmp_path)
    assert str(refused.value) == (
        f"labels {tmp_path}/absent.csv: cannot be read (No such file or directory); "
        "python -m training.labels makes one of a data set's folder"
    )


def row(number: int, label: int, split: str) -> LabelledImage:
    name = f"{number}.png"
    return LabelledImage(
        row=number, name=name, path=Path(name), label=label, group=name, split=split, region=""
    )


def test_few_images_of_a_label_are_a_warning() -> None:
    rows = [row(number, int(number % 2), "train" if number < 60 else "val") for number in range(118)]
    assert table_problems(rows) == []
    assert warnings(rows) == [
        f"split val has 29 images with label {label}; with fewer than 30, figures say little"
        for label in (0, 1)
    ]
    assert warnings([row(1, 1, "")]) == [
        "the table has 1 images with label 1; with fewer than 30, figures say little"
    ]
